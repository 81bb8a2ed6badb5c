//! Streams the rows of a CSV file to Kafka as JSON records, at a pace or as fast as the cluster takes them.
//!
//! The whole file is checked before the first record is sent. A record counts as sent when the brokers have
//! acknowledged it, not when it was handed to the client.

pub mod args;
mod deliveries;
mod pipeline;
mod progress;
mod rows;
mod schedule;
pub mod settings;

pub use pipeline::{Summary, run};
pub use progress::Progress;

/// The service's name.
pub const NAME: &str = "iris-producer";
