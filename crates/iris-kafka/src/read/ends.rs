//! The end offsets of a topic's partitions, and their offsets at a time.

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::client::config::{self, Isolation};
use crate::client::settings::KafkaSettings;
use crate::offsets::Positions;
use crate::read::client::{Client, REQUEST_TIMEOUT, connect, partitions, watermarks};
use crate::read::error::ReadError;

/// Asks repeatedly for the end offsets of a topic's partitions.
pub struct TopicEnds {
    client: Client,
    topic: String,
}

impl std::fmt::Debug for TopicEnds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicEnds")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl TopicEnds {
    /// Creates the client.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the client cannot be created.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, ReadError> {
        Self::open_with(settings, topic, Isolation::Committed)
    }

    fn open_with(
        settings: &KafkaSettings,
        topic: &str,
        isolation: Isolation,
    ) -> Result<Self, ReadError> {
        Ok(Self {
            client: connect(settings, topic, config::end_offsets(settings, isolation))?,
            topic: topic.to_owned(),
        })
    }

    /// Returns for each partition the offset after the last readable record, transaction markers included.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the cluster does not answer in time.
    pub fn offsets(&self) -> Result<Positions, ReadError> {
        end_offsets_of(&self.client, &self.topic)
    }
}

/// Returns for each partition the offset after the last committed record, transaction markers included.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub fn end_offsets(settings: &KafkaSettings, topic: &str) -> Result<Positions, ReadError> {
    TopicEnds::open(settings, topic)?.offsets()
}

/// Returns the end offsets of all partitions as this client's isolation level shows them.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub(super) fn end_offsets_of(client: &Client, topic: &str) -> Result<Positions, ReadError> {
    let end = |partition| {
        let (_, end) = watermarks(client, topic, partition, REQUEST_TIMEOUT)
            .map_err(ReadError::refused(topic))?;
        Ok((partition, end))
    };
    partitions(client, topic)?.into_iter().map(end).collect()
}

/// Whether every record of a topic can be read: no transaction that wrote to it is still open.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub fn is_settled(settings: &KafkaSettings, topic: &str) -> Result<bool, ReadError> {
    let committed = TopicEnds::open_with(settings, topic, Isolation::Committed)?;
    let all = TopicEnds::open_with(settings, topic, Isolation::Uncommitted)?;
    // In this order, so that a record appended in between makes the topic look unsettled, never settled.
    let committed = committed.offsets()?;
    let all = all.offsets()?;
    Ok(committed == all)
}

/// Returns for each partition the offset of its first record at or after `time`, in milliseconds since the epoch.
/// Partitions without such a record are omitted.
///
/// # Errors
/// [`ReadError::Refused`] if the cluster does not answer in time.
pub fn offsets_at(
    settings: &KafkaSettings,
    topic: &str,
    time: i64,
) -> Result<Positions, ReadError> {
    let refused = ReadError::refused(topic);
    let client = connect(settings, topic, config::offsets_at(settings))?;
    let mut times = TopicPartitionList::new();
    for partition in partitions(&client, topic)? {
        times
            .add_partition_offset(topic, partition, Offset::Offset(time))
            .map_err(&refused)?;
    }
    let found = client
        .offsets_for_times(times, REQUEST_TIMEOUT)
        .map_err(&refused)?;
    let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    };
    Ok(found.elements().iter().filter_map(offset).collect())
}
