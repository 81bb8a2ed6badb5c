//! Describes topics.

use std::thread;
use std::time::Instant;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;

use crate::admin::error::AdminError;
use crate::admin::topic::{PartitionDescription, TopicDescription};
use crate::admin::topics::{Admin, METADATA_INTERVAL, REQUEST_TIMEOUT};

const OPERATION: &str = "describe";

impl Admin {
    /// Describes topics, including those that do not exist.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster does not answer.
    pub fn describe(&self, names: &[&str]) -> Result<Vec<TopicDescription>, AdminError> {
        let metadata = self.metadata(OPERATION)?;
        let mut descriptions = Vec::new();
        for &name in names {
            let found = metadata
                .topics()
                .iter()
                .find(|topic| topic.name() == name && topic.error().is_none());
            let partitions = found.map(|topic| topic.partitions()).unwrap_or_default();
            let mut partitions = partitions
                .iter()
                .map(|partition| self.describe_partition(name, partition))
                .collect::<Result<Vec<PartitionDescription>, AdminError>>()?;
            partitions.sort_by_key(|partition| partition.partition);
            descriptions.push(TopicDescription {
                topic: name.to_owned(),
                exists: found.is_some(),
                replication_factor: partitions
                    .first()
                    .map_or(0, |partition| partition.replicas.len()),
                partitions,
            });
        }
        Ok(descriptions)
    }

    fn describe_partition(
        &self,
        topic: &str,
        partition: &MetadataPartition,
    ) -> Result<PartitionDescription, AdminError> {
        let (low_watermark, high_watermark) =
            self.watermarks(topic, partition.id())
                .map_err(|source| AdminError::Request {
                    operation: OPERATION,
                    source,
                })?;
        Ok(PartitionDescription {
            partition: partition.id(),
            leader: partition.leader(),
            replicas: partition.replicas().to_vec(),
            in_sync: partition.isr().to_vec(),
            low_watermark,
            high_watermark,
        })
    }

    /// Returns a partition's watermarks. Retries while a leader that was just elected does not know that it is the leader.
    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        use RDKafkaErrorCode as Code;
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let watermarks = self
                .reader
                .fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
            let code = watermarks
                .as_ref()
                .err()
                .and_then(KafkaError::rdkafka_error_code);
            match code {
                Some(
                    Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
                    | Code::UnknownTopicOrPartition,
                ) if Instant::now() < deadline => thread::sleep(METADATA_INTERVAL),
                _ => return watermarks,
            }
        }
    }
}
