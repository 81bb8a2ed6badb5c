//! The clients that read outside any consumer group, and the requests that they have in common.

use std::thread;
use std::time::{Duration, Instant};

use iris_core::InvalidSetting;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::client::connected::Connected;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;
use crate::read::error::ReadError;

/// How long one request to the cluster may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before a leader that was just elected is asked again.
const ELECTION_INTERVAL: Duration = Duration::from_millis(50);

/// A client outside any consumer group.
pub(super) type Client = Connected<BaseConsumer<ClientEvents>>;

/// Creates a client that reads `topic`.
///
/// # Errors
/// [`ReadError::Refused`] if the settings cannot be used.
pub(super) fn connect(
    settings: &KafkaSettings,
    topic: &str,
    config: Result<ClientConfig, InvalidSetting>,
) -> Result<Client, ReadError> {
    config
        .map_err(|error| KafkaError::ClientCreation(error.to_string()))
        .and_then(|config| Connected::new(&config, settings, ClientEvents::new(settings)))
        .map_err(ReadError::refused(topic))
}

/// Returns the partitions of a topic.
///
/// # Errors
/// [`ReadError::Refused`] if the topic does not exist, or the cluster does not answer in time.
pub(super) fn partitions(client: &Client, topic: &str) -> Result<Vec<i32>, ReadError> {
    let metadata = client
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(ReadError::refused(topic))?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    if partitions.is_empty() {
        let error = metadata.topics().iter().find_map(|topic| topic.error());
        let code = error.map_or(RDKafkaErrorCode::UnknownTopicOrPartition, |error| {
            error.into()
        });
        return Err(ReadError::refused(topic)(KafkaError::MetadataFetch(code)));
    }
    Ok(partitions)
}

/// Returns a partition's first offset and its end, as the client's isolation level shows it. Asks again while a leader that was
/// just elected does not know that it is the leader.
///
/// # Errors
/// The client's error.
pub(crate) fn watermarks<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<(i64, i64), KafkaError> {
    use RDKafkaErrorCode as Code;
    let deadline = Instant::now() + timeout;
    loop {
        let watermarks = client.fetch_watermarks(topic, partition, timeout);
        let code = watermarks
            .as_ref()
            .err()
            .and_then(KafkaError::rdkafka_error_code);
        match code {
            Some(
                Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::UnknownTopicOrPartition,
            ) if Instant::now() < deadline => thread::sleep(ELECTION_INTERVAL),
            _ => return watermarks,
        }
    }
}
