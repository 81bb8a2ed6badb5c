//! Errors that end a worker.

use std::time::Duration;

use crate::consume::error::ConsumeError;
use crate::exactly_once::fault::Fault;

/// Why a worker cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Reading failed permanently.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// Records are left, and none could be processed for longer than the idle timeout allows.
    #[error("no progress for {} s, and not all records are processed: {problem}", idle.as_secs())]
    Stuck {
        /// The time without progress.
        idle: Duration,
        /// The problem.
        problem: String,
    },
    /// The user lacks a permission.
    #[error(
        "transactional id `{transactional_id}`: not authorised: {fault}; `iris-admin topics describe` shows what the user may see"
    )]
    NotAuthorised {
        /// The worker's transactional id.
        transactional_id: String,
        /// The refusal.
        #[source]
        fault: Fault,
    },
}
