//! Gives existing clients another password.
//!
//! rust-rdkafka does not expose librdkafka's function, and its clients cannot be shared with the thread that reads the files.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr::NonNull;

use rdkafka::admin::AdminClient;
use rdkafka::bindings::{rd_kafka_error_destroy, rd_kafka_sasl_set_credentials, rd_kafka_t};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, ThreadedProducer};
use secrecy::{ExposeSecret as _, SecretString};

/// The address of a client that is alive as long as this value is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientAddress(NonNull<rd_kafka_t>);

// SAFETY: librdkafka's clients may be used from any thread.
unsafe impl Send for ClientAddress {}

/// A client with an address.
pub(crate) trait Addressed {
    /// Returns the client's address, which must not be used after the client is dropped.
    fn address(&self) -> Option<ClientAddress>;
}

impl<C: ConsumerContext> Addressed for BaseConsumer<C> {
    fn address(&self) -> Option<ClientAddress> {
        NonNull::new(self.client().native_ptr()).map(ClientAddress)
    }
}

impl<C: ProducerContext> Addressed for BaseProducer<C> {
    fn address(&self) -> Option<ClientAddress> {
        NonNull::new(self.client().native_ptr()).map(ClientAddress)
    }
}

impl<C: ProducerContext + 'static> Addressed for ThreadedProducer<C> {
    fn address(&self) -> Option<ClientAddress> {
        NonNull::new(self.client().native_ptr()).map(ClientAddress)
    }
}

impl<C: ClientContext> Addressed for AdminClient<C> {
    fn address(&self) -> Option<ClientAddress> {
        NonNull::new(self.inner().native_ptr()).map(ClientAddress)
    }
}

/// Makes a client use another password at its next authentication. Connections that are open stay open.
pub(crate) fn set(client: ClientAddress, username: &str, password: &SecretString) {
    let (Ok(username), Ok(password)) = (
        CString::new(username),
        CString::new(password.expose_secret()),
    ) else {
        return;
    };
    // SAFETY: the caller keeps the client alive. librdkafka copies both texts, under a lock of its own.
    unsafe {
        let error =
            rd_kafka_sasl_set_credentials(client.0.as_ptr(), username.as_ptr(), password.as_ptr());
        rd_kafka_error_destroy(error);
    }
}
