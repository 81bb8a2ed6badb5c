//! The start of a partition's log as the latest fetch has shown it.
//!
//! rust-rdkafka only has the call that asks the cluster.
#![allow(unsafe_code)]

use rdkafka::ClientContext;
use rdkafka::bindings::rd_kafka_get_watermark_offsets;
use rdkafka::client::Client;
use rdkafka::types::RDKafkaRespErr;

use crate::sys::values::terminated;

/// Returns the offset of the first record that exists in a partition, as of its latest fetch; `None` if there was none yet.
/// Asks no broker. Once a record is returned, the value is at least the one when that record was fetched.
pub(crate) fn log_start<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = terminated(topic);
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive while it is borrowed, the name is terminated, and both outputs are initialised.
    let found = unsafe {
        rd_kafka_get_watermark_offsets(
            client.native_ptr(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && low >= 0).then_some(low)
}
