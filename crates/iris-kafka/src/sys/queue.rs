//! Queues of a client, to which librdkafka delivers records or answers.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use rdkafka::bindings::{
    rd_kafka_queue_destroy, rd_kafka_queue_get_consumer, rd_kafka_queue_length, rd_kafka_queue_new,
    rd_kafka_queue_t,
};

use crate::sys::client::Alive;

/// A queue, which keeps its client alive.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: NonNull<rd_kafka_queue_t>,
    /// Released after the queue.
    client: Alive,
}

// SAFETY: librdkafka's queues may be used from any thread, and so may the client.
unsafe impl Send for Queue {}
// SAFETY: they may also be used from several threads at once.
unsafe impl Sync for Queue {}

impl Queue {
    /// Creates a queue of a client.
    pub(super) fn new(client: Alive) -> Option<Self> {
        // SAFETY: the client is kept alive.
        let queue = unsafe { rd_kafka_queue_new(client.address()) };
        NonNull::new(queue).map(|queue| Self { queue, client })
    }

    /// Returns the queue on which a consumer's events other than records arrive; `None` if the client is no consumer.
    pub(crate) fn of_consumer(client: Alive) -> Option<Self> {
        // SAFETY: the client is kept alive. The reference to its queue is released when this value is dropped.
        let queue = unsafe { rd_kafka_queue_get_consumer(client.address()) };
        NonNull::new(queue).map(|queue| Self { queue, client })
    }

    /// Returns the number of events that wait.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { rd_kafka_queue_length(self.address()) }
    }

    /// Returns the queue's address, which is valid as long as this value is.
    pub(super) fn address(&self) -> *mut rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Returns the client.
    pub(super) fn client(&self) -> &Alive {
        &self.client
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive, as its client is, and not used afterwards.
        unsafe { rd_kafka_queue_destroy(self.address()) };
    }
}
