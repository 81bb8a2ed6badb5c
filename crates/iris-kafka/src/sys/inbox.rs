//! Takes fetched records in batches.
//!
//! rust-rdkafka returns records one at a time, each wrapped in an event, and reads the clock several times for each: at a
//! million records/s that costs as much as classifying them. Here the records of all partitions go to a queue of their own
//! and are taken from it in batches. Rebalances, errors and statistics still arrive on the consumer's own queue, which has
//! to be polled as well.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_consume_queue, rd_kafka_message_destroy,
    rd_kafka_message_headers, rd_kafka_message_t, rd_kafka_message_timestamp,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition,
    rd_kafka_queue_new, rd_kafka_queue_t, rd_kafka_timestamp_type_t, rd_kafka_topic_name,
};
use rdkafka::client::Client;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{IsError, RDKafkaErrorCode};
use rdkafka::message::BorrowedHeaders;
use rdkafka::types::RDKafkaRespErr;

use crate::sys::headers;

/// The maximum number of records in a batch. A larger batch would make taking records hardly cheaper, and its processing would
/// take longer than 1 ms.
const MOST: usize = 512;

/// A queue that receives the records of partitions.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: NonNull<rd_kafka_queue_t>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Inbox {}
// SAFETY: they may also be used from several threads at once.
unsafe impl Sync for Inbox {}

impl Inbox {
    /// Creates a queue. It, and the messages that are taken from it, must be dropped before the client.
    pub(crate) fn new<C: ConsumerContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive while it is borrowed.
        let queue = unsafe { rd_kafka_queue_new(client.native_ptr()) };
        NonNull::new(queue).map(|queue| Self { queue })
    }

    /// Routes a partition's records to this queue. Call it before the partition is read for the first time, and again whenever
    /// reading has stopped, because stopping removes the route. Records that were fetched in between arrive after the call.
    pub(crate) fn collect_from<C: ConsumerContext>(
        &self,
        client: &Client<C>,
        topic: &CStr,
        partition: i32,
    ) {
        // SAFETY: the client is alive while it is borrowed, and the name is terminated.
        let source =
            unsafe { rd_kafka_queue_get_partition(client.native_ptr(), topic.as_ptr(), partition) };
        if source.is_null() {
            return;
        }
        // SAFETY: both queues are alive. The reference to the partition's queue is released, which keeps the forwarding.
        unsafe {
            rd_kafka_queue_forward(source, self.queue.as_ptr());
            rd_kafka_queue_destroy(source);
        }
    }

    /// Takes the messages that are available, at most one batch; if there are none, waits for one for at most `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Vec<Message> {
        let mut taken = [ptr::null_mut::<rd_kafka_message_t>(); MOST];
        // SAFETY: the array has room for as many messages as are asked for.
        let count = unsafe {
            rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, taken.as_mut_ptr(), MOST)
        };
        let count = usize::try_from(count).unwrap_or(0);
        if count > 0 || timeout.is_zero() {
            return taken[..count]
                .iter()
                .filter_map(|&message| Message::new(message))
                .collect();
        }
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive.
        let message = unsafe { rd_kafka_consume_queue(self.queue.as_ptr(), timeout) };
        Message::new(message).into_iter().collect()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // SAFETY: it is not used afterwards.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record in librdkafka's memory, or an error of a partition in its place.
#[derive(Debug)]
pub(crate) struct Message(NonNull<rd_kafka_message_t>);

// SAFETY: librdkafka does not use a message any more once it has returned it.
unsafe impl Send for Message {}

impl Message {
    fn new(message: *mut rd_kafka_message_t) -> Option<Self> {
        NonNull::new(message).map(Self)
    }

    fn native(&self) -> &rd_kafka_message_t {
        // SAFETY: it is alive until this value is dropped.
        unsafe { self.0.as_ref() }
    }

    /// Returns the error, if this is not a record.
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        let error: RDKafkaRespErr = self.native().err;
        error.is_error().then(|| error.into())
    }

    pub(crate) fn topic(&self) -> &str {
        // SAFETY: a record's topic lives as long as it does, and its name is terminated.
        let name = unsafe { CStr::from_ptr(rd_kafka_topic_name(self.native().rkt)) };
        // Topic names are ASCII.
        name.to_str().unwrap_or_default()
    }

    pub(crate) fn partition(&self) -> i32 {
        self.native().partition
    }

    pub(crate) fn offset(&self) -> i64 {
        self.native().offset
    }

    pub(crate) fn timestamp(&self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let timestamp = unsafe { rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        (kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= 0)
            .then_some(timestamp)
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        let native = self.native();
        bytes(native.key.cast(), native.key_len)
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        let native = self.native();
        bytes(native.payload.cast(), native.len)
    }

    pub(crate) fn headers(&self) -> Option<&BorrowedHeaders> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive, and its list lives as long as it does.
        let found = unsafe { rd_kafka_message_headers(self.0.as_ptr(), &raw mut list) };
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: as above.
        unsafe { headers::borrowed(list) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: this value owns the message, which is not used afterwards.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Returns bytes within a message; `None` for null.
fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka points at `length` bytes that live as long as the message, and the callers return no longer
    // lifetime than that.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

/// Returns a topic's name as a C string.
pub(crate) fn terminated(topic: &str) -> CString {
    // librdkafka refuses the empty name that a name with a zero byte becomes.
    CString::new(topic).unwrap_or_default()
}
