//! Finds partitions whose leader a client needs and cannot reach, while other brokers answer: the replicas are down, or the
//! client has no connection to one of the brokers. librdkafka waits for such a leader without an error.

use rdkafka::statistics::{Broker, Partition, Statistics};

use crate::client::lasting::Lasting;
use crate::offsets::TopicPartition;

/// The states of a partition that a consumer does not fetch.
const NOT_FETCHED: [&str; 3] = ["none", "stopping", "stopped"];

/// The partitions whose leader cannot be reached: the leader's name, if there is one, by partition.
#[derive(Debug, Default)]
pub(super) struct UnservedPartitions(Lasting<TopicPartition, Option<String>>);

impl UnservedPartitions {
    /// Notes which leaders cannot be reached now.
    pub(super) fn observe(&mut self, statistics: &Statistics) {
        let found = statistics.topics.values().flat_map(|topic| {
            let needed = topic.partitions.values().filter(|found| is_needed(found));
            needed.filter_map(|found| {
                let leader = leader(statistics, found.leader);
                let is_served = leader.is_some_and(|broker| broker.state == "UP");
                let partition = TopicPartition::new(&topic.topic, found.partition);
                (!is_served).then(|| (partition, leader.map(|broker| broker.name.clone())))
            })
        });
        self.0.observe(statistics.ts, found);
    }

    /// Returns the problem with the first partition whose leader has been out of reach for long.
    pub(super) fn problem(&self, statistics: &Statistics) -> Option<String> {
        let (TopicPartition { topic, partition }, leader) = self.0.problem(statistics.ts)?;
        Some(match leader {
            Some(leader) => format!(
                "broker {leader}, the leader of topic `{topic}`, partition {partition}, cannot be reached"
            ),
            None => format!(
                "topic `{topic}`, partition {partition} has no leader: no broker with a replica of it is available"
            ),
        })
    }
}

/// Whether the client reads the partition, or has records for it.
fn is_needed(partition: &Partition) -> bool {
    let is_fetched = !NOT_FETCHED.contains(&partition.fetch_state.as_str());
    // A negative number is that of records whose partition is not known yet.
    partition.partition >= 0 && (is_fetched || partition.msgq_cnt + partition.xmit_msgq_cnt > 0)
}

/// Returns a leader's connection.
fn leader(statistics: &Statistics, node: i32) -> Option<&Broker> {
    let mut brokers = statistics.brokers.values();
    brokers.find(|broker| node >= 0 && broker.nodeid == node && broker.source != "logical")
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Topic;

    use super::*;

    const LED: i32 = 2;
    const NONE: i32 = -1;

    fn fetched(leader: i32) -> Partition {
        Partition {
            partition: 3,
            leader,
            fetch_state: "active".to_owned(),
            ..Partition::default()
        }
    }

    /// Returns statistics of a client with a connection to a broker that is not the leader, and one to the leader.
    fn statistics(seconds: i64, leader_state: &str, partition: Partition) -> Statistics {
        let broker = |nodeid: i32, state: &str| {
            let name = format!("localhost:909{nodeid}/{nodeid}");
            let broker = Broker {
                name: name.clone(),
                nodeid,
                state: state.to_owned(),
                source: "learned".to_owned(),
                ..Broker::default()
            };
            (name, broker)
        };
        let topic = Topic {
            topic: "input".to_owned(),
            partitions: [(partition.partition, partition)].into(),
            ..Topic::default()
        };
        Statistics {
            ts: seconds * 1_000_000,
            brokers: [
                broker(NONE, "UP"),
                broker(1, "UP"),
                broker(LED, leader_state),
            ]
            .into(),
            topics: [("input".to_owned(), topic)].into(),
            ..Statistics::default()
        }
    }

    fn problem(partitions: &mut UnservedPartitions, statistics: &Statistics) -> Option<String> {
        partitions.observe(statistics);
        partitions.problem(statistics)
    }

    #[test]
    fn a_leader_that_is_out_of_reach_for_long_is_a_problem_until_it_can_be_reached() {
        let mut partitions = UnservedPartitions::default();
        let mut at = |seconds, state| {
            let statistics = statistics(seconds, state, fetched(LED));
            problem(&mut partitions, &statistics)
        };
        assert_eq!(at(0, "CONNECT"), None);
        assert_eq!(at(7, "TRY_CONNECT"), None);
        assert_eq!(
            at(8, "CONNECT").as_deref(),
            Some(
                "broker localhost:9092/2, the leader of topic `input`, partition 3, cannot be reached"
            )
        );
        assert_eq!(at(9, "UP"), None);
        assert_eq!(at(10, "CONNECT"), None);
    }

    #[test]
    fn a_partition_without_a_leader_is_a_problem_if_it_is_needed() {
        let waiting = Partition {
            fetch_state: "none".to_owned(),
            msgq_cnt: 1,
            ..fetched(NONE)
        };
        let unused = Partition {
            msgq_cnt: 0,
            ..waiting.clone()
        };
        let unassigned = Partition {
            partition: -1,
            ..waiting.clone()
        };
        for (partition, is_problem) in [
            (fetched(NONE), true),
            (waiting, true),
            (unused, false),
            (unassigned, false),
        ] {
            let mut partitions = UnservedPartitions::default();
            assert_eq!(
                problem(&mut partitions, &statistics(0, "UP", partition.clone())),
                None
            );
            let later = problem(&mut partitions, &statistics(8, "UP", partition));
            assert_eq!(
                later.as_deref(),
                is_problem.then_some(
                    "topic `input`, partition 3 has no leader: no broker with a replica of it is available"
                )
            );
        }
    }
}
