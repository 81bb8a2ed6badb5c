//! What the classifier counts. Counted a transaction at a time, when it is committed, so that a record costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

use crate::latency::Latencies;

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
struct Evaluated {
    actual_class: String,
    predicted_class: String,
    model_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
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

/// The class of labels that the model does not know: there may be any number of them.
const OTHER_CLASS: &str = "other";

/// The metrics of all workers.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// How far behind the workers are.
    pub(crate) lag: LagMetrics,
    consumed: Family<Source, Counter>,
    predictions: Family<Predicted, Counter>,
    evaluations: Family<Evaluated, Counter>,
    mispredictions: Family<Version, Counter>,
    latency: Latencies,
    dead_letters: Family<Reason, Counter>,
    transactions: Family<Outcome, Counter>,
    transaction_duration: Histogram,
}

/// What one transaction counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    partitions: BTreeMap<i32, Progress>,
    classes: usize,
    /// Predictions by class.
    predictions: Vec<u64>,
    /// Labelled predictions: for each class, and for labels of no class, the predictions by class.
    evaluations: Vec<u64>,
    dead_letters: BTreeMap<&'static str, u64>,
    /// How many records were created in each millisecond since the epoch, neighbours that are alike together.
    created: Vec<(i64, u64)>,
}

/// What was read of a partition.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    records: u64,
    /// When the last record was created.
    reached: Option<i64>,
}

impl Counts {
    /// For a model with this many classes.
    pub(crate) fn new(classes: usize) -> Self {
        Self {
            classes,
            predictions: vec![0; classes],
            evaluations: vec![0; (classes + 1) * classes],
            ..Self::default()
        }
    }

    /// A record of a partition, created at a time.
    pub(crate) fn read(&mut self, partition: i32, created: Option<i64>) {
        let progress = self.partitions.entry(partition).or_default();
        progress.records += 1;
        let Some(created) = created else { return };
        progress.reached = Some(created);
        match self.created.last_mut() {
            Some((latest, count)) if *latest == created => *count += 1,
            _ => self.created.push((created, 1)),
        }
    }

    pub(crate) fn predicted(&mut self, class: usize) {
        self.predictions[class] += 1;
    }

    /// A prediction whose ground truth the record had: a class, or a label that is none.
    pub(crate) fn evaluated(&mut self, actual: Option<usize>, predicted: usize) {
        let row = actual.unwrap_or(self.classes);
        self.evaluations[row * self.classes + predicted] += 1;
    }

    pub(crate) fn buried(&mut self, reason: &'static str) {
        *self.dead_letters.entry(reason).or_default() += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.partitions.clear();
        self.predictions.fill(0);
        self.evaluations.fill(0);
        self.dead_letters.clear();
        self.created.clear();
    }
}

impl Metrics {
    pub(crate) fn register(service: &Service) -> Self {
        let metrics = Self {
            lag: LagMetrics::default(),
            consumed: Family::default(),
            predictions: Family::default(),
            evaluations: Family::default(),
            mispredictions: Family::default(),
            latency: Latencies::new(),
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
            "evaluations",
            "Predictions of records that have a label, by the label's class and the predicted one",
            metrics.evaluations.clone(),
        );
        registry.register(
            "mispredictions",
            "Predictions that their record's label contradicts",
            metrics.mispredictions.clone(),
        );
        registry.register_with_unit(
            "end_to_end_latency",
            "From a record's creation until its outcome was committed",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register_collector(Box::new(metrics.lag.clone()));
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

    /// A transaction that was committed at `now`, in milliseconds since the epoch; committing took `duration`.
    pub(crate) fn committed<'a>(
        &self,
        topic: &str,
        model_version: &str,
        class_name: impl Fn(usize) -> &'a str,
        counts: &Counts,
        now: i64,
        duration: Duration,
    ) {
        for (&partition, progress) in &counts.partitions {
            self.consumed
                .get_or_create(&Source {
                    topic: topic.to_owned(),
                    partition,
                })
                .inc_by(progress.records);
            if let Some(reached) = progress.reached {
                self.lag.reached(topic, partition, reached);
            }
        }
        for (class, &count) in some(&counts.predictions) {
            let predicted_class = class_name(class).to_owned();
            let predicted = Predicted {
                predicted_class,
                model_version: model_version.to_owned(),
            };
            self.predictions.get_or_create(&predicted).inc_by(count);
        }
        let mispredictions = self.mispredictions.get_or_create_owned(&Version {
            model_version: model_version.to_owned(),
        });
        for (cell, &count) in some(&counts.evaluations) {
            let (actual, predicted) = (cell / counts.classes, cell % counts.classes);
            if actual != predicted {
                mispredictions.inc_by(count);
            }
            let actual_class = if actual < counts.classes {
                class_name(actual)
            } else {
                OTHER_CLASS
            };
            let evaluated = Evaluated {
                actual_class: actual_class.to_owned(),
                predicted_class: class_name(predicted).to_owned(),
                model_version: model_version.to_owned(),
            };
            self.evaluations.get_or_create(&evaluated).inc_by(count);
        }
        self.latency.add(&counts.created, now);
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

/// The counts that are not 0, with their positions.
fn some(counts: &[u64]) -> impl Iterator<Item = (usize, &u64)> {
    counts.iter().enumerate().filter(|(_, count)| **count > 0)
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_transaction_is_counted_when_it_is_committed() {
        let service = Service::detached("test");
        let metrics = Metrics::register(&service);
        let mut counts = Counts::new(2);
        for (partition, created) in [(0, Some(1_000)), (0, Some(1_000)), (3, None)] {
            counts.read(partition, created);
        }
        for (actual, predicted) in [(Some(0), 0), (Some(0), 1), (None, 1)] {
            counts.predicted(predicted);
            counts.evaluated(actual, predicted);
        }
        let class_name = |class| ["a", "b"][class];
        metrics.committed("in", "v", class_name, &counts, 1_030, Duration::ZERO);
        let mut text = String::new();
        encode(&mut text, &service.metrics()).unwrap();
        let evaluated = |actual: &str, predicted: &str| {
            format!(
                "iris_evaluations_total{{actual_class=\"{actual}\",predicted_class=\"{predicted}\",model_version=\"v\"}} 1\n"
            )
        };
        for line in [
            "iris_records_consumed_total{topic=\"in\",partition=\"0\"} 2\n",
            "iris_predictions_total{predicted_class=\"b\",model_version=\"v\"} 2\n",
            &evaluated("a", "a"),
            &evaluated("a", "b"),
            &evaluated("other", "b"),
            "iris_mispredictions_total{model_version=\"v\"} 2\n",
            "iris_end_to_end_latency_seconds_bucket{le=\"0.05\"} 2\n",
            "iris_transactions_total{outcome=\"committed\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        counts.clear();
        assert_eq!(some(&counts.evaluations).count(), 0);
    }
}
