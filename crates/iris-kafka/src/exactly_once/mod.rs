//! Consume, process and produce in one transaction.

mod caller;
pub(crate) mod transaction;
mod worker;

pub use worker::{Outbox, Pace, Processor, Report, Worker, WorkerError};
