//! Classifies a stream of records exactly once.
//!
//! Each worker is a thread with its own consumer and its own transactional producer. A record's outcome is a
//! prediction, and feedback if it was mispredicted, or a dead letter; outcomes and input offsets are one transaction.
//! `processor` turns records into outcomes, [`pipeline`] runs the workers.

pub mod args;
mod champion;
mod instance;
mod latency;
mod metrics;
mod model;
pub mod pipeline;
mod processor;
mod record_log;
pub mod settings;
mod summary;

pub use pipeline::run;
pub use summary::Summary;

/// The service's name.
pub const NAME: &str = "iris-classifier";
