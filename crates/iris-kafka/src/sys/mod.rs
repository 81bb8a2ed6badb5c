//! Direct calls of librdkafka and of its OpenSSL: all unsafe code of the workspace.
//!
//! A value that refers to a client keeps it [alive](client::Alive), and one that refers to a queue's memory borrows from the
//! queue, so other modules may drop these values in any order.

pub(crate) mod admin;
pub(crate) mod client;
pub(crate) mod describe;
pub(crate) mod ends;
pub(crate) mod flush;
pub(crate) mod headers;
pub(crate) mod inbox;
pub(crate) mod log_start;
pub(crate) mod membership;
pub(crate) mod message;
pub(crate) mod outbound;
pub(crate) mod password;
pub(crate) mod position;
pub(crate) mod queue;
pub(crate) mod tls;
pub(crate) mod values;
