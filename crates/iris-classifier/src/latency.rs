//! A histogram of latencies that accepts many values at once.
//!
//! prometheus-client's own histogram takes a lock for each value, which is measurable at half a million records/s.

use std::fmt;
use std::sync::Arc;

use iris_contract::CountsBy;
use iris_contract::transaction_summary::LATENCY_BOUNDS_MS;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Returns the number of records by the upper bound of their latency in milliseconds. `created` has their timestamps with a
/// count each; `now` is the time of the commit; both are in milliseconds since the epoch.
pub(crate) fn by_bound(created: &[(i64, u64)], now: i64) -> CountsBy<u64> {
    let mut counts = CountsBy::new();
    for &(created, count) in created {
        *counts
            .entry(LATENCY_BOUNDS_MS[bucket(age(created, now))])
            .or_default() += count;
    }
    counts
}

/// Returns a record's latency in milliseconds. Clocks may differ, so a negative one becomes 0.
fn age(created: i64, now: i64) -> u64 {
    now.saturating_sub(created).max(0).unsigned_abs()
}

fn bucket(age: u64) -> usize {
    LATENCY_BOUNDS_MS.partition_point(|&bound| bound < age)
}

/// Latencies by bucket, in seconds. Clones share the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Arc<Mutex<LatencyState>>);

#[derive(Clone, Debug, Default)]
struct LatencyState {
    sum: f64,
    count: u64,
    buckets: [u64; LATENCY_BOUNDS_MS.len()],
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds records by their timestamps, with a count each, that were committed at `now`; both in milliseconds since the
    /// epoch.
    pub(crate) fn add(&self, created: &[(i64, u64)], now: i64) {
        let mut state = self.0.lock();
        for &(created, count) in created {
            let age = age(created, now);
            state.buckets[bucket(age)] += count;
            state.count += count;
            state.sum += age as f64 / 1e3 * count as f64;
        }
    }
}

impl EncodeMetric for Latencies {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let state = self.0.lock().clone();
        let seconds = |bound: u64| match bound {
            u64::MAX => f64::INFINITY,
            bound => bound as f64 / 1e3,
        };
        let bounds = LATENCY_BOUNDS_MS.into_iter().map(seconds);
        let buckets: Vec<(f64, u64)> = bounds.zip(state.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(state.sum, state.count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::{Registry, Unit};

    use super::*;

    #[test]
    fn many_latencies_are_added_at_once_and_exposed_as_a_histogram() {
        let latencies = Latencies::new();
        let created = [(1_000, 3), (1_050, 2), (2_000, 1)];
        latencies.add(&created, 1_060);
        assert_eq!(
            by_bound(&created, 1_060),
            [(1, 1), (10, 2), (100, 3)].into()
        );
        assert_eq!(by_bound(&[(0, 1)], 60_001), [(u64::MAX, 1)].into());
        let mut registry = Registry::default();
        registry.register_with_unit("latency", "Help", Unit::Seconds, latencies);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "latency_seconds_count 6\n",
            "latency_seconds_bucket{le=\"0.001\"} 1\n",
            "latency_seconds_bucket{le=\"0.01\"} 3\n",
            "latency_seconds_bucket{le=\"0.05\"} 3\n",
            "latency_seconds_bucket{le=\"0.1\"} 6\n",
            "latency_seconds_bucket{le=\"+Inf\"} 6\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
