//! Reading whole topics as they are stored: from the beginning to where they end now, or on and on.
//!
//! Deliberately without a consumer group: nothing is committed and nobody is disturbed.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::client::health::{ClientEvents, ClientHealth, STATISTICS_INTERVAL_MS};
use crate::client::settings::KafkaSettings;
use crate::exactly_once::transaction::Offsets;
use crate::read::tail::TopicEnds;
use crate::record::Record;
use crate::sys::headers;
use crate::sys::inbox::{self, Inbox, Message};

/// The name under which brokers log this client.
const NAME: &str = "iris-reader";

/// How long one request to the cluster may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// What a reader is there for.
struct Purpose {
    /// How long a broker may keep a fetch that brings nothing, in milliseconds. The end of a partition shows when such a
    /// fetch comes back.
    fetch_wait_ms: &'static str,
    /// How often the client reports the state of its connections, in milliseconds; 0: never.
    statistics_interval_ms: &'static str,
}

/// To be done with at the end.
const TO_SEE_THE_END: Purpose = Purpose {
    fetch_wait_ms: "20",
    statistics_interval_ms: "0",
};

/// To wait for what comes.
const TO_WAIT: Purpose = Purpose {
    fetch_wait_ms: "500",
    statistics_interval_ms: "0",
};

/// To go on and on, see each end on the way, and say what is in the way.
const TO_GO_ON: Purpose = Purpose {
    fetch_wait_ms: "100",
    statistics_interval_ms: STATISTICS_INTERVAL_MS,
};

/// How long to wait before asking again for a group's coordinator.
const COORDINATOR_STEP: Duration = Duration::from_millis(20);

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was created or appended, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl StoredRecord {
    /// The value of its last header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .rfind(|(found, _)| found == name)
            .map(|(_, value)| value.as_slice())
    }
}

impl From<&Record<'_>> for StoredRecord {
    fn from(record: &Record<'_>) -> Self {
        Self {
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.all_headers(),
        }
    }
}

/// A record as rust-rdkafka hands it out.
pub(crate) fn stored(message: &BorrowedMessage<'_>) -> StoredRecord {
    StoredRecord {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(headers::all).unwrap_or_default(),
    }
}

/// What reading brings.
#[derive(Debug)]
pub enum Read<'a> {
    /// A record.
    Record(Record<'a>),
    /// That this partition was read to where it ends at the time.
    End(i32),
}

/// Why a topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client or the cluster refuses.
    #[error("cannot read topic `{topic}`")]
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The end was not reached in time.
    #[error("reading topic `{topic}` to its end took longer than {} s", timeout.as_secs())]
    OutOfTime {
        /// The topic.
        topic: String,
        /// The time there was.
        timeout: Duration,
    },
}

/// Reads the committed records of all partitions of a topic, from the beginning and on and on.
pub struct TopicReader {
    /// What was taken and not handed out yet, then where it came from, then the client, to be dropped in this order.
    taken: VecDeque<Message>,
    inbox: Inbox,
    client: BaseConsumer<ClientEvents>,
    topic: String,
    partitions: Vec<i32>,
    /// The partitions whose end was not reached yet.
    unfinished: Vec<i32>,
    /// Where each partition was read to. Where the client is told that the offset to read is not there, it begins at the
    /// beginning: what it hands out again is passed over.
    positions: Offsets,
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
    /// [`ReadError`] if the topic is not there.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, ReadError> {
        let start = |_| Some(Offset::Beginning);
        Self::open_with(settings, topic, &start, &TO_SEE_THE_END)
    }

    /// Starts at the given offsets, and in partitions that have none at the beginning, to go on and on; its
    /// [connection](Self::client_health) tells what keeps it from that.
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not there.
    pub fn resume(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Offsets,
    ) -> Result<Self, ReadError> {
        let known = known(offsets);
        let start = |partition| known(partition).or(Some(Offset::Beginning));
        Self::open_with(settings, topic, &start, &TO_GO_ON)
    }

    /// Starts at the given offsets, and reads only partitions that have one.
    ///
    /// # Errors
    /// [`ReadError`] if the topic is not there.
    pub fn open_at(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Offsets,
    ) -> Result<Self, ReadError> {
        Self::open_with(settings, topic, &known(offsets), &TO_SEE_THE_END)
    }

    /// Starts as [`open_at`](Self::open_at) does, to wait for what comes: where the end is shows late.
    pub(crate) fn open_to_wait(
        settings: &KafkaSettings,
        topic: &str,
        offsets: &Offsets,
    ) -> Result<Self, ReadError> {
        Self::open_with(settings, topic, &known(offsets), &TO_WAIT)
    }

    fn open_with(
        settings: &KafkaSettings,
        topic: &str,
        start: &dyn Fn(i32) -> Option<Offset>,
        purpose: &Purpose,
    ) -> Result<Self, ReadError> {
        let refused = |source| ReadError::Refused {
            topic: topic.to_owned(),
            source,
        };
        let client = client(settings, topic, |config| {
            config
                .set("enable.partition.eof", "true")
                // Where what was asked for is not there any more, the next that is.
                .set("auto.offset.reset", "earliest")
                .set("isolation.level", "read_committed")
                // When it has fetched enough ahead, the client waits for a second by default before it fetches again.
                .set("fetch.queue.backoff.ms", "10")
                .set("fetch.wait.max.ms", purpose.fetch_wait_ms)
                .set("statistics.interval.ms", purpose.statistics_interval_ms);
        })?;
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
                .map_err(refused)?;
        }
        client.assign(&assignment).map_err(refused)?;
        let partitions: Vec<i32> = starts.iter().map(|&(partition, _)| partition).collect();
        let position = |(partition, start)| match start {
            Offset::Offset(offset) => (partition, offset),
            _ => (partition, 0),
        };
        Ok(Self {
            taken: VecDeque::new(),
            inbox,
            client,
            topic: topic.to_owned(),
            unfinished: partitions.clone(),
            partitions,
            positions: starts.into_iter().map(position).collect(),
        })
    }

    /// The partitions that are read.
    #[must_use]
    pub fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    /// Whether the cluster is reachable. Known only of a reader that was [resumed](Self::resume).
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client.context().client_health
    }

    /// The next record; `None` if none came within `timeout`, or the end of a partition was reached.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if reading cannot go on.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Record<'_>>, ReadError> {
        Ok(match self.read(timeout)? {
            Some(Read::Record(record)) => Some(record),
            Some(Read::End(_)) | None => None,
        })
    }

    /// The next record, or end of a partition; `None` if neither came within `timeout`.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if reading cannot go on.
    pub fn read(&mut self, timeout: Duration) -> Result<Option<Read<'_>>, ReadError> {
        if self.taken.is_empty() {
            // What else the client has to tell: only that it cannot go on matters here.
            if let Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) =
                self.client.poll(Duration::ZERO)
            {
                return Err(ReadError::Refused {
                    topic: self.topic.clone(),
                    source,
                });
            }
            self.taken = self.inbox.take(timeout).into();
            let is_drained = self.taken.is_empty();
            self.client_health().note_drained(is_drained);
        }
        let positions = &mut self.positions;
        let message = iter::from_fn(|| self.taken.pop_front()).find(|message| {
            message.error().is_some() || is_next(positions, message.partition(), message.offset())
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

    /// Whether each partition was read to where it ended at the time.
    #[must_use]
    pub fn has_reached_the_end(&self) -> bool {
        self.unfinished.is_empty()
    }
}

/// Whether a record lies where its partition was not read yet; then the partition is read beyond it.
fn is_next(positions: &mut Offsets, partition: i32, offset: i64) -> bool {
    let position = positions.entry(partition).or_default();
    let is_next = offset >= *position;
    if is_next {
        *position = offset + 1;
    }
    is_next
}

/// The offset of a partition that has one.
fn known(offsets: &Offsets) -> impl Fn(i32) -> Option<Offset> {
    |partition| offsets.get(&partition).copied().map(Offset::Offset)
}

/// The committed records of a topic, partition by partition in their order.
///
/// # Errors
/// [`ReadError`] if the topic is not there, or its end is not reached within `timeout`.
pub fn read_to_end(
    settings: &KafkaSettings,
    topic: &str,
    timeout: Duration,
) -> Result<Vec<StoredRecord>, ReadError> {
    let mut reader = TopicReader::open(settings, topic)?;
    let give_up = Instant::now() + timeout;
    let mut records = Vec::new();
    while !reader.has_reached_the_end() {
        if let Some(record) = reader.next(POLL_TIMEOUT)? {
            records.push(StoredRecord::from(&record));
        }
        if Instant::now() >= give_up {
            return Err(ReadError::OutOfTime {
                topic: topic.to_owned(),
                timeout,
            });
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Looks at how far a consumer group has come in a topic.
pub struct GroupOffsets {
    client: BaseConsumer<ClientEvents>,
    topic: String,
    partitions: Vec<i32>,
}

impl std::fmt::Debug for GroupOffsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupOffsets")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl GroupOffsets {
    /// Connects.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the topic is not there.
    pub fn open(settings: &KafkaSettings, group_id: &str, topic: &str) -> Result<Self, ReadError> {
        let client = client(settings, topic, |config| {
            config
                .set("group.id", group_id)
                .set("isolation.level", "read_committed")
                .set("retry.backoff.ms", "2");
        })?;
        let partitions = partitions(&client, topic)?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
            partitions,
        })
    }

    /// The offsets that the group has committed. Where a transaction is about to change them, it is waited for, and so is a
    /// coordinator that is about to be found.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if they cannot be had in time.
    pub fn committed(&self) -> Result<Offsets, ReadError> {
        let refused = |source| ReadError::Refused {
            topic: self.topic.clone(),
            source,
        };
        let mut list = TopicPartitionList::new();
        for &partition in &self.partitions {
            list.add_partition(&self.topic, partition);
        }
        let give_up = Instant::now() + REQUEST_TIMEOUT;
        let committed = loop {
            match self.client.committed_offsets(list.clone(), REQUEST_TIMEOUT) {
                Err(error) if is_finding_its_coordinator(&error) && Instant::now() < give_up => {
                    thread::sleep(COORDINATOR_STEP);
                }
                answered => break answered.map_err(refused)?,
            }
        };
        let mut offsets = Offsets::new();
        for element in committed.elements() {
            element.error().map_err(refused)?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }
}

/// Whether a group has no coordinator at the moment: the topic that coordinators keep offsets in is being made, or moves.
fn is_finding_its_coordinator(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

/// For each partition the offset of the first record that is from `time` or later, in milliseconds since the epoch;
/// partitions without one are left out.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub fn offsets_at(settings: &KafkaSettings, topic: &str, time: i64) -> Result<Offsets, ReadError> {
    let refused = |source| ReadError::Refused {
        topic: topic.to_owned(),
        source,
    };
    let client = client(settings, topic, |_| ())?;
    let mut times = TopicPartitionList::new();
    for partition in partitions(&client, topic)? {
        times
            .add_partition_offset(topic, partition, Offset::Offset(time))
            .map_err(refused)?;
    }
    let found = client
        .offsets_for_times(times, REQUEST_TIMEOUT)
        .map_err(refused)?;
    let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    };
    Ok(found.elements().iter().filter_map(offset).collect())
}

/// Whether all of a topic can be read: no transaction that appended to it is still open.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub fn is_settled(settings: &KafkaSettings, topic: &str) -> Result<bool, ReadError> {
    let reader = |isolation: &str| {
        client(settings, topic, |config| {
            config.set("isolation.level", isolation);
        })
    };
    let (committed, all) = (reader("read_committed")?, reader("read_uncommitted")?);
    // In this order: what is appended in between makes it look unsettled, never settled.
    let committed = end_offsets_by(&committed, topic)?;
    let all = end_offsets_by(&all, topic)?;
    Ok(committed == all)
}

/// The offset after the last record of each partition, markers of transactions included.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub fn end_offsets(settings: &KafkaSettings, topic: &str) -> Result<Offsets, ReadError> {
    TopicEnds::open(settings, topic)?.offsets()
}

/// As [`end_offsets`], by a client that reads as it is set to.
pub(crate) fn end_offsets_by(
    client: &BaseConsumer<ClientEvents>,
    topic: &str,
) -> Result<Offsets, ReadError> {
    let end = |partition| {
        let watermarks = client.fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
        let (_, end) = watermarks.map_err(|source| ReadError::Refused {
            topic: topic.to_owned(),
            source,
        })?;
        Ok((partition, end))
    };
    partitions(client, topic)?.into_iter().map(end).collect()
}

pub(crate) fn client(
    settings: &KafkaSettings,
    topic: &str,
    set: impl FnOnce(&mut ClientConfig),
) -> Result<BaseConsumer<ClientEvents>, ReadError> {
    let refused = |source| ReadError::Refused {
        topic: topic.to_owned(),
        source,
    };
    let mut config = settings
        .client_config(NAME)
        .map_err(|error| refused(KafkaError::ClientCreation(error.to_string())))?;
    config
        .set("group.id", NAME)
        .set("enable.auto.commit", "false");
    set(&mut config);
    settings.pass_through(&mut config);
    config
        .create_with_context(ClientEvents::new(settings))
        .map_err(refused)
}

pub(crate) fn partitions(
    client: &BaseConsumer<ClientEvents>,
    topic: &str,
) -> Result<Vec<i32>, ReadError> {
    let refused = |source| ReadError::Refused {
        topic: topic.to_owned(),
        source,
    };
    let metadata = client
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(refused)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        let code = RDKafkaErrorCode::UnknownTopicOrPartition;
        return Err(refused(KafkaError::MetadataFetch(code)));
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    const TOPIC: &str = "topic";

    #[test]
    fn a_reader_that_is_sent_to_the_beginning_hands_nothing_out_again() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let mut reader = TopicReader::resume(&cluster.settings, TOPIC, &[(0, 2)].into()).unwrap();
        let mut seen = Vec::new();
        let give_up = Instant::now() + PATIENCE;
        while seen.last() != Some(&3) && Instant::now() < give_up {
            match reader.read(POLL_TIMEOUT).unwrap() {
                Some(Read::Record(record)) => seen.push(record.offset()),
                Some(Read::End(_)) if seen == [2] => {
                    cluster.send_to_the_beginning();
                    cluster.append(TOPIC, 1);
                }
                _ => {}
            }
        }
        assert_eq!(seen, [2, 3]);
    }
}
