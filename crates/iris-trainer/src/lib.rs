//! Learns from feedback and labels, and decides which model is the champion.
//!
//! What is read, predictions and labels, is brought into one order ([`merge`]) and joined ([`join`]). The [`learner`]
//! keeps count of how good the answers are, collects what there is to learn, and says when something is to be decided;
//! [`challenger`] trains, [`gate`] judges, and a decision says what follows and what is written of it (`decision.rs`). All of
//! these are functions over values. [`pipeline`] reads, and writes what was decided, what was learned from and where reading
//! goes on as one transaction (the checkpoint), so that a trainer that is killed anywhere goes on where that transaction left
//! it.

pub mod args;
pub mod challenger;
mod checkpoint;
mod decision;
pub mod drift;
pub mod evaluation;
#[cfg(test)]
mod example;
pub mod gate;
mod input;
pub mod join;
pub mod learner;
pub mod merge;
mod metrics;
pub mod observation;
mod pace;
pub mod pipeline;
pub mod settings;
mod summary;

pub use pipeline::run;
pub use summary::Summary;

/// The service's name.
pub const NAME: &str = "iris-trainer";
