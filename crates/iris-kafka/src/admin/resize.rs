//! Adds partitions to a topic, and deletes its oldest records.

use rdkafka::admin::NewPartitions;
use rdkafka::{Offset, TopicPartitionList};

use crate::admin::error::AdminError;
use crate::admin::topics::{Admin, options};
use crate::offsets::Positions;

impl Admin {
    /// Gives a topic more partitions.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster refuses.
    pub async fn add_partitions(&self, topic: &str, partitions: usize) -> Result<(), AdminError> {
        const OPERATION: &str = "add partitions to";
        let grown = NewPartitions::new(topic, partitions);
        let results = self.client.create_partitions(&[grown], &options()).await;
        let results = results.map_err(|source| AdminError::Request {
            operation: OPERATION,
            source,
        })?;
        for result in results {
            result.map_err(|refused| AdminError::Refused {
                operation: OPERATION,
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
