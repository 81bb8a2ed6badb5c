//! The newest records of a topic, looked at now and then.
//!
//! Whoever wants to show what is going on does not read all of it: what came between two looks, but for the newest, is
//! passed over, so that a look costs about the same at any rate.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;
use crate::exactly_once::transaction::Offsets;
use crate::read::reader::{ReadError, StoredRecord, client, end_offsets_by, partitions, stored};

/// How long a look may take. What was not read by then is passed over.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(50);

/// How much a broker is asked for at once: it sends no less than a batch.
const FETCH_BYTES: &str = "65536";

/// Where each partition of a topic ends, asked again and again.
pub struct TopicEnds {
    client: BaseConsumer<ClientEvents>,
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
    /// Connects.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the client cannot be made.
    pub fn open(settings: &KafkaSettings, topic: &str) -> Result<Self, ReadError> {
        let client = client(settings, topic, |config| {
            config.set("isolation.level", "read_committed");
        })?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
        })
    }

    /// The offset after the last record of each partition that may be read, markers of transactions included.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the cluster does not answer in time.
    pub fn offsets(&self) -> Result<Offsets, ReadError> {
        end_offsets_by(&self.client, &self.topic)
    }
}

/// The newest records of a topic.
pub struct Tail {
    client: BaseConsumer<ClientEvents>,
    topic: String,
    /// The most offsets of a partition that a look goes through.
    most: i64,
    /// Where the last look ended.
    seen: Offsets,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Tail {
    /// Connects. A look goes through at most the newest `most` offsets of each partition, some of which may be markers of
    /// transactions.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the topic is not there.
    pub fn open(settings: &KafkaSettings, topic: &str, most: i64) -> Result<Self, ReadError> {
        let client = client(settings, topic, |config| {
            config
                .set("enable.partition.eof", "true")
                .set("auto.offset.reset", "earliest")
                .set("isolation.level", "read_committed")
                .set("fetch.wait.max.ms", "10")
                .set("fetch.message.max.bytes", FETCH_BYTES)
                // What is there is enough; the next look is not to wait for the client to take breath.
                .set("queued.min.messages", "1")
                .set("fetch.queue.backoff.ms", "5");
        })?;
        partitions(&client, topic)?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
            most,
            seen: Offsets::new(),
        })
    }

    /// The newest records that came since the last look, each partition's in order.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if the cluster does not answer in time.
    pub fn look(&mut self) -> Result<Vec<StoredRecord>, ReadError> {
        let ends = end_offsets_by(&self.client, &self.topic)?;
        let mut unfinished: Offsets = ends
            .iter()
            .filter(|&(partition, &end)| self.seen.get(partition).is_none_or(|&seen| seen < end))
            .map(|(&partition, &end)| (partition, end))
            .collect();
        let start = |(&partition, &end): (&i32, &i64)| {
            let seen = self.seen.get(&partition).copied().unwrap_or(0);
            (partition, seen.max(end - self.most))
        };
        let starts: Offsets = unfinished.iter().map(start).collect();
        self.assign(&starts)?;
        let mut records = Vec::new();
        let give_up = Instant::now() + LOOK_TIMEOUT;
        while !unfinished.is_empty() && Instant::now() < give_up {
            match self.client.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let Some(&end) = unfinished.get(&partition) else {
                        continue;
                    };
                    if offset + 1 >= end {
                        unfinished.remove(&partition);
                    }
                    if offset < end {
                        records.push(stored(&message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unfinished.remove(&partition);
                }
                Some(Err(source @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(self.refused(source));
                }
                // Told of by whoever follows a topic; here the next look tries again.
                Some(Err(_)) | None => {}
            }
        }
        self.assign(&Offsets::new())?;
        self.seen = ends;
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    fn assign(&self, starts: &Offsets) -> Result<(), ReadError> {
        let mut assignment = TopicPartitionList::new();
        for (&partition, &start) in starts {
            assignment
                .add_partition_offset(&self.topic, partition, Offset::Offset(start))
                .map_err(|source| self.refused(source))?;
        }
        self.client
            .assign(&assignment)
            .map_err(|source| self.refused(source))
    }

    fn refused(&self, source: KafkaError) -> ReadError {
        ReadError::Refused {
            topic: self.topic.clone(),
            source,
        }
    }
}
