//! Flushes a producer without lingering.
//!
//! rust-rdkafka's own flush asks librdkafka to hurry only briefly, and then polls for up to 100 ms.
#![allow(unsafe_code)]

use std::time::Duration;

use rdkafka::bindings::rd_kafka_flush;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

/// How long a refused record may go unnoticed.
const STEP: Duration = Duration::from_millis(5);

/// Sends lingering records at once and waits for a moment. Returns whether every record is acknowledged or refused, and the
/// delivery reports of refused records have been served.
pub(crate) fn flush<C: ProducerContext + 'static>(producer: &BaseProducer<C>) -> bool {
    let step = i32::try_from(STEP.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive while it is borrowed.
    let flushed = unsafe { rd_kafka_flush(producer.client().native_ptr(), step) };
    // librdkafka counts a refused record as in flight until its report is served.
    producer.poll(Duration::ZERO);
    flushed == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}
