//! Streams the rows of a CSV file to Kafka as JSON records, at a fixed rate or as fast as the cluster
//! accepts them.
//!
//! The whole file is checked before the first record is sent. A record counts as sent once the brokers have acknowledged
//! it.

pub mod args;
mod deliveries;
mod pipeline;
mod progress;
mod rows;
mod schedule;
pub mod settings;

pub use pipeline::{ProducerSummary, run};
pub use progress::Progress;

/// The service's name.
pub const NAME: &str = "iris-producer";
