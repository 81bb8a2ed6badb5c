//! Metrics of consumer lag and of lost records. Lags are read from the clients when the metrics are collected, so that revoked
//! partitions disappear. A lag that is not known yet is omitted rather than shown as 0.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel as _, EncodeLabelSet, EncodeMetric as _, LabelSetEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::change::lost::LostRecords;
use crate::client::health::ClientHealth;
use crate::clock::now_ms;
use crate::offsets::TopicPartition;

/// The lag of all consumers of a process. Register it once as a collector, and add each consumer with
/// [`watch`](Self::watch).
#[derive(Clone, Debug, Default)]
pub struct LagMetrics(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    consumers: Vec<Watched>,
    /// The lost records of each client, by topic. They outlive the client.
    lost: Vec<(String, Arc<LostRecords>)>,
    /// The timestamp of the record that was processed last, in milliseconds since the epoch, by topic and partition.
    reached: BTreeMap<TopicPartition, i64>,
}

#[derive(Debug)]
struct Watched {
    /// The consumer group; `None` for a reader that belongs to none.
    group: Option<String>,
    topic: String,
    client_health: Weak<ClientHealth>,
}

/// The labels of a partition's lag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PartitionLabels {
    group: Option<String>,
    topic: String,
    partition: i32,
}

impl EncodeLabelSet for PartitionLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if let Some(group) = &self.group {
            ("group", group.as_str()).encode(encoder.encode_label())?;
        }
        ("topic", self.topic.as_str()).encode(encoder.encode_label())?;
        ("partition", self.partition).encode(encoder.encode_label())
    }
}

/// The lag of a partition, in records and, where it is known, in seconds.
type Lag = (PartitionLabels, i64, Option<f64>);

/// The labels of a partition's lost records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct LostLabels {
    topic: String,
    partition: i32,
}

/// The labels of a group's rebalances.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabels {
    group: String,
}

impl LagMetrics {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Adds a consumer of `topic` in `group`, until its client is dropped.
    pub fn watch(&self, group: &str, topic: &str, client_health: &Arc<ClientHealth>) {
        self.add(Some(group), topic, client_health);
    }

    /// Adds a reader of `topic` that belongs to no group, until its client is dropped.
    pub fn watch_reader(&self, topic: &str, client_health: &Arc<ClientHealth>) {
        self.add(None, topic, client_health);
    }

    fn add(&self, group: Option<&str>, topic: &str, client_health: &Arc<ClientHealth>) {
        let mut state = self.lock();
        state
            .consumers
            .retain(|watched| watched.client_health.strong_count() > 0);
        state
            .lost
            .retain(|(_, lost)| Arc::strong_count(lost) > 1 || !lost.counts().is_empty());
        let lost = Arc::clone(client_health.lost());
        state.lost.push((topic.to_owned(), lost));
        state.consumers.push(Watched {
            group: group.map(str::to_owned),
            topic: topic.to_owned(),
            client_health: Arc::downgrade(client_health),
        });
    }

    /// Records the timestamp of the record that was processed last in a partition, in milliseconds since the epoch.
    pub fn reached(&self, topic: &str, partition: i32, timestamp: i64) {
        let partition = TopicPartition::new(topic, partition);
        self.lock().reached.insert(partition, timestamp);
    }

    /// Returns the number of lost records of each partition that has any.
    fn lost(&self) -> BTreeMap<LostLabels, u64> {
        let mut sums = BTreeMap::new();
        for (topic, lost) in &self.lock().lost {
            for (partition, records) in lost.counts() {
                let topic = topic.clone();
                *sums.entry(LostLabels { topic, partition }).or_default() += records;
            }
        }
        sums
    }

    /// Returns the lag of each partition that is read, and the number of rebalances of each group.
    fn lags(&self, now: i64) -> (Vec<Lag>, BTreeMap<String, u64>) {
        let state = self.lock();
        let mut lags = Vec::new();
        let mut rebalances: BTreeMap<String, u64> = BTreeMap::new();
        for watched in &state.consumers {
            let Some(client_health) = watched.client_health.upgrade() else {
                continue;
            };
            if let Some(group) = &watched.group {
                *rebalances.entry(group.clone()).or_default() += client_health.rebalances();
            }
            for (partition, records) in client_health.lags() {
                let reached = state
                    .reached
                    .get(&TopicPartition::new(&watched.topic, partition));
                let seconds = match (records, reached) {
                    (0, _) => Some(0.0),
                    (_, Some(reached)) => Some((now - reached).max(0) as f64 / 1e3),
                    (_, None) => None,
                };
                let labels = PartitionLabels {
                    group: watched.group.clone(),
                    topic: watched.topic.clone(),
                    partition,
                };
                lags.push((labels, records, seconds));
            }
        }
        (lags, rebalances)
    }
}

impl Collector for LagMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (lags, rebalances) = self.lags(now_ms());
        let unit = Unit::Other("records".to_owned());
        let help = "Offsets from the position to the end of the partition; transaction markers and aborted records count, too";
        let mut family =
            encoder.encode_descriptor("consumer_lag", help, Some(&unit), MetricType::Gauge)?;
        for (labels, records, _) in &lags {
            ConstGauge::new(*records).encode(family.encode_family(labels)?)?;
        }
        let unit = Unit::Seconds;
        let help =
            "Age of the record that was processed last; 0 if there are no unprocessed records";
        let mut family =
            encoder.encode_descriptor("consumer_lag", help, Some(&unit), MetricType::Gauge)?;
        for (labels, _, seconds) in &lags {
            if let Some(seconds) = *seconds {
                ConstGauge::new(seconds).encode(family.encode_family(labels)?)?;
            }
        }
        let help = "Assignments and revocations of partitions";
        let mut family =
            encoder.encode_descriptor("consumer_rebalances", help, None, MetricType::Counter)?;
        for (group, count) in rebalances {
            ConstCounter::new(count).encode(family.encode_family(&GroupLabels { group })?)?;
        }
        let help = "Records that were deleted before they were read";
        let mut family =
            encoder.encode_descriptor("records_lost", help, None, MetricType::Counter)?;
        for (labels, records) in self.lost() {
            ConstCounter::new(records).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::client::settings::KafkaSettings;

    #[test]
    fn the_lag_of_each_consumed_partition_is_shown_where_it_is_known() {
        let lags = LagMetrics::default();
        let client_health = ClientHealth::new(&KafkaSettings::default());
        client_health.assume(&[(0, 7), (1, 0), (2, 3)], 2);
        lags.watch("group", "input", &client_health);
        lags.reached("input", 0, 2_500);
        let (found, rebalances) = lags.lags(4_000);
        let found: Vec<_> = found
            .into_iter()
            .map(|(labels, records, seconds)| (labels.partition, records, seconds))
            .collect();
        assert_eq!(found, [(0, 7, Some(1.5)), (1, 0, Some(0.0)), (2, 3, None)]);
        assert_eq!(rebalances, [("group".to_owned(), 2)].into());

        let mut registry = Registry::with_prefix("iris");
        registry.register_collector(Box::new(lags.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "iris_consumer_lag_records{group=\"group\",topic=\"input\",partition=\"0\"} 7\n",
            "iris_consumer_lag_seconds{group=\"group\",topic=\"input\",partition=\"1\"} 0.0\n",
            "iris_consumer_rebalances_total{group=\"group\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        client_health.lost().note("input", 1, 5..8);
        drop(client_health);
        assert_eq!(lags.lags(4_000).0, []);
        text.clear();
        encode(&mut text, &registry).unwrap();
        let line = "iris_records_lost_total{topic=\"input\",partition=\"1\"} 3\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn the_lag_of_a_reader_without_a_group_has_no_group() {
        let lags = LagMetrics::default();
        let client_health = ClientHealth::new(&KafkaSettings::default());
        client_health.assume(&[(0, 7)], 2);
        lags.watch_reader("predictions", &client_health);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(lags.clone()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let line = "consumer_lag_records{topic=\"predictions\",partition=\"0\"} 7\n";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("consumer_rebalances_total"), "{text}");
    }
}
