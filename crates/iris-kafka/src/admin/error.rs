//! The error of a failed operation on topics.

use std::time::Duration;

use iris_core::InvalidSetting;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The operation that gives a topic more partitions.
pub(super) const ADD_PARTITIONS: &str = "add partitions to";

/// The error of a failed operation on topics.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Settings(#[from] InvalidSetting),
    /// The client cannot be created.
    #[error("cannot create an admin client")]
    Client(#[source] KafkaError),
    /// The request failed.
    #[error("cannot {operation} topics")]
    Request {
        /// The operation.
        operation: &'static str,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// The cluster refused the operation for some topics.
    #[error("cannot {operation} {}{}", refusals(refused), others(done))]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The topics that it was refused for, with the cluster's answer.
        refused: Vec<(String, RDKafkaErrorCode)>,
        /// The topics that it was carried out for.
        done: Vec<String>,
    },
    /// The controller has carried out the operation, but the brokers do not show it yet.
    #[error(
        "the cluster accepted the request to {operation} topics, but does not show the result after {} s",
        timeout.as_secs()
    )]
    NotSeen {
        /// The operation.
        operation: &'static str,
        /// The time limit.
        timeout: Duration,
    },
    /// A topic exists with another number of partitions than specified.
    #[error(
        "topic `{topic}` exists with {found} partitions, but {wanted} are wanted: set topics.partitions to {found}, or \
         delete the topic with `iris-admin topics delete --yes` and create it again"
    )]
    OtherPartitions {
        /// The topic.
        topic: String,
        /// Its number of partitions.
        found: usize,
        /// The specified number.
        wanted: i32,
    },
}

/// Lists the topics that an operation was refused for.
fn refusals(refused: &[(String, RDKafkaErrorCode)]) -> String {
    let refusal = |(topic, code): &(String, RDKafkaErrorCode)| format!("topic `{topic}`: {code}");
    refused.iter().map(refusal).collect::<Vec<_>>().join(", ")
}

/// Lists the topics that an operation was carried out for.
fn others(done: &[String]) -> String {
    if done.is_empty() {
        return "; no topic was changed".to_owned();
    }
    let names: Vec<String> = done.iter().map(|topic| format!("`{topic}`")).collect();
    format!("; done for {}", names.join(", "))
}

impl AdminError {
    /// Whether partitions could not be added to a topic.
    #[must_use]
    pub fn is_refused_growth(&self) -> bool {
        matches!(self, Self::Refused { operation, .. } if *operation == ADD_PARTITIONS)
    }

    /// Returns the topics that were refused because the user lacks a right.
    #[must_use]
    pub fn denied_topics(&self) -> Vec<&str> {
        let Self::Refused { refused, .. } = self else {
            return Vec::new();
        };
        let is_denied = |(_, code): &&(String, RDKafkaErrorCode)| {
            matches!(
                code,
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
            )
        };
        let denied = refused.iter().filter(is_denied);
        denied.map(|(topic, _)| topic.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_each_topic_and_those_that_were_changed() {
        let refused = |done: &[&str]| AdminError::Refused {
            operation: "delete",
            refused: vec![
                ("a".to_owned(), RDKafkaErrorCode::TopicAuthorizationFailed),
                ("b".to_owned(), RDKafkaErrorCode::PolicyViolation),
            ],
            done: done.iter().map(|&topic| topic.to_owned()).collect(),
        };
        assert_eq!(
            refused(&["c", "d"]).to_string(),
            "cannot delete topic `a`: TopicAuthorizationFailed (Broker: Topic authorization failed), topic `b`: PolicyViolation \
             (Broker: Policy violation); done for `c`, `d`"
        );
        assert!(refused(&[]).to_string().ends_with("; no topic was changed"));
        assert_eq!(refused(&[]).denied_topics(), ["a"]);
    }
}
