//! Learns from predictions and late labels, and decides which model is the champion.
//!
//! Predictions and labels are merged into one order ([`merge`]) and joined ([`join`]). The [`learner`] evaluates the
//! predictions, collects training examples and reports when a decision is due; [`challenger`] trains a model, [`gate`]
//! compares it with the champion, and `decision.rs` promotes, rejects or rolls back. All of these are functions over values.
//! [`pipeline`] reads records, and writes the decisions, late feedback, the learner's state and its offsets (the checkpoint)
//! in one transaction. A trainer that is killed at any point continues from the last transaction.

pub mod args;
mod baselines;
mod blocks;
pub mod challenger;
mod checkpoint;
pub mod clock;
mod decision;
pub mod drift;
pub mod evaluation;
#[cfg(test)]
mod example;
mod figures;
pub mod gate;
mod input;
pub mod join;
pub mod learner;
mod loop_metrics;
pub mod merge;
mod metrics;
mod notices;
pub mod observation;
mod outcome;
mod overload;
mod paired_test;
pub mod pipeline;
mod place;
#[cfg(test)]
#[path = "../../iris-core/src/property.rs"]
mod property;
mod sampling;
mod schedule;
pub mod settings;
mod storage;
mod summary;
pub mod verdict;

pub use pipeline::run;
pub use summary::TrainerSummary;

/// The service's name.
pub const NAME: &str = "iris-trainer";
