//! Errors that end a worker.

use std::time::Duration;

use crate::consume::error::ConsumeError;
use crate::exactly_once::fault::Fault;
use crate::rights::missing::Denied;

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
    /// The user lacks a right.
    #[error("not authorised: {fault}; `iris-admin acls` prints the rights that each service needs")]
    NotAuthorised {
        /// The worker's transactional id.
        transactional_id: String,
        /// The worker's consumer group.
        group_id: String,
        /// The refusal.
        #[source]
        fault: Fault,
    },
}

impl WorkerError {
    /// Returns the resource that a broker refused; `None` if the error is another one.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        match self {
            Self::Consume(error) => error.denied(),
            Self::NotAuthorised {
                transactional_id,
                group_id,
                fault,
            } => fault.denied(transactional_id, group_id),
            Self::Stuck { .. } => None,
        }
    }
}
