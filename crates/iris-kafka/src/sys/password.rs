//! Gives existing clients another password.
//!
//! rust-rdkafka does not expose librdkafka's function, and its clients cannot be shared with the thread that reads the files.
#![allow(unsafe_code)]

use std::ffi::CString;

use rdkafka::bindings::{rd_kafka_error_destroy, rd_kafka_sasl_set_credentials};
use secrecy::{ExposeSecret as _, SecretString};

use crate::sys::client::Alive;

/// Makes a client use another password at its next authentication. Connections that are open stay open.
pub(crate) fn set(client: &Alive, username: &str, password: &SecretString) {
    let (Ok(username), Ok(password)) = (
        CString::new(username),
        CString::new(password.expose_secret()),
    ) else {
        return;
    };
    // SAFETY: the client is kept alive. librdkafka copies both texts, which are terminated, under a lock of its own.
    let error = unsafe {
        rd_kafka_sasl_set_credentials(client.address(), username.as_ptr(), password.as_ptr())
    };
    // SAFETY: the error is null or destroyed once, and not used afterwards.
    unsafe { rd_kafka_error_destroy(error) };
}
