//! Producers with an open transaction, as the leader of a partition sees them.

use bytes::{Buf as _, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{DescribeProducersRequest, FetchRequest};

use crate::cluster::Cluster;
use crate::error::{Code, TransactionsError};
use crate::partitions::{Partition, by_leader, topic_name};

/// Where the header of a batch of records has the timestamp of its first record, and where its producer's id ends.
const BASE_TIMESTAMP_AT: usize = 27;
const PRODUCER_ID_AT: usize = 43;
const HEADER_BYTES: usize = 51;

/// A producer with an open transaction in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) partition: Partition,
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) coordinator_epoch: i32,
    pub(crate) start_offset: i64,
    /// The timestamp of the last record that it has written.
    pub(crate) last_timestamp: i64,
}

/// Returns the producers with an open transaction in any of these partitions.
pub(crate) fn producers(
    cluster: &mut Cluster,
    partitions: &[Partition],
) -> Result<Vec<Producer>, TransactionsError> {
    let mut found = Vec::new();
    for (leader, topics) in by_leader(partitions) {
        let topics = topics.into_iter().map(|(name, numbers)| {
            TopicRequest::default()
                .with_name(topic_name(name))
                .with_partition_indexes(numbers)
        });
        let request = DescribeProducersRequest::default().with_topics(topics.collect());
        let answer = cluster.broker(leader)?.send(&request)?;
        for topic in answer.topics {
            let name = topic.name.to_string();
            for partition in topic.partitions {
                let number = partition.partition_index;
                let code = Code(partition.error_code);
                if code.error() == Some(ResponseError::TopicAuthorizationFailed) {
                    return Err(cluster.lacks(format!("Read on topic `{name}`")));
                }
                code.check(&format!(
                    "the producers of partition {number} of topic `{name}`"
                ))?;
                let partition_of = Partition {
                    topic: name.clone(),
                    number,
                    leader,
                };
                let open = partition.active_producers.iter();
                let open = open.filter(|state| state.current_txn_start_offset >= 0);
                found.extend(open.map(|state| Producer {
                    partition: partition_of.clone(),
                    id: state.producer_id.0,
                    epoch: i16::try_from(state.producer_epoch).unwrap_or(i16::MAX),
                    coordinator_epoch: state.coordinator_epoch,
                    start_offset: state.current_txn_start_offset,
                    last_timestamp: state.last_timestamp,
                }));
            }
        }
    }
    found.sort_by(|a, b| (&a.partition, a.start_offset).cmp(&(&b.partition, b.start_offset)));
    Ok(found)
}

/// Returns the timestamp of the first record of a producer's open transaction; `None` if it cannot be read.
pub(crate) fn start_time(cluster: &mut Cluster, producer: &Producer) -> Option<i64> {
    let partition = FetchPartition::default()
        .with_partition(producer.partition.number)
        .with_fetch_offset(producer.start_offset)
        // A broker returns a whole batch nevertheless.
        .with_partition_max_bytes(1);
    let topic = FetchTopic::default()
        .with_topic(topic_name(&producer.partition.topic))
        .with_partitions(vec![partition]);
    let request = FetchRequest::default().with_topics(vec![topic]);
    let connection = cluster.broker(producer.partition.leader).ok()?;
    let answer = connection.send(&request).ok()?;
    let partition = answer.responses.first()?.partitions.first()?;
    first_timestamp(partition.records.as_ref()?, producer.id)
}

/// Returns the timestamp of the first record of a batch, if it is a batch of this producer.
fn first_timestamp(batch: &Bytes, producer_id: i64) -> Option<i64> {
    if batch.len() < HEADER_BYTES {
        return None;
    }
    let at = |position| batch.slice(position..).get_i64();
    (at(PRODUCER_ID_AT) == producer_id).then(|| at(BASE_TIMESTAMP_AT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_producers_own_batch() {
        let mut batch = vec![0; 70];
        batch[BASE_TIMESTAMP_AT..][..8].copy_from_slice(&1_700_000_000_000_i64.to_be_bytes());
        batch[PRODUCER_ID_AT..][..8].copy_from_slice(&7_i64.to_be_bytes());
        let batch = Bytes::from(batch);
        assert_eq!(first_timestamp(&batch, 7), Some(1_700_000_000_000));
        assert_eq!(first_timestamp(&batch, 8), None);
        assert_eq!(first_timestamp(&batch.slice(..50), 7), None);
    }
}
