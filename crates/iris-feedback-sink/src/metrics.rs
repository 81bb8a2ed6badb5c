//! What the sink counts.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

use crate::feedback::Feedback;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
    outcome: &'static str,
}

/// The sink's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// How far behind the sink is.
    pub(crate) lag: LagMetrics,
    stored: Counter,
    delay: Histogram,
    operations: Family<Operation, Histogram>,
}

impl Metrics {
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
        registry.register(
            "feedback_stored",
            "Feedback records stored",
            metrics.stored.clone(),
        );
        registry.register_with_unit(
            "feedback_delay",
            "From a record's creation until its feedback was stored",
            Unit::Seconds,
            metrics.delay.clone(),
        );
        registry.register_with_unit(
            "store_operation_duration",
            "How long the store took",
            Unit::Seconds,
            metrics.operations.clone(),
        );
        drop(registry);
        metrics
    }

    /// Rows that were stored at a time, in milliseconds since the epoch; each partition's in order.
    pub(crate) fn stored(&self, rows: &[Feedback], now: i64) {
        self.stored.inc_by(rows.len() as u64);
        for created in rows.iter().filter_map(|row| row.created_ms) {
            // Clocks may differ: nothing took less than 0.
            self.delay.observe((now - created).max(0) as f64 / 1e3);
        }
        let mut reached = BTreeMap::new();
        for row in rows {
            if let (Some(created), Ok(partition)) =
                (row.created_ms, i32::try_from(row.source_partition))
            {
                reached.insert((row.source_topic.as_str(), partition), created);
            }
        }
        for ((topic, partition), created) in reached {
            self.lag.reached(topic, partition, created);
        }
    }

    pub(crate) fn operation(&self, operation: &'static str, succeeded: bool, duration: Duration) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.operations
            .get_or_create(&Operation { operation, outcome })
            .observe(duration.as_secs_f64());
    }
}
