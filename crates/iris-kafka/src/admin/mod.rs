//! The cluster and its topics, looked at and changed from outside.

pub mod startup;
pub(crate) mod topics;
