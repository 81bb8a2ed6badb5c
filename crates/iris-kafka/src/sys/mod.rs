//! Direct calls of librdkafka and of its OpenSSL: all unsafe code of the workspace.
//!
//! What refers to a client keeps it [alive](client::Alive), and what refers to a queue's memory borrows from the queue, so the
//! order in which values are dropped matters for no other module.

pub(crate) mod client;
pub(crate) mod describe;
pub(crate) mod flush;
pub(crate) mod headers;
pub(crate) mod inbox;
pub(crate) mod log_start;
pub(crate) mod membership;
pub(crate) mod message;
pub(crate) mod password;
pub(crate) mod position;
pub(crate) mod tls;
pub(crate) mod values;
