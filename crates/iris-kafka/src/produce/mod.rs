//! Appending records without a transaction.

pub(crate) mod producer;
mod unsent;
