//! Stores the feedback topic in a database, each record once.
//!
//! Rows and the offsets up to which the topic has been read are written in one database transaction, and reading resumes at the
//! database's offsets, whatever the consumer group has committed. [`pipeline`] moves records from the topic to the store: it
//! turns each into a row with [`feedback`], and repeats calls of the store until they succeed. [`listing`] prints rows. The table
//! itself belongs to [`iris_feedback_store`].

pub mod args;
mod batch;
pub mod feedback;
mod identity;
pub mod listing;
mod metrics;
pub mod pipeline;
mod reading;
mod retry;
pub mod settings;
mod source;
mod summary;

pub use pipeline::run;
pub use summary::SinkSummary;

/// The service's name.
pub const NAME: &str = "iris-feedback-sink";
