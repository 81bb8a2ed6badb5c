//! Why the registry cannot be read or written.

use std::time::Duration;

use iris_contract::registry::EntryError;
use iris_core::{ArtefactError, BlockId, InvalidSetting, ModelVersion};
use iris_kafka::{Denied, Fault, ReadError};

/// How long to wait until a committed transaction can be read.
pub(crate) const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a record, or a request, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A record cannot be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A block cannot be used.
    #[error("block {block} is refused: {problem}")]
    Block {
        /// The block.
        block: BlockId,
        /// Why.
        #[source]
        problem: ArtefactError,
    },
    /// There is no such model.
    #[error("there is no model {0}; `iris-admin models list` shows those there are")]
    NoSuchModel(ModelVersion),
    /// A model cannot be used.
    #[error("model {version} is refused: {problem}")]
    Refused {
        /// The model.
        version: ModelVersion,
        /// Why.
        #[source]
        problem: ArtefactError,
    },
    /// A model's rows are not in the registry.
    #[error(
        "model {0} has no rows in the registry: rejected models and former champions beyond registry.max_retired_models keep \
         only their description"
    )]
    NoRows(ModelVersion),
    /// The model is the champion already.
    #[error("model {0} is the champion already")]
    IsChampion(ModelVersion),
    /// The champion replaced no other.
    #[error("there is nothing to roll back to: the champion has replaced no other model")]
    NothingToRollBackTo,
}

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryTopicError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Setting(#[from] InvalidSetting),
    /// The topic cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A committed transaction could not be read in time.
    #[error("entries committed to topic `{topic}` could not be read for {} s", VISIBLE_TIMEOUT.as_secs())]
    NotVisible {
        /// The topic.
        topic: String,
    },
    /// The topic cannot be written to.
    #[error("cannot write to topic `{topic}`")]
    Write {
        /// The topic.
        topic: String,
        /// The cause.
        #[source]
        fault: Fault,
    },
    /// The user may not use the transactional id of the registry's writers.
    #[error("cannot write as transactional id `{transactional_id}`")]
    TransactionalId {
        /// The transactional id.
        transactional_id: String,
        /// The cause.
        #[source]
        fault: Fault,
    },
    /// The topic refuses a transaction with a model as too large.
    #[error(
        "topic `{topic}` refuses the records of model {version}, of up to {bytes} bytes, as too large: raise the topic's \
         max.message.bytes, or train on fewer rows"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// The model; of several, the first one.
        version: ModelVersion,
        /// The size of its largest record before compression.
        bytes: usize,
    },
    /// The request is refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A model is refused.
    #[error("model {version} is refused")]
    Artefact {
        /// The model.
        version: ModelVersion,
        /// The cause.
        #[source]
        source: ArtefactError,
    },
    /// The service is stopping.
    #[error("stopped")]
    Stopped,
}

impl RegistryTopicError {
    /// Returns the resource that a broker refused; `None` if the error is another one.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        match self {
            Self::Read(error) => error.denied(),
            Self::Write { fault, .. } => fault.denied("", ""),
            Self::TransactionalId {
                transactional_id,
                fault,
            } => fault.denied(transactional_id, ""),
            _ => None,
        }
    }

    /// Whether a retry may succeed: the cluster did not answer or finish in time.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Read(error) => !matches!(error, ReadError::Stopped { .. }),
            Self::NotVisible { .. } => true,
            Self::Write { fault, .. } => !matches!(fault, Fault::NotAuthorised(_)),
            _ => false,
        }
    }
}
