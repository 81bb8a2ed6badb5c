//! The error for a topic that cannot be read.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::change::identity::{TopicId, TopicState, is_recreated};
use crate::rights::missing::Denied;

/// The error for a topic that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client or the cluster refuses.
    #[error("cannot read topic `{topic}`")]
    Refused {
        /// The topic.
        topic: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// The user may not read the topic.
    #[error(
        "cannot read topic `{topic}`: not authorised ({code}); `iris-admin acls` prints the rights that each service needs"
    )]
    NotAuthorised {
        /// The topic.
        topic: String,
        /// The broker's error.
        code: RDKafkaErrorCode,
    },
    /// No broker answered in time.
    #[error("cannot read topic `{topic}`: the brokers did not answer in time")]
    NoAnswer {
        /// The topic.
        topic: String,
    },
    /// The topic has changed; reading has to start again.
    #[error("topic `{topic}` {change}")]
    Changed {
        /// The topic.
        topic: String,
        /// The change.
        change: TopicChange,
    },
    /// Reading to the end made no progress.
    #[error(
        "reading topic `{topic}` made no progress for {} s{}",
        timeout.as_secs(),
        cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"))
    )]
    Stalled {
        /// The topic.
        topic: String,
        /// The time without progress.
        timeout: Duration,
        /// The client's latest error, if it had one.
        cause: Option<String>,
    },
    /// Reading was stopped before the end.
    #[error("stopped while reading topic `{topic}`")]
    Stopped {
        /// The topic.
        topic: String,
    },
}

/// A change of a topic that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicChange {
    /// It was deleted and created again.
    #[error("was deleted and recreated: reading it from its beginning")]
    Recreated,
    /// It was deleted.
    #[error("does not exist any more: create it with `iris-admin topics create`")]
    Deleted,
    /// It has more partitions.
    #[error("has {now} partitions, it had {before}: reading all of them")]
    Grown {
        /// The number of partitions when reading started.
        before: usize,
        /// The number now.
        now: usize,
    },
}

/// Returns how a topic has changed since reading started, if its state is known. `id` and `partitions` are those of that time;
/// without `partitions`, only some of them are read, and more do not matter.
pub(super) fn change(
    id: Option<&TopicId>,
    partitions: Option<usize>,
    state: &TopicState,
) -> Option<TopicChange> {
    match state {
        TopicState::Missing => Some(TopicChange::Deleted),
        TopicState::Unknown(_) => None,
        TopicState::Exists { id: now, .. } if is_recreated(id, now.as_ref()) => {
            Some(TopicChange::Recreated)
        }
        &TopicState::Exists {
            partitions: now, ..
        } => {
            let before = partitions.filter(|&before| before < now)?;
            Some(TopicChange::Grown { before, now })
        }
    }
}

impl ReadError {
    /// Returns the resource that a broker refused; `None` if the error is another one.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        matches!(self, Self::NotAuthorised { .. }).then_some(Denied::Topic)
    }

    /// Returns a conversion of a client's error about a topic.
    pub(super) fn refused(topic: &str) -> impl Fn(KafkaError) -> Self {
        move |source| {
            let topic = topic.to_owned();
            match source.rdkafka_error_code() {
                Some(RDKafkaErrorCode::OperationTimedOut) => Self::NoAnswer { topic },
                Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    Self::NotAuthorised { topic, code }
                }
                _ => Self::Refused { topic, source },
            }
        }
    }
}

/// Whether a client's error ends reading: the client has failed for good, or the user may not read the topic. All other errors
/// are temporary, and the client tries again.
pub(super) fn ends_reading(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_deleted_recreated_or_grown() {
        use TopicChange::{Deleted, Grown, Recreated};
        let exists = |id: &str, partitions| TopicState::Exists {
            id: TopicId::new(id),
            partitions,
        };
        let grown = Grown { before: 5, now: 6 };
        let unknown = TopicState::Unknown(RDKafkaErrorCode::LeaderNotAvailable);
        for (partitions, state, expected) in [
            (Some(5), exists("a", 5), None),
            (Some(5), exists("a", 6), Some(grown)),
            (None, exists("a", 6), None),
            (Some(5), exists("b", 6), Some(Recreated)),
            (None, exists("b", 5), Some(Recreated)),
            (Some(5), TopicState::Missing, Some(Deleted)),
            (Some(5), unknown, None),
        ] {
            let found = change(TopicId::new("a").as_ref(), partitions, &state);
            assert_eq!(found, expected, "{partitions:?} {state:?}");
        }
        let error = ReadError::Changed {
            topic: "t".to_owned(),
            change: grown,
        };
        assert_eq!(
            error.to_string(),
            "topic `t` has 6 partitions, it had 5: reading all of them"
        );
    }

    #[test]
    fn a_stall_names_its_cause_if_the_client_reported_one() {
        let stalled = |cause: Option<&str>| {
            let error = ReadError::Stalled {
                topic: "t".to_owned(),
                timeout: Duration::from_secs(30),
                cause: cause.map(str::to_owned),
            };
            error.to_string()
        };
        assert_eq!(stalled(None), "reading topic `t` made no progress for 30 s");
        assert_eq!(
            stalled(Some("broker:1: refused")),
            "reading topic `t` made no progress for 30 s: broker:1: refused"
        );
    }
}
