//! The faults that end a session.

use iris_core::{FitError, ModelVersion};
use iris_kafka::{Denied, ReadError};
use iris_registry::RegistryTopicError;

use crate::checkpoint::CheckpointError;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The registry cannot be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryTopicError),
    /// Predictions or labels cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another trainer has written the state.
    #[error(
        "another trainer has taken over: only one trainer may run per registry; stop one of them, or give it topics of its own"
    )]
    TakenOver,
    /// The registry has no champion any more.
    #[error(
        "the registry has no champion any more: its records have been deleted; to start over, delete the topics and create \
         them"
    )]
    NoChampion,
    /// The topic of feedback lacks partitions that the topic of predictions has.
    #[error(
        "topic `{feedback}` has {found} partitions and `{predictions}` has {wanted}, and feedback keeps the partition of its \
         prediction: run `kafka-topics.sh --alter --topic {feedback} --partitions {wanted}`"
    )]
    TooFewPartitions {
        /// The topic of feedback.
        feedback: String,
        /// Its number of partitions.
        found: usize,
        /// The topic of predictions.
        predictions: String,
        /// Its number of partitions.
        wanted: usize,
    },
    /// Training failed.
    #[error("training a challenger failed")]
    Fit(#[from] FitError),
    /// A model has other columns than the settings.
    #[error(
        "model {0} has other columns than dataset.features and dataset.label: another dataset needs another topics.models and \
         topics.trainer_state"
    )]
    OtherColumns(ModelVersion),
}

/// The recovery after a session ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Start another session, from the last checkpoint.
    Restart,
    /// End, because the service is stopping.
    Stop,
    /// Fail.
    Fail,
}

impl SessionError {
    /// Whether a retry may succeed: the cluster did not answer or finish in time, or a topic has changed.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Registry(problem) => problem.is_retriable(),
            Self::Read(_) | Self::Checkpoint(CheckpointError::Read(_)) => true,
            Self::TooFewPartitions { .. } => true,
            _ => false,
        }
    }

    /// Returns the resource that a broker refused to the user; `None` if the error is another one.
    pub(crate) fn denied(&self) -> Option<Denied> {
        match self {
            Self::Registry(problem) => problem.denied(),
            Self::Read(problem) | Self::Checkpoint(CheckpointError::Read(problem)) => {
                problem.denied()
            }
            _ => None,
        }
    }

    /// Returns the model that the registry's topic has refused as too large.
    pub(crate) fn too_large_model(&self) -> Option<ModelVersion> {
        match self {
            Self::Registry(RegistryTopicError::TooLarge { version, .. }) => Some(*version),
            _ => None,
        }
    }

    /// Returns the recovery from this error.
    pub(crate) fn recovery(&self, is_stopping: bool) -> Recovery {
        if self.is_retriable() {
            Recovery::Restart
        } else if is_stopping {
            Recovery::Stop
        } else {
            Recovery::Fail
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::example::model;

    #[test]
    fn a_session_restarts_only_after_errors_of_the_cluster() {
        let version = model(0.0).model.version();
        let stalled = || ReadError::Stalled {
            topic: "t".to_owned(),
            timeout: Duration::from_secs(1),
            cause: None,
        };
        let not_visible = RegistryTopicError::NotVisible {
            topic: "t".to_owned(),
        };
        let corrupt = CheckpointError::Corrupt {
            topic: "t".to_owned(),
            problem: "x".to_owned(),
        };
        for (error, is_retriable) in [
            (SessionError::from(stalled()), true),
            (CheckpointError::from(stalled()).into(), true),
            (not_visible.into(), true),
            (corrupt.into(), false),
            (RegistryTopicError::Stopped.into(), false),
            (SessionError::TakenOver, false),
            (SessionError::NoChampion, false),
            (SessionError::OtherColumns(version), false),
        ] {
            assert_eq!(error.is_retriable(), is_retriable, "{error:?}");
            assert_eq!(error.too_large_model(), None);
            let recoveries = [false, true].map(|is_stopping| error.recovery(is_stopping));
            let expected = if is_retriable {
                [Recovery::Restart; 2]
            } else {
                [Recovery::Fail, Recovery::Stop]
            };
            assert_eq!(recoveries, expected, "{error:?}");
        }
        let too_large = RegistryTopicError::TooLarge {
            topic: "t".to_owned(),
            version,
            bytes: 7,
        };
        assert_eq!(
            SessionError::from(too_large).too_large_model(),
            Some(version)
        );
    }
}
