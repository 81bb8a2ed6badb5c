//! Describes topics.

use rdkafka::metadata::MetadataPartition;

use crate::admin::error::AdminError;
use crate::admin::topic::{PartitionDescription, TopicDescription};
use crate::admin::topics::{Admin, REQUEST_TIMEOUT};
use crate::read::client::watermarks;

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
            watermarks(&self.reader, topic, partition.id(), REQUEST_TIMEOUT).map_err(|source| {
                AdminError::Request {
                    operation: OPERATION,
                    source,
                }
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
}
