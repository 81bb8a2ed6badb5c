//! Stores the feedback topic in a database, each record once.
//!
//! Rows and the offsets up to which the topic was read are one database transaction, and reading resumes at the
//! database's offsets, whatever Kafka's say. [`feedback`] turns a record into a row, [`store`] keeps rows in SQLite or
//! PostgreSQL, [`pipeline`] moves them, [`listing`] shows them.

pub mod args;
pub mod feedback;
pub mod listing;
mod metrics;
pub mod pipeline;
pub mod settings;
pub mod store;

pub use pipeline::{Summary, run};

/// The service's name.
pub const NAME: &str = "iris-feedback-sink";
