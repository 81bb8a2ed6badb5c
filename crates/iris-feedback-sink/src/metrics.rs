//! The sink's metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_feedback_store::FeedbackRow;
use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
    outcome: &'static str,
}

/// The sink's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The lag of the consumer group.
    pub(crate) lag: LagMetrics,
    stored: Counter,
    delay: Histogram,
    operations: Family<Operation, Histogram>,
}

impl Metrics {
    /// Registers the metrics of a service.
    pub(crate) fn register(service: &Service) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let metrics = Self {
            lag: LagMetrics::default(),
            stored: Counter::default(),
            delay: Histogram::new(exponential_buckets(0.005, 2.0, 16)),
            operations: Family::new_with_constructor(histogram),
        };
        let mut registry = service.metrics();
        registry.register_collector(Box::new(metrics.lag.clone()));
        registry.register_collector(Box::new(iris_kafka::CertificateExpiry));
        registry.register(
            "feedback_stored",
            "Feedback records stored",
            metrics.stored.clone(),
        );
        registry.register_with_unit(
            "feedback_delay",
            "Time from the creation of a record until its feedback was stored",
            Unit::Seconds,
            metrics.delay.clone(),
        );
        registry.register_with_unit(
            "store_operation_duration",
            "Duration of calls of the feedback store, by operation and outcome",
            Unit::Seconds,
            metrics.operations.clone(),
        );
        drop(registry);
        metrics
    }

    /// Counts rows of `topic` that were stored at `now_ms`, in milliseconds since the epoch. The rows of a partition are in
    /// offset order.
    pub(crate) fn stored(&self, topic: &str, rows: &[FeedbackRow], now_ms: i64) {
        self.stored.inc_by(rows.len() as u64);
        for delay in delays(rows, now_ms) {
            self.delay.observe(delay);
        }
        for (partition, created_ms) in latest_by_partition(rows) {
            self.lag.reached(topic, partition, created_ms);
        }
    }

    /// Records a call of the store.
    pub(crate) fn operation(&self, operation: &'static str, succeeded: bool, duration: Duration) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.operations
            .get_or_create(&Operation { operation, outcome })
            .observe(duration.as_secs_f64());
    }
}

/// Returns the seconds from the creation of each record until `now_ms`. A record of a clock that is ahead took 0 s.
fn delays(rows: &[FeedbackRow], now_ms: i64) -> impl Iterator<Item = f64> {
    rows.iter()
        .filter_map(|row| row.created_ms)
        .map(move |created_ms| (now_ms - created_ms).max(0) as f64 / 1e3)
}

/// Returns the creation time of the last row of each partition that has one.
fn latest_by_partition(rows: &[FeedbackRow]) -> BTreeMap<i32, i64> {
    rows.iter()
        .filter_map(|row| {
            let partition = i32::try_from(row.source_partition).ok()?;
            Some((partition, row.created_ms?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(partition: i64, created_ms: Option<i64>) -> FeedbackRow {
        FeedbackRow {
            source_topic: "t".to_owned(),
            source_partition: partition,
            created_ms,
            ..FeedbackRow::default()
        }
    }

    #[test]
    fn delays_are_in_seconds_and_never_negative() {
        let rows = [row(0, Some(1_500)), row(0, None), row(0, Some(9_000))];
        assert_eq!(delays(&rows, 2_000).collect::<Vec<_>>(), [0.5, 0.0]);
    }

    #[test]
    fn the_last_row_with_a_time_counts_for_its_partition() {
        let rows = [
            row(0, Some(1)),
            row(1, Some(2)),
            row(0, Some(3)),
            row(0, None),
        ];
        let expected = [(0, 3), (1, 2)];
        assert_eq!(latest_by_partition(&rows), expected.into());
    }
}
