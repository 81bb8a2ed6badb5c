//! Reads a topic's committed records as they are stored, from the beginning or from given offsets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use crate::change::describer::Describer;
use crate::change::gaps::lost;
use crate::change::identity::{TopicId, TopicState, is_recreated};
use crate::change::start::start;
use crate::client::config::{self, ReadMode};
use crate::client::health::ClientHealth;
use crate::client::settings::KafkaSettings;
use crate::offsets::{PartitionOffset, Positions, Step};
use crate::read::client::{Client, REQUEST_TIMEOUT, connect, partitions};
use crate::read::error::{ReadError, ends_reading};
use crate::read::source::SourceTopic;
use crate::record::Record;
use crate::sys::inbox::{Buffer, Inbox};
use crate::sys::values::terminated;

/// How often a reader that reads indefinitely checks whether the topic has changed.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long such a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// A record, or the end of a partition.
#[derive(Debug)]
pub enum Read<'a> {
    /// A record.
    Record(Record<'a>),
    /// This partition was read to its present end.
    End(i32),
}

/// Reads a topic's committed records: each partition's in order, and none twice.
///
/// A reader that reads indefinitely fails with [`ReadError::Changed`] when the topic is recreated, deleted or, if all its
/// partitions are read, grown. Reading has to start again with a new reader.
pub struct TopicReader {
    buffer: Buffer,
    describer: Describer,
    client: Client,
    topic: String,
    mode: ReadMode,
    /// The topic's id when reading started; not known to a reader that only reads to the end.
    topic_id: Option<TopicId>,
    is_recreated: bool,
    /// When the topic was last checked for changes.
    checked: Instant,
    /// The partitions that are read from their beginning, wherever that is.
    from_beginning: Vec<i32>,
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
        Self::open_with(settings, topic, &start, None, ReadMode::ToEnd)
    }

    /// Starts at the given offsets, and at the beginning of partitions without one, to read indefinitely. If the topic has
    /// another id than `topic_id`, which the offsets belong to, starts at its beginning. The reader's
    /// [health](Self::client_health) shows whether the cluster is reachable.
    ///
    /// # Errors
    /// [`ReadError`] if the topic does not exist.
    pub fn resume(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Positions,
        topic_id: Option<&TopicId>,
    ) -> Result<Self, ReadError> {
        let known = known(offsets);
        let start = |partition| known(partition).or(Some(Offset::Beginning));
        Self::open_with(settings, topic, &start, topic_id, ReadMode::Tailing)
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
        Self::open_with(settings, topic, &known(offsets), None, ReadMode::ToEnd)
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
        Self::open_with(settings, topic, &known(offsets), None, ReadMode::Waiting)
    }

    fn open_with(
        settings: &KafkaSettings,
        topic: &str,
        start: &dyn Fn(i32) -> Option<Offset>,
        stored_id: Option<&TopicId>,
        mode: ReadMode,
    ) -> Result<Self, ReadError> {
        let refused = ReadError::refused(topic);
        let client = connect(settings, topic, config::topic_reader(settings, mode))?;
        let describer = Describer::new(client.alive()).map_err(&refused)?;
        // The id is requested before the partitions: a topic that is recreated later has another id.
        let topic_id = match mode {
            ReadMode::ToEnd => None,
            ReadMode::Tailing | ReadMode::Waiting => id(&describer, &client, topic)?,
        };
        let is_recreated = is_recreated(stored_id, topic_id.as_ref());
        if is_recreated {
            warn!("topic `{topic}` was deleted and recreated: reading it from its beginning");
        }
        let start = |partition| match start(partition) {
            Some(Offset::Offset(_)) if is_recreated => Some(Offset::Beginning),
            start => start,
        };
        let partitions = partitions(&client, topic)?;
        let inbox = Inbox::new(client.alive())
            .ok_or_else(|| refused(KafkaError::ClientCreation("no queue".to_owned())))?;
        let name = terminated(topic);
        let starts: Vec<(i32, Offset)> = partitions
            .into_iter()
            .filter_map(|partition| Some((partition, start(partition)?)))
            .collect();
        let mut assignment = TopicPartitionList::new();
        for &(partition, start) in &starts {
            inbox.collect_from(&name, partition);
            assignment
                .add_partition_offset(topic, partition, start)
                .map_err(&refused)?;
        }
        client.assign(&assignment).map_err(&refused)?;
        let partitions: Vec<i32> = starts.iter().map(|&(partition, _)| partition).collect();
        let (starts, from_beginning) = split(starts);
        Ok(Self {
            buffer: Buffer::new(inbox),
            describer,
            client,
            topic: topic.to_owned(),
            mode,
            topic_id,
            is_recreated,
            checked: Instant::now(),
            from_beginning,
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

    /// Returns the topic's id when reading started; `None` if the brokers have no ids, or reading ends at the topic's end.
    #[must_use]
    pub fn topic_id(&self) -> Option<&TopicId> {
        self.topic_id.as_ref()
    }

    /// Whether the topic was recreated since the offsets to [resume](Self::resume) at were stored.
    #[must_use]
    pub fn is_recreated(&self) -> bool {
        self.is_recreated
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
        if self.buffer.is_empty() {
            self.check_if_due()?;
            // The client's other events; of these only errors that end reading matter here.
            for _ in 0..self.client.waiting_events() {
                if let Some(Err(source)) = self.client.poll(Duration::ZERO)
                    && ends_reading(&source)
                {
                    return Err(ReadError::refused(&self.topic)(source));
                }
            }
            let is_drained = self.buffer.fill(timeout);
            self.client_health().note_drained(is_drained);
        }
        while let Some(first) = self.buffer.first() {
            let (partition, offset) = (first.partition(), first.offset());
            match first.error() {
                None => {}
                Some(RDKafkaErrorCode::PartitionEOF) => {
                    self.buffer.next();
                    self.unfinished.retain(|&other| other != partition);
                    self.skip_deleted(partition, self.positions.get(partition), None);
                    return Ok(Some(Read::End(partition)));
                }
                Some(code) => {
                    self.buffer.next();
                    let source = KafkaError::MessageConsumption(code);
                    if ends_reading(&source) {
                        return Err(ReadError::refused(&self.topic)(source));
                    }
                    return Ok(None);
                }
            }
            let record = PartitionOffset::new(partition, offset);
            match self.positions.step(record) {
                Step::Redelivered => {
                    self.buffer.next();
                    continue;
                }
                Step::Next => {}
                Step::Gap(position) => {
                    self.skip_deleted(partition, Some(position), Some(record.offset));
                }
            }
            let record = self.buffer.next().map(Record::new);
            return Ok(record.map(Read::Record));
        }
        Ok(None)
    }

    /// Counts and logs the records that were deleted before they were read. They are between the position and the `first`
    /// record that was read from there. If there is no record, they end at the start of the log, and the position moves there.
    fn skip_deleted(&mut self, partition: i32, position: Option<i64>, first: Option<i64>) {
        let is_expected = |&position: &i64| {
            self.mode == ReadMode::Tailing
                && (position > 0 || !self.from_beginning.contains(&partition))
        };
        let Some(position) = position.filter(is_expected) else {
            return;
        };
        let start = start(self.client.client(), &self.topic, partition, CHECK_TIMEOUT).ok();
        let Some(offsets) = start.and_then(|start| lost(position, first, start)) else {
            return;
        };
        if first.is_none() {
            self.positions.set(partition, offsets.end);
        }
        let health = Arc::clone(self.client_health());
        health.lost().note(&self.topic, partition, offsets);
    }

    /// Checks every few seconds whether the topic has changed, if it is read indefinitely.
    fn check_if_due(&mut self) -> Result<(), ReadError> {
        if self.mode == ReadMode::ToEnd || self.checked.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        let states = self
            .describer
            .states(self.client.client(), &[&self.topic], CHECK_TIMEOUT);
        self.checked = Instant::now();
        // The client's health reports brokers that do not answer.
        let states = states.unwrap_or_default();
        states.first().map_or(Ok(()), |state| self.check(state))
    }

    /// Checks that the topic in this state has not changed since reading started. All records that were read before the state
    /// was requested are then of the topic with this [id](Self::topic_id).
    ///
    /// # Errors
    /// [`ReadError::Changed`] if it has.
    pub fn check(&self, state: &TopicState) -> Result<(), ReadError> {
        self.source().check(state)
    }

    /// Returns the topic as it was when reading started, to check it on another thread.
    #[must_use]
    pub fn source(&self) -> SourceTopic {
        SourceTopic {
            topic: self.topic.clone(),
            id: self.topic_id.clone(),
            partitions: (self.mode == ReadMode::Tailing).then_some(self.partitions.len()),
        }
    }

    /// Whether each partition was read to its end at the time.
    #[must_use]
    pub fn has_reached_the_end(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// Returns the offset that reading starts at in each partition, 0 for its beginning, and the partitions that are read from
/// there.
fn split(starts: Vec<(i32, Offset)>) -> (Positions, Vec<i32>) {
    let mut from_beginning = Vec::new();
    let mut positions = Positions::new();
    for (partition, start) in starts {
        if let Offset::Offset(offset) = start {
            positions.set(partition, offset);
        } else {
            positions.set(partition, 0);
            from_beginning.push(partition);
        }
    }
    (positions, from_beginning)
}

/// Returns the id of a topic; `None` if the brokers have no ids.
///
/// # Errors
/// [`ReadError::Refused`] if the topic does not exist, or the cluster does not answer in time.
fn id(describer: &Describer, client: &Client, topic: &str) -> Result<Option<TopicId>, ReadError> {
    let refused = ReadError::refused(topic);
    let states = describer.states(client.client(), &[topic], REQUEST_TIMEOUT);
    let code = match states.map_err(&refused)?.into_iter().next() {
        Some(TopicState::Exists { id, .. }) => return Ok(id),
        Some(TopicState::Unknown(code)) => code,
        Some(TopicState::Missing) | None => RDKafkaErrorCode::UnknownTopicOrPartition,
    };
    Err(refused(KafkaError::MetadataFetch(code)))
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
        let mut reader =
            TopicReader::resume(&cluster.settings, TOPIC, &[(0, 2)].into(), None).unwrap();
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
