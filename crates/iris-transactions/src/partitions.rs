//! Partitions with the ends of what consumers can read.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::Cluster;
use crate::error::{Code, TransactionsError};

/// The time that stands for the end of a partition.
const LATEST: i64 = -1;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Partition {
    pub(crate) topic: String,
    pub(crate) number: i32,
    /// The broker that leads it.
    pub(crate) leader: i32,
}

/// The ends of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The end for consumers of committed records.
    pub(crate) last_stable_offset: i64,
    /// The end for all other consumers.
    pub(crate) high_watermark: i64,
}

/// Returns a name as the protocol has it.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Returns the partitions of topics.
///
/// # Errors
/// If a topic does not exist, or a partition has no leader.
pub(crate) fn partitions(
    cluster: &mut Cluster,
    topics: &[String],
) -> Result<Vec<Partition>, TransactionsError> {
    let named = topics
        .iter()
        .map(|topic| MetadataRequestTopic::default().with_name(Some(topic_name(topic))));
    let request = MetadataRequest::default()
        .with_topics(Some(named.collect()))
        .with_allow_auto_topic_creation(false);
    let answer = cluster.any()?.send(&request)?;
    let mut partitions = Vec::new();
    for topic in answer.topics {
        let name = topic.name.map(|name| name.to_string()).unwrap_or_default();
        match Code(topic.error_code).error() {
            Some(ResponseError::TopicAuthorizationFailed) => {
                return Err(cluster.lacks(format!("Describe on topic `{name}`")));
            }
            Some(ResponseError::UnknownTopicOrPartition) => {
                return Err(TransactionsError::NoTopic(name));
            }
            _ => Code(topic.error_code).check(&format!("describing topic `{name}`"))?,
        }
        for partition in topic.partitions {
            let number = partition.partition_index;
            if partition.leader_id.0 < 0 {
                return Err(TransactionsError::Refused {
                    request: format!("describing partition {number} of topic `{name}`"),
                    problem: "it has no leader".to_owned(),
                });
            }
            partitions.push(Partition {
                topic: name.clone(),
                number,
                leader: partition.leader_id.0,
            });
        }
    }
    partitions.sort();
    Ok(partitions)
}

/// Returns the numbers of the partitions that each broker leads, by topic.
pub(crate) fn by_leader<'a>(
    partitions: impl IntoIterator<Item = &'a Partition>,
) -> BTreeMap<i32, BTreeMap<&'a str, Vec<i32>>> {
    let mut grouped: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
    for partition in partitions {
        let topics = grouped.entry(partition.leader).or_default();
        let numbers = topics.entry(&partition.topic).or_default();
        numbers.push(partition.number);
    }
    grouped
}

/// Returns the ends of partitions.
pub(crate) fn ends(
    cluster: &mut Cluster,
    partitions: &[Partition],
) -> Result<BTreeMap<(String, i32), Ends>, TransactionsError> {
    let mut found = BTreeMap::new();
    for (leader, topics) in by_leader(partitions) {
        // The last stable offset is asked for first, so that it is not after the high watermark.
        for reads_committed in [true, false] {
            let request = ends_request(&topics, reads_committed);
            let answer = cluster.broker(leader)?.send(&request)?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let name = topic.name.to_string();
                    let number = partition.partition_index;
                    Code(partition.error_code)
                        .check(&format!("the end of partition {number} of topic `{name}`"))?;
                    let ends: &mut Ends = found.entry((name, number)).or_default();
                    if reads_committed {
                        ends.last_stable_offset = partition.offset;
                    } else {
                        ends.high_watermark = partition.offset;
                    }
                }
            }
        }
    }
    Ok(found)
}

fn ends_request(topics: &BTreeMap<&str, Vec<i32>>, reads_committed: bool) -> ListOffsetsRequest {
    let partition = |&number: &i32| {
        ListOffsetsPartition::default()
            .with_partition_index(number)
            .with_timestamp(LATEST)
    };
    let topic = |(name, numbers): (&&str, &Vec<i32>)| {
        ListOffsetsTopic::default()
            .with_name(topic_name(name))
            .with_partitions(numbers.iter().map(partition).collect())
    };
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(i8::from(reads_committed))
        .with_topics(topics.iter().map(topic).collect())
}
