//! Adds partitions to a topic, and deletes its oldest records.

use rdkafka::admin::NewPartitions;
use rdkafka::{Offset, TopicPartitionList};

use crate::admin::error::{ADD_PARTITIONS, AdminError};
use crate::admin::topic::TopicSpec;
use crate::admin::topics::{Admin, options};
use crate::offsets::Positions;

impl Admin {
    /// Gives a topic more partitions.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster refuses.
    pub async fn add_partitions(&self, topic: &str, partitions: usize) -> Result<(), AdminError> {
        self.resize(topic, partitions, false).await
    }

    /// Gives a topic the specified number of partitions; in a dry run, only asks the cluster whether it would.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster refuses.
    pub(super) async fn grow(&self, spec: &TopicSpec, dry_run: bool) -> Result<(), AdminError> {
        let partitions = usize::try_from(spec.partitions).unwrap_or_default();
        self.resize(&spec.name, partitions, dry_run).await
    }

    async fn resize(
        &self,
        topic: &str,
        partitions: usize,
        dry_run: bool,
    ) -> Result<(), AdminError> {
        let grown = NewPartitions::new(topic, partitions);
        let options = options().validate_only(dry_run);
        let results = self.client.create_partitions(&[grown], &options).await;
        let results = results.map_err(|source| AdminError::Request {
            operation: ADD_PARTITIONS,
            source,
        })?;
        for result in results {
            result.map_err(|refused| AdminError::Refused {
                operation: ADD_PARTITIONS,
                refused: vec![refused],
                done: Vec::new(),
            })?;
        }
        Ok(())
    }

    /// Deletes the records before the given offset of each partition.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster refuses.
    pub async fn delete_records(&self, topic: &str, before: &Positions) -> Result<(), AdminError> {
        let failed = |source| AdminError::Request {
            operation: "delete records of",
            source,
        };
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before.iter() {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))
                .map_err(failed)?;
        }
        let deleted = self.client.delete_records(&list, &options()).await;
        for element in deleted.map_err(failed)?.elements() {
            element.error().map_err(failed)?;
        }
        Ok(())
    }
}
