//! Finds partitions whose records an open transaction of another producer holds back.

use rdkafka::statistics::{Partition, Statistics};

use crate::client::lasting::Lasting;
use crate::offsets::TopicPartition;

/// The partitions that were read to their last stable offset and have records after it: their high watermarks, by partition and
/// last stable offset.
#[derive(Debug, Default)]
pub(super) struct HeldBackPartitions(Lasting<(TopicPartition, i64), i64>);

impl HeldBackPartitions {
    /// Notes which partitions are held back now.
    pub(super) fn observe(&mut self, statistics: &Statistics) {
        let found = statistics.topics.values().flat_map(|topic| {
            let held_back = topic
                .partitions
                .values()
                .filter(|found| is_held_back(found));
            held_back.map(|found| {
                let partition = TopicPartition::new(&topic.topic, found.partition);
                ((partition, found.ls_offset), found.hi_offset)
            })
        });
        self.0.observe(statistics.ts, found);
    }

    /// Returns the problem with the first partition that has been held back for long.
    pub(super) fn problem(&self, statistics: &Statistics) -> Option<String> {
        let ((TopicPartition { topic, partition }, stable), end) = self.0.problem(statistics.ts)?;
        Some(format!(
            "an open transaction of another producer holds back topic `{topic}`, partition {partition}: it ends at offset {end}, \
             but can be read only up to offset {stable}"
        ))
    }
}

/// Whether the client has read all that can be read, and there is more.
fn is_held_back(partition: &Partition) -> bool {
    let (stable, end) = (partition.ls_offset, partition.hi_offset);
    let is_read = partition.fetch_state == "active" && partition.next_offset >= stable;
    is_read && stable >= 0 && stable < end
}
