//! Direct calls of librdkafka and of its OpenSSL: all unsafe code of the workspace.

pub(crate) mod describe;
pub(crate) mod flush;
pub(crate) mod headers;
pub(crate) mod inbox;
pub(crate) mod log_start;
pub(crate) mod membership;
pub(crate) mod password;
pub(crate) mod position;
pub(crate) mod tls;
