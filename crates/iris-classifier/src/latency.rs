//! A histogram of latencies to which many are added at once.
//!
//! prometheus-client's own takes one at a time, each under a lock: at half a million records a second, that shows.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use iris_contract::CountsBy;
use iris_contract::transaction_summary::LATENCY_BOUNDS_MS;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// How many records took up to each bound in milliseconds, of those created at these times and committed at `now`, all in
/// milliseconds since the epoch.
pub(crate) fn by_bound(created: &[(i64, u64)], now: i64) -> CountsBy<u64> {
    let mut counts = CountsBy::new();
    for &(created, count) in created {
        *counts
            .entry(LATENCY_BOUNDS_MS[bucket(age(created, now))])
            .or_default() += count;
    }
    counts
}

/// Milliseconds. Clocks may differ: nothing took less than 0.
fn age(created: i64, now: i64) -> u64 {
    now.saturating_sub(created).max(0).unsigned_abs()
}

fn bucket(age: u64) -> usize {
    LATENCY_BOUNDS_MS.partition_point(|&bound| bound < age)
}

/// Latencies by bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    sum: f64,
    count: u64,
    buckets: [u64; LATENCY_BOUNDS_MS.len()],
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds records that were created at these times and committed at `now`, all in milliseconds since the epoch.
    pub(crate) fn add(&self, created: &[(i64, u64)], now: i64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let state = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
    fn many_are_added_at_once_and_told_as_any_histogram() {
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
