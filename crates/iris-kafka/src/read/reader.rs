//! Reads a topic's committed records as they are stored, from the beginning or from given offsets.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::config::{self, ReadMode};
use crate::client::health::ClientHealth;
use crate::client::settings::KafkaSettings;
use crate::offsets::{PartitionOffset, Positions};
use crate::read::client::{Client, connect, partitions};
use crate::read::error::ReadError;
use crate::record::Record;
use crate::sys::inbox::{self, Inbox, Message};

/// A record, or the end of a partition.
#[derive(Debug)]
pub enum Read<'a> {
    /// A record.
    Record(Record<'a>),
    /// This partition was read to its present end.
    End(i32),
}

/// Reads a topic's committed records: each partition's in order, and none twice.
pub struct TopicReader {
    /// The messages that were taken but not returned yet, then their queue, then the client: dropped in this order.
    taken: VecDeque<Message>,
    inbox: Inbox,
    client: Client,
    topic: String,
    partitions: Vec<i32>,
    /// The partitions whose end was not reached yet.
    unfinished: Vec<i32>,
    /// Where reading started, as far as an offset was given.
    starts: Positions,
    /// How far each partition was read. If a broker reports that an offset does not exist, the client restarts at the
    /// beginning of the partition; records before the position are then skipped.
    positions: Positions,
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Starts at the beginning.
    ///
    /// # Errors
    /// [`ReadError`] if the topic does not exist.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, ReadError> {
        let start = |_| Some(Offset::Beginning);
        Self::open_with(settings, topic, &start, ReadMode::ToEnd)
    }

    /// Starts at the given offsets, and at the beginning of partitions without one, to read indefinitely. Its
    /// [health](Self::client_health) shows whether the cluster is reachable.
    ///
    /// # Errors
    /// [`ReadError`] if the topic does not exist.
    pub fn resume(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Positions,
    ) -> Result<Self, ReadError> {
        let known = known(offsets);
        let start = |partition| known(partition).or(Some(Offset::Beginning));
        Self::open_with(settings, topic, &start, ReadMode::Tailing)
    }

    /// Starts at the given offsets, and reads only partitions that have one.
    ///
    /// # Errors
    /// [`ReadError`] if the topic does not exist.
    pub fn open_at(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Positions,
    ) -> Result<Self, ReadError> {
        Self::open_with(settings, topic, &known(offsets), ReadMode::ToEnd)
    }

    /// Starts as [`open_at`](Self::open_at) does, to wait for new records. The end of a partition is reported up to 500 ms
    /// late.
    ///
    /// # Errors
    /// [`ReadError`] if the topic does not exist.
    pub fn open_to_wait(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Positions,
    ) -> Result<Self, ReadError> {
        Self::open_with(settings, topic, &known(offsets), ReadMode::Waiting)
    }

    fn open_with(
        settings: &KafkaSettings,
        topic: &str,
        start: &dyn Fn(i32) -> Option<Offset>,
        mode: ReadMode,
    ) -> Result<Self, ReadError> {
        let refused = ReadError::refused(topic);
        let client = connect(settings, topic, config::topic_reader(settings, mode))?;
        let partitions = partitions(&client, topic)?;
        let inbox = Inbox::new(client.client())
            .ok_or_else(|| refused(KafkaError::ClientCreation("no queue".to_owned())))?;
        let name = inbox::terminated(topic);
        let starts: Vec<(i32, Offset)> = partitions
            .into_iter()
            .filter_map(|partition| Some((partition, start(partition)?)))
            .collect();
        let mut assignment = TopicPartitionList::new();
        for &(partition, start) in &starts {
            inbox.collect_from(client.client(), &name, partition);
            assignment
                .add_partition_offset(topic, partition, start)
                .map_err(&refused)?;
        }
        client.assign(&assignment).map_err(&refused)?;
        let partitions: Vec<i32> = starts.iter().map(|&(partition, _)| partition).collect();
        let position = |(partition, start)| match start {
            Offset::Offset(offset) => (partition, offset),
            _ => (partition, 0),
        };
        let starts: Positions = starts.into_iter().map(position).collect();
        Ok(Self {
            taken: VecDeque::new(),
            inbox,
            client,
            topic: topic.to_owned(),
            unfinished: partitions.clone(),
            partitions,
            positions: starts.clone(),
            starts,
        })
    }

    /// Returns the topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the partitions that are read.
    #[must_use]
    pub fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    /// Returns the offset that reading started at in each partition; 0 for its beginning.
    pub(super) fn starts(&self) -> &Positions {
        &self.starts
    }

    /// Returns how far each partition was read.
    pub(super) fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Returns the client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the client's health, which is known only of a reader that was [resumed](Self::resume).
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client.context().client_health
    }

    /// Returns the next record; `None` if none arrived within `timeout`, or the end of a partition was reached.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the client has failed for good.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Record<'_>>, ReadError> {
        Ok(match self.read(timeout)? {
            Some(Read::Record(record)) => Some(record),
            Some(Read::End(_)) | None => None,
        })
    }

    /// Returns the next record or end of a partition; `None` if there was neither within `timeout`.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the client has failed for good.
    pub fn read(&mut self, timeout: Duration) -> Result<Option<Read<'_>>, ReadError> {
        if self.taken.is_empty() {
            // The client's other events; of these only a fatal error matters here.
            if let Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) =
                self.client.poll(Duration::ZERO)
            {
                return Err(ReadError::refused(&self.topic)(source));
            }
            self.taken = self.inbox.take(timeout).into();
            let is_drained = self.taken.is_empty();
            self.client_health().note_drained(is_drained);
        }
        let positions = &mut self.positions;
        let message = iter::from_fn(|| self.taken.pop_front()).find(|message| {
            message.error().is_some()
                || positions
                    .advance_if_next(PartitionOffset::new(message.partition(), message.offset()))
        });
        let Some(message) = message else {
            return Ok(None);
        };
        match message.error() {
            None => Ok(Some(Read::Record(Record::new(message)))),
            Some(RDKafkaErrorCode::PartitionEOF) => {
                let finished = message.partition();
                self.unfinished.retain(|&partition| partition != finished);
                Ok(Some(Read::End(finished)))
            }
            Some(_) => Ok(None),
        }
    }

    /// Whether each partition was read to its end at the time.
    #[must_use]
    pub fn has_reached_the_end(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// Returns the given offset of a partition.
fn known(offsets: &Positions) -> impl Fn(i32) -> Option<Offset> {
    |partition| offsets.get(partition).map(Offset::Offset)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    const TOPIC: &str = "topic";

    #[test]
    fn a_reader_that_restarts_at_the_beginning_returns_no_record_twice() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let mut reader = TopicReader::resume(&cluster.settings, TOPIC, &[(0, 2)].into()).unwrap();
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while seen.last() != Some(&3) && Instant::now() < deadline {
            match reader.read(Duration::from_millis(100)).unwrap() {
                Some(Read::Record(record)) => seen.push(record.offset()),
                Some(Read::End(_)) if seen == [2] => {
                    cluster.reset_next_fetch();
                    cluster.append(TOPIC, 1);
                }
                _ => {}
            }
        }
        assert_eq!(seen, [2, 3]);
    }
}
