//! The error of a failed operation on topics.

use std::time::Duration;

use iris_core::ImpossibleSetting;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The error of a failed operation on topics.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Settings(#[from] ImpossibleSetting),
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
    /// The cluster refused the operation for one topic.
    #[error("cannot {operation} topic `{topic}`: {code}")]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The topic.
        topic: String,
        /// The cluster's answer.
        code: RDKafkaErrorCode,
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
