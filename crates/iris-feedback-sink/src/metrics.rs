//! What the sink counts.

use std::time::Duration;

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
    stored: Counter,
    operations: Family<Operation, Histogram>,
}

impl Metrics {
    pub(crate) fn register(service: &Service) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let metrics = Self {
            stored: Counter::default(),
            operations: Family::new_with_constructor(histogram),
        };
        let mut registry = service.metrics();
        registry.register(
            "feedback_stored",
            "Feedback records stored",
            metrics.stored.clone(),
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

    pub(crate) fn stored(&self, rows: usize) {
        self.stored.inc_by(rows as u64);
    }

    pub(crate) fn operation(&self, operation: &'static str, succeeded: bool, duration: Duration) {
        let outcome = if succeeded { "ok" } else { "error" };
        self.operations
            .get_or_create(&Operation { operation, outcome })
            .observe(duration.as_secs_f64());
    }
}
