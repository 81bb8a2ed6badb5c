//! The offsets that a consumer group has committed, read without joining it.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::config::{self, Isolation};
use crate::client::settings::KafkaSettings;
use crate::offsets::Positions;
use crate::read::client::{Client, REQUEST_TIMEOUT, connect, partitions};
use crate::read::error::ReadError;

/// How long to wait before asking again for a group's coordinator.
const COORDINATOR_RETRY_DELAY: Duration = Duration::from_millis(20);

/// Reads the offsets that a consumer group has committed in a topic.
pub struct GroupOffsets {
    client: Client,
    topic: String,
    partitions: Vec<i32>,
    timeout: Duration,
}

impl std::fmt::Debug for GroupOffsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupOffsets")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl GroupOffsets {
    /// Creates the client and looks up the topic's partitions.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the topic does not exist.
    pub fn open(settings: &KafkaSettings, group_id: &str, topic: &str) -> Result<Self, ReadError> {
        let isolation = Isolation::Committed;
        Self::open_with(settings, group_id, topic, isolation, REQUEST_TIMEOUT)
    }

    /// As [`open`](Self::open), but does not wait for open transactions, and for the cluster at most `timeout`.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the topic does not exist.
    pub fn open_without_waiting(
        settings: &KafkaSettings,
        group_id: &str,
        topic: &str,
        timeout: Duration,
    ) -> Result<Self, ReadError> {
        Self::open_with(settings, group_id, topic, Isolation::Uncommitted, timeout)
    }

    fn open_with(
        settings: &KafkaSettings,
        group_id: &str,
        topic: &str,
        isolation: Isolation,
        timeout: Duration,
    ) -> Result<Self, ReadError> {
        let config = config::group_offsets(settings, group_id, isolation);
        let client = connect(settings, topic, config)?;
        let partitions = partitions(&client, topic)?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
            partitions,
            timeout,
        })
    }

    /// Returns the topic's partitions when the client was created.
    #[must_use]
    pub fn partitions(&self) -> &[i32] {
        &self.partitions
    }

    /// Returns the committed offsets. Waits for an open transaction that may change them, and while the group has no
    /// coordinator.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the cluster does not answer in time.
    pub fn committed(&self) -> Result<Positions, ReadError> {
        let refused = ReadError::refused(&self.topic);
        let mut list = TopicPartitionList::new();
        for &partition in &self.partitions {
            list.add_partition(&self.topic, partition);
        }
        let deadline = Instant::now() + self.timeout;
        let committed = loop {
            match self.client.committed_offsets(list.clone(), self.timeout) {
                Err(error) if has_no_coordinator(&error) && Instant::now() < deadline => {
                    thread::sleep(COORDINATOR_RETRY_DELAY);
                }
                answered => break answered.map_err(&refused)?,
            }
        };
        let mut offsets = Positions::new();
        for element in committed.elements() {
            element.error().map_err(&refused)?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.set(element.partition(), offset);
            }
        }
        Ok(offsets)
    }
}

/// Whether a group has no coordinator at the moment, because the topic of committed offsets is being created or moved.
fn has_no_coordinator(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotCoordinator
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}
