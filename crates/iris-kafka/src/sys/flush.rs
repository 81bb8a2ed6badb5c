//! Having what was sent acknowledged.
//!
//! rust-rdkafka's own flush lingers: it asks librdkafka to hurry only for a moment, then polls for up to 100 ms.
#![allow(unsafe_code)]

use std::time::Duration;

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

/// How long what was refused may go unnoticed.
const STEP: Duration = Duration::from_millis(5);

/// Sends at once what is still lingering, and waits for a moment. Returns whether everything is acknowledged or refused,
/// and the reports of what was refused have been served.
pub(crate) fn flush<C: ProducerContext + 'static>(producer: &BaseProducer<C>) -> bool {
    let step = i32::try_from(STEP.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive while it is borrowed.
    let flushed = unsafe { rd_kafka_flush(producer.client().native_ptr(), step) };
    // librdkafka counts what was refused as in flight until its report is served.
    producer.poll(Duration::ZERO);
    flushed == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}
