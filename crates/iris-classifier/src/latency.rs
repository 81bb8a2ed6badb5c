//! A histogram of latencies to which many are added at once.
//!
//! prometheus-client's own takes one at a time, each under a lock: at half a million records a second, that shows.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use iris_core::CountsBy;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Upper bounds in seconds: from a millisecond to a minute, each twice the one before or a little more.
const BOUNDS: [f64; 16] = [
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    60.0,
    f64::INFINITY,
];

/// How many records took up to each bound in milliseconds, of those created at these times and committed at `now`, all in
/// milliseconds since the epoch.
pub(crate) fn by_bound(created: &[(i64, u64)], now: i64) -> CountsBy<u64> {
    let mut counts = CountsBy::new();
    for &(created, count) in created {
        let bound = BOUNDS[bucket(seconds(created, now))];
        // As a number of milliseconds, infinity is the largest that there is.
        *counts.entry((bound * 1e3) as u64).or_default() += count;
    }
    counts
}

/// Clocks may differ: nothing took less than 0.
fn seconds(created: i64, now: i64) -> f64 {
    (now - created).max(0) as f64 / 1e3
}

fn bucket(seconds: f64) -> usize {
    BOUNDS.partition_point(|&bound| bound < seconds)
}

/// Latencies by bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    sum: f64,
    count: u64,
    buckets: [u64; BOUNDS.len()],
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds records that were created at these times and committed at `now`, all in milliseconds since the epoch.
    pub(crate) fn add(&self, created: &[(i64, u64)], now: i64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &(created, count) in created {
            let seconds = seconds(created, now);
            state.buckets[bucket(seconds)] += count;
            state.count += count;
            state.sum += seconds * count as f64;
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
        let buckets: Vec<(f64, u64)> = BOUNDS.into_iter().zip(state.buckets).collect();
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
