//! Reading a whole topic, from its beginning to where it ends now.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};

use crate::connection::{ClientEvents, Connection};
use crate::headers;
use crate::settings::KafkaSettings;

/// How long asking for the topic's partitions may take.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

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

    fn new(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(headers::all).unwrap_or_default(),
        }
    }
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

/// Reads the committed records of a topic, per partition in their order.
///
/// # Errors
/// [`ReadError`] if the topic is not there, or its end is not reached within `timeout`.
pub fn read_to_end(
    settings: &KafkaSettings,
    topic: &str,
    timeout: Duration,
) -> Result<Vec<StoredRecord>, ReadError> {
    let refused = |source| ReadError::Refused {
        topic: topic.to_owned(),
        source,
    };
    let usable = |error: iris_core::ImpossibleSetting| {
        refused(KafkaError::ClientCreation(error.to_string()))
    };
    let mut config = settings.client_config("iris-reader").map_err(usable)?;
    config
        .set("group.id", "iris-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        // The end of a partition shows when a fetch comes back empty; there is no point in waiting for more.
        .set("fetch.wait.max.ms", "20");
    settings.pass_through(&mut config);
    let context = ClientEvents {
        connection: Connection::new(&settings.bootstrap_servers),
    };
    let client: BaseConsumer<ClientEvents> =
        config.create_with_context(context).map_err(refused)?;

    let metadata = client
        .fetch_metadata(Some(topic), METADATA_TIMEOUT)
        .map_err(refused)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        let code = rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition;
        return Err(refused(KafkaError::MetadataFetch(code)));
    }
    let mut assignment = TopicPartitionList::new();
    for &partition in &partitions {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .map_err(refused)?;
    }
    client.assign(&assignment).map_err(refused)?;

    let give_up = Instant::now() + timeout;
    let mut unfinished = partitions;
    let mut records = Vec::new();
    while !unfinished.is_empty() {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => records.push(StoredRecord::new(&message)),
            Some(Err(KafkaError::PartitionEOF(finished))) => {
                unfinished.retain(|&partition| partition != finished)
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return Err(refused(KafkaError::MessageConsumptionFatal(code)));
            }
            _ => {}
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
