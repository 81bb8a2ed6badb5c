//! Why a transaction fails, and which recovery the failure requires.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why a transaction did not commit. Each variant requires a different recovery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The transaction can be aborted; the producer stays usable.
    #[error("{0}")]
    Abortable(String),
    /// The producer must be replaced: it is fenced or broken, or the outcome of a call is unknown.
    #[error("{0}")]
    Lost(String),
    /// The user lacks a permission; a retry cannot help.
    #[error("{0}")]
    NotAuthorised(String),
}

impl Fault {
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
        match (error, code) {
            (
                _,
                Some(
                    Code::TransactionalIdAuthorizationFailed
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed,
                ),
            ) => Self::NotAuthorised(text),
            (KafkaError::Transaction(error), _)
                if !error.is_fatal() && error.txn_requires_abort() =>
            {
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
        assert!(matches!(refused, Fault::NotAuthorised(_)), "{refused:?}");
    }

    #[test]
    fn an_error_that_is_not_known_to_be_abortable_replaces_the_producer() {
        let timed_out = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
        assert!(matches!(Fault::of("call", &timed_out), Fault::Lost(_)));
        let canceled = KafkaError::Canceled;
        assert!(matches!(Fault::of("call", &canceled), Fault::Lost(_)));
    }
}
