//! Reads the newest records of a topic from time to time.
//!
//! For displays, which do not need every record: of the records that arrived since the previous read only the newest are
//! returned, so that a read takes about the same time at any rate.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::client::config;
use crate::client::settings::KafkaSettings;
use crate::offsets::{Positions, next_offset};
use crate::read::client::{Client, connect, partitions};
use crate::read::ends::end_offsets_of;
use crate::read::error::{ReadError, ends_reading};
use crate::read::stored::StoredRecord;

/// How long one read may take. Records that were not read by then are skipped.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// The newest records of a topic.
pub struct Tail {
    client: Client,
    topic: String,
    /// The most offsets of a partition to read at a time.
    most: i64,
    /// The end offsets at the previous read.
    seen: Positions,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// Creates the client. Each read covers at most the last `most` offsets of each partition, and some of these may be
    /// transaction markers.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the topic does not exist.
    pub fn open(settings: &KafkaSettings, topic: &str, most: i64) -> Result<Self, ReadError> {
        let client = connect(settings, topic, config::newest_records(settings))?;
        partitions(&client, topic)?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
            most,
            seen: Positions::new(),
        })
    }

    /// Returns the newest records that arrived since the previous call, each partition's in order.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the cluster does not answer in time.
    pub fn look(&mut self) -> Result<Vec<StoredRecord>, ReadError> {
        let ends = end_offsets_of(&self.client, &self.topic)?;
        forget_recreated(&mut self.seen, &ends);
        let unread: Positions = ends
            .iter()
            .filter(|&(partition, end)| self.seen.get(partition).is_none_or(|seen| seen < end))
            .collect();
        let start = |(partition, end)| {
            let seen = self.seen.get(partition).unwrap_or(0);
            (partition, seen.max(end - self.most))
        };
        let starts: Positions = unread.iter().map(start).collect();
        self.assign(&starts)?;
        let mut records = self.read_to(unread)?;
        self.assign(&Positions::new())?;
        self.seen = ends;
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// Reads the assigned partitions up to these end offsets, or for [`LOOK_TIMEOUT`].
    fn read_to(&self, mut unfinished: Positions) -> Result<Vec<StoredRecord>, ReadError> {
        let mut records = Vec::new();
        let deadline = Instant::now() + LOOK_TIMEOUT;
        while !unfinished.is_empty() && Instant::now() < deadline {
            match self.client.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(end) = unfinished.get(partition) else {
                        continue;
                    };
                    if next_offset(offset) >= end {
                        unfinished.remove(partition);
                    }
                    if offset < end {
                        records.push(StoredRecord::from(&message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unfinished.remove(partition);
                }
                Some(Err(source)) if ends_reading(&source) => {
                    return Err(ReadError::refused(&self.topic)(source));
                }
                // Passing errors are reported by the services that follow the topic; the next read tries again.
                Some(Err(_)) | None => {}
            }
        }
        Ok(records)
    }

    fn assign(&self, starts: &Positions) -> Result<(), ReadError> {
        let refused = ReadError::refused(&self.topic);
        let mut assignment = TopicPartitionList::new();
        for (partition, start) in starts.iter() {
            assignment
                .add_partition_offset(&self.topic, partition, Offset::Offset(start))
                .map_err(&refused)?;
        }
        self.client.assign(&assignment).map_err(&refused)
    }
}

/// Removes the positions behind the end of their partition: the topic was recreated, and its records are all new.
fn forget_recreated(seen: &mut Positions, ends: &Positions) {
    let is_behind =
        |&(partition, seen): &(i32, i64)| ends.get(partition).is_some_and(|end| end < seen);
    let outdated: Vec<i32> = seen
        .iter()
        .filter(is_behind)
        .map(|(partition, _)| partition)
        .collect();
    seen.forget(&outdated);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_behind_the_end_belongs_to_a_previous_topic() {
        let mut seen = Positions::from([(0, 20), (1, 20), (2, 20), (3, 20)]);
        forget_recreated(&mut seen, &[(0, 19), (1, 20), (2, 21)].into());
        assert_eq!(seen, [(1, 20), (2, 20), (3, 20)].into());
    }
}
