//! How far the application has read partitions, transaction markers and aborted records included.
//!
//! rust-rdkafka only has the call for all assigned partitions, which asks another thread for them.
#![allow(unsafe_code)]

use rdkafka::bindings::rd_kafka_position;
use rdkafka::client::Client;
use rdkafka::consumer::ConsumerContext;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::offsets::Positions;

/// Returns the position of the application in partitions of a topic: the offset after the last record or transaction marker
/// that it has taken. Partitions from which nothing was taken since they were assigned or sought are omitted. Asks no broker.
pub(crate) fn positions<C: ConsumerContext>(
    client: &Client<C>,
    topic: &str,
    partitions: &[i32],
) -> Positions {
    if partitions.is_empty() {
        return Positions::new();
    }
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for &partition in partitions {
        list.add_partition(topic, partition);
    }
    // SAFETY: the client and the list are alive while they are borrowed, and librdkafka only writes to the list's elements.
    let found = unsafe { rd_kafka_position(client.native_ptr(), list.ptr()) };
    if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Positions::new();
    }
    let elements = list.elements();
    let position = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        element.error().ok()?;
        match element.offset() {
            Offset::Offset(offset) if offset >= 0 => Some((element.partition(), offset)),
            _ => None,
        }
    };
    elements.iter().filter_map(position).collect()
}
