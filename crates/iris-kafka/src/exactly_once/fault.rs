//! Why a transaction fails, and which recovery the failure requires.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::rights::missing::Denied;

/// Why a transaction did not commit. Each variant requires a different recovery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The transaction can be aborted; the producer stays usable.
    #[error("{0}")]
    Abortable(String),
    /// The producer must be replaced: it is fenced or broken, or the outcome of a call is unknown.
    #[error("{0}")]
    Lost(String),
    /// The user lacks a right; a retry cannot help.
    #[error("{0}")]
    NotAuthorised(Refusal),
}

/// A request that a broker refused because the user lacks a right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The kind of the resource.
    pub kind: RefusedKind,
    /// The call and the broker's error.
    pub text: String,
}

/// The kind of a resource that a broker refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// A transactional id.
    TransactionalId,
}

impl RefusedKind {
    /// Returns the kind that an error is about; `None` if it is no refusal.
    fn of(code: RDKafkaErrorCode) -> Option<Self> {
        use RDKafkaErrorCode as Code;
        match code {
            Code::TopicAuthorizationFailed => Some(Self::Topic),
            Code::GroupAuthorizationFailed => Some(Self::Group),
            // Brokers answer a producer without a right on any topic with the error about the cluster.
            Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                Some(Self::TransactionalId)
            }
            _ => None,
        }
    }
}

impl Fault {
    /// Returns the resource that a broker refused to a writer with this transactional id, which may commit offsets of this
    /// group; `None` if the fault is another one.
    #[must_use]
    pub fn denied(&self, transactional_id: &str, group: &str) -> Option<Denied> {
        let Self::NotAuthorised(refusal) = self else {
            return None;
        };
        Some(match refusal.kind {
            RefusedKind::Topic => Denied::Topic,
            RefusedKind::Group => Denied::Group(group.to_owned()),
            RefusedKind::TransactionalId => Denied::TransactionalId(transactional_id.to_owned()),
        })
    }

    /// Returns the variant's name, for a metric's label.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Abortable(_) => "abortable",
            Self::Lost(_) => "lost",
            Self::NotAuthorised(_) => "not_authorised",
        }
    }

    /// Classifies the error of a record that was not appended to its topic.
    pub(crate) fn of_delivery(topic: &str, error: &KafkaError) -> Self {
        match Self::of(&format!("appending to topic `{topic}`"), error) {
            Self::Abortable(text) | Self::Lost(text) => Self::Abortable(text),
            refused @ Self::NotAuthorised(_) => refused,
        }
    }

    /// Classifies the error of a transactional call.
    pub(crate) fn of(call: &str, error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        let text = match code {
            Some(Code::OperationTimedOut) => format!("{call}: the brokers did not answer in time"),
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => format!(
                "{call}: another producer has taken over the transactional id ({error}); if this is logged repeatedly, \
                 two processes share the id: give each its own"
            ),
            _ => format!("{call}: {error}"),
        };
        if let Some(kind) = code.and_then(RefusedKind::of) {
            return Self::NotAuthorised(Refusal { kind, text });
        }
        match error {
            KafkaError::Transaction(error) if !error.is_fatal() && error.txn_requires_abort() => {
                Self::Abortable(text)
            }
            // Fatal, timed out (retriable, with an unknown outcome), or not allowed in the producer's present state.
            _ => Self::Lost(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_not_appended_aborts_unless_a_permission_is_missing() {
        let of = |code| Fault::of_delivery("t", &KafkaError::MessageProduction(code));
        let timestamp = of(RDKafkaErrorCode::InvalidTimestamp);
        let text = "appending to topic `t`: Message production error: InvalidTimestamp (Broker: Invalid timestamp)";
        assert_eq!(timestamp, Fault::Abortable(text.to_owned()));
        let refused = of(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(refused.denied("id", "group"), Some(Denied::Topic));
        assert_eq!(timestamp.denied("id", "group"), None);
        for (code, expected) in [
            (
                RDKafkaErrorCode::GroupAuthorizationFailed,
                Denied::Group("group".to_owned()),
            ),
            (
                RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
                Denied::TransactionalId("id".to_owned()),
            ),
        ] {
            assert_eq!(of(code).denied("id", "group"), Some(expected));
        }
    }

    #[test]
    fn an_error_that_is_not_known_to_be_abortable_replaces_the_producer() {
        let timed_out = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
        assert!(matches!(Fault::of("call", &timed_out), Fault::Lost(_)));
        let canceled = KafkaError::Canceled;
        assert!(matches!(Fault::of("call", &canceled), Fault::Lost(_)));
    }
}
