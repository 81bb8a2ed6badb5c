//! Classifies a stream of records exactly once.
//!
//! Each worker is a thread with its own consumer and its own transactional producer. A record's outcome is a prediction,
//! with feedback if it is a misprediction, or a dead letter; outcomes and input offsets are one transaction. `processor`
//! turns records into outcomes, `champion` follows the registry for the model to serve, and [`pipeline`] runs the workers.

pub mod args;
mod champion;
mod counts;
mod instance;
mod latency;
mod metrics;
pub mod pipeline;
mod plan;
mod processor;
mod record_log;
pub mod settings;
mod summary;
mod summary_partition;

pub use pipeline::run;
pub use summary::ClassifierSummary;

/// The service's name.
pub const NAME: &str = "iris-classifier";
