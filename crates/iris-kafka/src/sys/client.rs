//! Clients by their address, which their owners keep alive.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::Arc;

use rdkafka::admin::AdminClient;
use rdkafka::bindings::rd_kafka_t;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, ThreadedProducer};

/// A client with an address.
///
/// # Safety
/// The address must be that of a client of librdkafka which is alive as long as this value is.
pub(crate) unsafe trait Addressed: Send + Sync {
    /// Returns the address.
    fn address(&self) -> *mut rd_kafka_t;
}

// SAFETY: a consumer owns its client.
unsafe impl<C: ConsumerContext> Addressed for BaseConsumer<C> {
    fn address(&self) -> *mut rd_kafka_t {
        self.client().native_ptr()
    }
}

// SAFETY: a producer owns its client.
unsafe impl<C: ProducerContext> Addressed for BaseProducer<C> {
    fn address(&self) -> *mut rd_kafka_t {
        self.client().native_ptr()
    }
}

// SAFETY: a producer owns its client.
unsafe impl<C: ProducerContext + 'static> Addressed for ThreadedProducer<C> {
    fn address(&self) -> *mut rd_kafka_t {
        self.client().native_ptr()
    }
}

// SAFETY: an administrative client owns its client.
unsafe impl<C: ClientContext> Addressed for AdminClient<C> {
    fn address(&self) -> *mut rd_kafka_t {
        self.inner().native_ptr()
    }
}

/// Keeps a client alive. Whatever refers to a client, such as a queue, owns one of these.
#[derive(Clone)]
pub(crate) struct Alive(Arc<dyn Addressed>);

impl Alive {
    /// Keeps this client alive.
    pub(crate) fn new<T: Addressed + 'static>(client: &Arc<T>) -> Self {
        Self(Arc::<T>::clone(client))
    }

    /// Returns the client's address, which is valid as long as this value is.
    pub(super) fn address(&self) -> *mut rd_kafka_t {
        self.0.address()
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Alive").field(&self.address()).finish()
    }
}
