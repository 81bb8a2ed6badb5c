//! What the classifier counts. Counted a transaction at a time, when it is committed, so that a record costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    topic: String,
    partition: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Predicted {
    predicted_class: String,
    model_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The metrics of all workers.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    consumed: Family<Source, Counter>,
    predictions: Family<Predicted, Counter>,
    dead_letters: Family<Reason, Counter>,
    transactions: Family<Outcome, Counter>,
    transaction_duration: Histogram,
}

/// What one transaction counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) consumed: BTreeMap<i32, u64>,
    pub(crate) predictions: Vec<u64>,
    pub(crate) dead_letters: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(crate) fn clear(&mut self) {
        self.consumed.clear();
        self.predictions.fill(0);
        self.dead_letters.clear();
    }
}

impl Metrics {
    pub(crate) fn register(service: &Service) -> Self {
        let metrics = Self {
            consumed: Family::default(),
            predictions: Family::default(),
            dead_letters: Family::default(),
            transactions: Family::default(),
            transaction_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        };
        let mut registry = service.metrics();
        registry.register(
            "records_consumed",
            "Records with a committed outcome",
            metrics.consumed.clone(),
        );
        registry.register(
            "predictions",
            "Predictions committed",
            metrics.predictions.clone(),
        );
        registry.register(
            "dead_letters",
            "Records set aside, by reason",
            metrics.dead_letters.clone(),
        );
        registry.register(
            "transactions",
            "Transactions, by outcome",
            metrics.transactions.clone(),
        );
        registry.register_with_unit(
            "transaction_duration",
            "How long committing a transaction took",
            Unit::Seconds,
            metrics.transaction_duration.clone(),
        );
        drop(registry);
        metrics
    }

    pub(crate) fn committed<'a>(
        &self,
        topic: &str,
        model_version: &str,
        class_name: impl Fn(usize) -> &'a str,
        counts: &Counts,
        duration: Duration,
    ) {
        for (&partition, &count) in &counts.consumed {
            self.consumed
                .get_or_create(&Source {
                    topic: topic.to_owned(),
                    partition,
                })
                .inc_by(count);
        }
        for (class, &count) in counts
            .predictions
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let predicted_class = class_name(class).to_owned();
            let predicted = Predicted {
                predicted_class,
                model_version: model_version.to_owned(),
            };
            self.predictions.get_or_create(&predicted).inc_by(count);
        }
        for (&reason, &count) in &counts.dead_letters {
            self.dead_letters
                .get_or_create(&Reason { reason })
                .inc_by(count);
        }
        self.transactions
            .get_or_create(&Outcome {
                outcome: "committed",
            })
            .inc();
        self.transaction_duration.observe(duration.as_secs_f64());
    }

    pub(crate) fn aborted(&self) {
        self.transactions
            .get_or_create(&Outcome { outcome: "aborted" })
            .inc();
    }
}
