//! Errors that end a consumer.

use iris_core::InvalidSetting;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::rights::missing::Denied;

/// Why a consumer cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Settings(#[from] InvalidSetting),
    /// The client cannot be created, or refuses the topic.
    #[error("cannot read topic `{topic}`")]
    Start {
        /// The topic.
        topic: String,
        /// The client's error.
        #[source]
        source: KafkaError,
    },
    /// The user lacks the right to read.
    #[error(
        "reading topic `{topic}` as group `{group_id}`: not authorised ({source}); `iris-admin acls` prints the rights that each \
         service needs"
    )]
    NotAuthorised {
        /// The topic.
        topic: String,
        /// The consumer group.
        group_id: String,
        /// The broker's error.
        #[source]
        source: RDKafkaErrorCode,
    },
    /// Another member has joined the group with this member's name.
    #[error(
        "another process has joined group `{group_id}` as `{instance}`: give each process of the group its own `instance`"
    )]
    Replaced {
        /// The consumer group.
        group_id: String,
        /// The name of both.
        instance: String,
    },
    /// The client has failed and cannot be used any more.
    #[error("reading topic `{topic}`: the client failed")]
    Fatal {
        /// The topic.
        topic: String,
        /// The client's error.
        #[source]
        source: KafkaError,
    },
}

impl ConsumeError {
    /// Returns the resource that a broker refused; `None` if the error is another one.
    #[must_use]
    pub fn denied(&self) -> Option<Denied> {
        match self {
            Self::NotAuthorised {
                group_id,
                source: RDKafkaErrorCode::GroupAuthorizationFailed,
                ..
            } => Some(Denied::Group(group_id.clone())),
            Self::NotAuthorised { .. } => Some(Denied::Topic),
            _ => None,
        }
    }

    /// Returns the error that ends reading `topic` as `group_id`, or `None` if `error` is temporary. A topic that has been
    /// deleted may be created again.
    pub(crate) fn of(error: KafkaError, topic: &str, group_id: &str) -> Option<Self> {
        use RDKafkaErrorCode as Code;
        let topic = topic.to_owned();
        match error.rdkafka_error_code() {
            Some(
                source @ (Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed),
            ) => Some(Self::NotAuthorised {
                topic,
                group_id: group_id.to_owned(),
                source,
            }),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Some(Self::Fatal {
                topic,
                source: error,
            }),
            _ => None,
        }
    }
}

/// Returns why the group refuses a consumer that wants to join it, and the fix; `None` if the error is another one. The client
/// joins again and again, because the cause may clear.
pub(crate) fn refusal(error: &KafkaError, group_id: &str) -> Option<String> {
    use RDKafkaErrorCode as Code;
    let cause = match error.rdkafka_error_code()? {
        Code::InconsistentGroupProtocol => {
            "a member of it has another partition.assignment.strategy, so another program probably uses this group: stop that \
             program, or set another group id"
        }
        Code::GroupMaxSizeReached => {
            "it has as many members as the brokers allow: start fewer workers, or raise the brokers' group.max.size"
        }
        Code::InvalidSessionTimeout => {
            "the brokers do not allow its session timeout: set \"session.timeout.ms\" in [kafka.librdkafka] to a value between \
             the brokers' group.min.session.timeout.ms and group.max.session.timeout.ms"
        }
        Code::InvalidGroupId => "its id is not valid: set another group id",
        _ => return None,
    };
    Some(format!("group `{group_id}` refuses this consumer: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_permissions_and_fatal_errors_end_reading() {
        use RDKafkaErrorCode as Code;
        let judge = |error| ConsumeError::of(error, "input", "group");
        let consumption = |code| judge(KafkaError::MessageConsumption(code));
        assert!(matches!(
            consumption(Code::GroupAuthorizationFailed),
            Some(ConsumeError::NotAuthorised { group_id, .. }) if group_id == "group"
        ));
        let fatal = judge(KafkaError::MessageConsumptionFatal(Code::Fatal));
        assert!(matches!(fatal, Some(ConsumeError::Fatal { .. })));
        for temporary in [
            Code::BrokerTransportFailure,
            Code::OperationTimedOut,
            Code::NotLeaderForPartition,
            Code::UnknownTopicOrPartition,
        ] {
            assert!(consumption(temporary).is_none(), "{temporary:?}");
        }
    }

    #[test]
    fn a_refusal_of_the_group_names_the_group_the_cause_and_the_fix() {
        use RDKafkaErrorCode as Code;
        let of = |code| refusal(&KafkaError::MessageConsumption(code), "g");
        for (code, fix) in [
            (Code::InconsistentGroupProtocol, "set another group id"),
            (Code::GroupMaxSizeReached, "group.max.size"),
            (Code::InvalidSessionTimeout, "session.timeout.ms"),
            (Code::InvalidGroupId, "set another group id"),
        ] {
            let text = of(code).unwrap();
            let starts = text.starts_with("group `g` refuses this consumer: ");
            assert!(starts && text.contains(fix), "{text}");
        }
        for temporary in [
            Code::RebalanceInProgress,
            Code::UnknownMemberId,
            Code::CoordinatorNotAvailable,
            Code::UnknownTopicOrPartition,
        ] {
            assert_eq!(of(temporary), None, "{temporary:?}");
        }
    }
}
