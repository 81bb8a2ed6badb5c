//! A fetched record in librdkafka's memory.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use rdkafka::bindings::{
    rd_kafka_message_destroy, rd_kafka_message_headers, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_timestamp_type_t, rd_kafka_topic_name, rd_kafka_topic_t,
};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedHeaders;
use rdkafka::types::RDKafkaRespErr;

use crate::sys::client::Alive;
use crate::sys::{headers, values};

/// The fields of `rd_kafka_message_t`, with the error as a number: see [`values::error`].
#[repr(C)]
struct Fields {
    error: i32,
    topic: *mut rd_kafka_topic_t,
    partition: i32,
    payload: *const c_void,
    length: usize,
    key: *const c_void,
    key_length: usize,
    offset: i64,
    private: *mut c_void,
}

const _: () = {
    assert!(size_of::<Fields>() == size_of::<rd_kafka_message_t>());
    assert!(align_of::<Fields>() == align_of::<rd_kafka_message_t>());
    assert!(size_of::<RDKafkaRespErr>() == size_of::<i32>());
    assert!(offset_of!(Fields, error) == offset_of!(rd_kafka_message_t, err));
    assert!(offset_of!(Fields, topic) == offset_of!(rd_kafka_message_t, rkt));
    assert!(offset_of!(Fields, partition) == offset_of!(rd_kafka_message_t, partition));
    assert!(offset_of!(Fields, payload) == offset_of!(rd_kafka_message_t, payload));
    assert!(offset_of!(Fields, length) == offset_of!(rd_kafka_message_t, len));
    assert!(offset_of!(Fields, key) == offset_of!(rd_kafka_message_t, key));
    assert!(offset_of!(Fields, key_length) == offset_of!(rd_kafka_message_t, key_len));
    assert!(offset_of!(Fields, offset) == offset_of!(rd_kafka_message_t, offset));
    assert!(offset_of!(Fields, private) == offset_of!(rd_kafka_message_t, _private));
    // `Fetched` is only the address, so a batch is an array of addresses.
    assert!(size_of::<Option<Message<'_>>>() == size_of::<*mut rd_kafka_message_t>());
};

/// A record that was taken from an inbox, or an error of a partition in its place. It owns the message, so only what keeps
/// the client alive may keep it: see [`Message`].
#[derive(Debug)]
pub(crate) struct Fetched(NonNull<Fields>);

// SAFETY: librdkafka does not use a message any more once it has returned it.
unsafe impl Send for Fetched {}

/// A message that is borrowed from what keeps its client alive.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    fetched: Fetched,
    client: PhantomData<&'a Alive>,
}

impl<'a> Message<'a> {
    /// Borrows a message from what keeps its client alive.
    pub(super) fn new(fetched: Fetched, _: &'a Alive) -> Self {
        Self {
            fetched,
            client: PhantomData,
        }
    }

    /// Gives the message up to what keeps the client alive.
    pub(super) fn into_fetched(self) -> Fetched {
        self.fetched
    }
}

impl Deref for Message<'_> {
    type Target = Fetched;

    fn deref(&self) -> &Fetched {
        &self.fetched
    }
}

impl Fetched {
    /// Takes ownership of a message; `None` if it is null.
    ///
    /// # Safety
    /// Unless it is null, it must be a message that librdkafka has returned and nothing else owns.
    pub(super) unsafe fn own(message: *mut rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message.cast()).map(Self)
    }

    fn native(&self) -> *mut rd_kafka_message_t {
        self.0.as_ptr().cast()
    }

    fn fields(&self) -> &Fields {
        // SAFETY: the message is alive until this value is dropped, and its layout is that of `Fields`, which is asserted above.
        unsafe { self.0.as_ref() }
    }

    /// Returns the error, if this is not a record.
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        values::error(self.fields().error)
    }

    /// Returns the name of the topic; empty for an error that belongs to none.
    pub(crate) fn topic(&self) -> &str {
        let topic = self.fields().topic;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message has a reference to its topic, which is not null.
        let name = unsafe { rd_kafka_topic_name(topic) };
        // SAFETY: librdkafka terminates the name, which lives as long as the topic.
        let name = unsafe { values::text(name) };
        // Topic names are ASCII.
        name.and_then(|name| name.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn partition(&self) -> i32 {
        self.fields().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.fields().offset
    }

    /// Returns the address of the offset, for a test that reads it after it was freed.
    #[cfg(all(test, sanitized))]
    pub(super) fn address_of_offset(&self) -> *const i64 {
        &raw const self.fields().offset
    }

    pub(crate) fn timestamp(&self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive until this value is dropped.
        let timestamp = unsafe { rd_kafka_message_timestamp(self.native(), &raw mut kind) };
        (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= 0)
            .then_some(timestamp)
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: the key is null or has that many bytes, which live as long as the message.
        unsafe { values::bytes(fields.key, fields.key_length) }
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: the payload is null or has that many bytes, which live as long as the message.
        unsafe { values::bytes(fields.payload, fields.length) }
    }

    pub(crate) fn headers(&self) -> Option<&BorrowedHeaders> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive until this value is dropped.
        let found = unsafe { rd_kafka_message_headers(self.native(), &raw mut list) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the list is null or lives as long as the message, and nothing changes it.
        unsafe { headers::borrowed(list) }
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // SAFETY: this value owns the message, which is not used afterwards.
        unsafe { rd_kafka_message_destroy(self.native()) };
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;

    #[test]
    fn an_error_without_topic_key_and_payload_is_read_without_them() {
        let mut fields = Fields {
            error: 9_999,
            topic: ptr::null_mut(),
            partition: -1,
            payload: ptr::null(),
            length: 3,
            key: ptr::null(),
            key_length: 7,
            offset: -1001,
            private: ptr::null_mut(),
        };
        let message = ManuallyDrop::new(Fetched(NonNull::from(&mut fields)));
        assert_eq!(message.error(), Some(RDKafkaErrorCode::Unknown));
        assert_eq!(message.topic(), "");
        assert_eq!((message.key(), message.value()), (None, None));
        assert_eq!((message.partition(), message.offset()), (-1, -1001));
    }

    #[test]
    fn librdkafka_has_the_version_of_its_bindings() {
        let (linked, _) = rdkafka::util::get_rdkafka_version();
        assert_eq!(linked, rdkafka::bindings::RD_KAFKA_VERSION);
    }
}
