//! Records as they come in and as they go out.

use std::ffi::CString;
use std::marker::PhantomData;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

use crate::sys::headers;
use crate::sys::inbox::Message;

/// A record that was read, borrowed from the consumer.
#[derive(Debug)]
pub struct Record<'a> {
    message: Message,
    consumer: PhantomData<&'a ()>,
}

impl Record<'_> {
    /// A record; it must not outlive the client that it came from, which is what the lifetime is for.
    pub(crate) fn new(message: Message) -> Self {
        Self {
            message,
            consumer: PhantomData,
        }
    }

    /// The topic that it was read from.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.message.topic()
    }

    /// The partition that it was read from.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message.partition()
    }

    /// Its offset in the partition.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message.offset()
    }

    /// When it was created or appended, in milliseconds since the epoch, if it says.
    #[must_use]
    pub fn timestamp(&self) -> Option<i64> {
        self.message.timestamp()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.message.value()
    }

    /// The value of its last header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let name = CString::new(name).ok()?;
        headers::last(self.message.headers()?, &name)
    }

    /// All its headers in their order, as text where they are not; a null value is empty.
    pub(crate) fn all_headers(&self) -> Vec<(String, Vec<u8>)> {
        self.message.headers().map(headers::all).unwrap_or_default()
    }

    /// A copy of its headers, to be passed on.
    #[must_use]
    pub fn headers(&self) -> Headers {
        Headers(
            self.message
                .headers()
                .map(rdkafka::message::BorrowedHeaders::detach),
        )
    }
}

/// Headers of a record that goes out.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub(crate) Option<OwnedHeaders>);

impl Headers {
    /// Sets a header: earlier ones of the same name are replaced.
    #[must_use]
    pub fn set(self, name: &str, value: &str) -> Self {
        self.set_all([(name, value)])
    }

    /// Sets headers of different names: earlier ones of the same names are replaced.
    #[must_use]
    pub fn set_all<const N: usize>(self, added: [(&str, &str); N]) -> Self {
        let cleared = if self.0.is_some() {
            added
                .iter()
                .fold(self, |headers, (name, _)| headers.without(name))
        } else {
            self
        };
        let headers = cleared
            .0
            .unwrap_or_else(|| OwnedHeaders::new_with_capacity(N));
        let insert = |headers: OwnedHeaders, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        };
        Self(Some(added.into_iter().fold(headers, insert)))
    }

    /// Removes every header of a name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        if let (Some(headers), Ok(name)) = (&mut self.0, CString::new(name)) {
            headers::remove(headers, &name);
        }
        self
    }
}

/// A record that goes out.
#[derive(Debug)]
pub struct OutgoingRecord<'a> {
    /// The topic to append to.
    pub topic: &'a str,
    /// The partition to append to; `None` leaves it to the key.
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
    /// `opaque` comes back with the record's delivery report.
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
