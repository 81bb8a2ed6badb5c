//! Records that are read and records that are sent.

use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

use crate::headers::{HeaderView, Headers};
use crate::offsets::PartitionOffset;
use crate::sys::headers;
use crate::sys::message::Message;

/// A record that was read, borrowed from the consumer.
#[derive(Debug)]
pub struct Record<'a> {
    message: Message<'a>,
}

impl<'a> Record<'a> {
    /// Wraps a message.
    pub(crate) fn new(message: Message<'a>) -> Self {
        Self { message }
    }

    /// Returns the topic that the record was read from.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    /// Returns the partition that the record was read from.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Returns the record's offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// Returns the record's partition and offset.
    #[must_use]
    pub fn partition_offset(&self) -> PartitionOffset {
        PartitionOffset::new(self.partition(), self.offset())
    }

    /// Returns the time at which the record was created or appended, in milliseconds since the epoch, if it has one.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.message.timestamp()
    }

    /// Returns the record's key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    /// Returns the record's value.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.message.value()
    }

    /// Returns the value of the record's last header of a name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        HeaderView::of_message(&self.message).last(name)
    }

    /// Returns all headers in order. Names that are not UTF-8 are converted lossily; a null value becomes empty.
    pub(crate) fn all_headers(&self) -> Vec<(String, Vec<u8>)> {
        self.message.headers().map(headers::all).unwrap_or_default()
    }

    /// Returns a copy of the record's headers, for an outgoing record.
    #[must_use]
    pub fn headers(&self) -> Headers {
        HeaderView::of_message(&self.message).to_outgoing()
    }

    /// Returns the record as plain values. `topic` must be the record's: the caller knows it, and asking librdkafka for it
    /// per record would cost time.
    #[must_use]
    pub fn input<'b>(&'b self, topic: &'b str) -> InputRecord<'b> {
        InputRecord {
            topic,
            partition: self.partition(),
            offset: self.offset(),
            timestamp: self.timestamp(),
            key: self.key(),
            value: self.value(),
            headers: HeaderView::of_message(&self.message),
        }
    }
}

/// A record to process, as plain values.
#[derive(Clone, Copy, Debug, Default)]
pub struct InputRecord<'a> {
    /// The topic that it was read from.
    pub topic: &'a str,
    /// The partition that it was read from.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// When it was created or appended, in milliseconds since the epoch, if it has a time.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: HeaderView<'a>,
}

/// A record to send.
#[derive(Debug)]
pub struct OutgoingRecord<'a> {
    /// The topic to append to.
    pub topic: &'a str,
    /// The partition to append to; `None` chooses it by the key.
    pub partition: Option<i32>,
    /// When it was created, in milliseconds since the epoch; `None` for now.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` writes a null.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers,
}

impl<'a> OutgoingRecord<'a> {
    /// Converts to the client's type. The delivery report returns `opaque`.
    pub(crate) fn into_base_record<D: IntoOpaque>(
        self,
        opaque: D,
    ) -> BaseRecord<'a, [u8], [u8], D> {
        BaseRecord {
            topic: self.topic,
            partition: self.partition,
            payload: self.value,
            key: self.key,
            timestamp: self.timestamp,
            headers: self.headers.0,
            delivery_opaque: opaque,
        }
    }
}
