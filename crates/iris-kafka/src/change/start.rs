//! The start of a partition's log, asked of the broker where the client does not know it.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::error::KafkaError;

use crate::sys::log_start::log_start;

/// Returns the offset of the first record that exists in a partition. Asks the broker if the client does not know it: an error
/// of a fetch makes the client forget it.
///
/// # Errors
/// The client's error if the broker does not answer in time.
pub(crate) fn start<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<i64, KafkaError> {
    let known = log_start(client, topic, partition);
    known.map_or_else(|| requested_start(client, topic, partition, timeout), Ok)
}

/// Asks the broker for the offset of the first record that exists in a partition.
///
/// # Errors
/// The client's error if the broker does not answer in time.
pub(crate) fn requested_start<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> Result<i64, KafkaError> {
    let watermarks = client.fetch_watermarks(topic, partition, timeout);
    watermarks.map(|(start, _)| start)
}
