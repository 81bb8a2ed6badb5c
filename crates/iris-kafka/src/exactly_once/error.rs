//! Errors that end a worker.

use crate::consume::error::ConsumeError;
use crate::exactly_once::fault::Fault;

/// Why a worker cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Reading failed permanently.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
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
