//! What the classifier counts. Counted a transaction at a time, when it is committed, so that a record costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_core::{Confusion, ModelVersion, OTHER_CLASS, PartitionProgress, TransactionSummary};
use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Unit;

use crate::latency::{self, Latencies};

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

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
    aborts: Family<Cause, Counter>,
    transaction_duration: Histogram,
    activated: Family<Version, Gauge>,
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
    /// The offset after the last record's.
    next_offset: i64,
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
    pub(crate) fn read(&mut self, partition: i32, offset: i64, created: Option<i64>) {
        let progress = self.partitions.entry(partition).or_default();
        progress.records += 1;
        progress.next_offset = offset + 1;
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

    /// What these counts say to others, if their transaction ends at `now`, in milliseconds since the epoch.
    pub(crate) fn summary<'a>(
        &self,
        group: &str,
        model_version: ModelVersion,
        class_name: impl Fn(usize) -> &'a str,
        now: i64,
    ) -> TransactionSummary {
        let mut evaluations = Confusion::default();
        for (actual, predicted, count) in self.matrix() {
            let actual = actual.map_or(OTHER_CLASS, &class_name);
            evaluations.add_many(actual, class_name(predicted), count);
        }
        let progress = |(&partition, progress): (&i32, &Progress)| {
            let told = PartitionProgress {
                records: progress.records,
                next_offset: progress.next_offset,
            };
            (partition, told)
        };
        TransactionSummary {
            group: group.to_owned(),
            model_version,
            partitions: self.partitions.iter().map(progress).collect(),
            predictions: some(&self.predictions)
                .map(|(class, &count)| (class_name(class).to_owned(), count))
                .collect(),
            evaluations,
            dead_letters: self
                .dead_letters
                .iter()
                .map(|(&reason, &count)| (reason.to_owned(), count))
                .collect(),
            latency_ms: latency::by_bound(&self.created, now),
        }
    }

    /// The cells of the confusion matrix that are not 0: the label's class, if it is one, the predicted one, the count.
    fn matrix(&self) -> impl Iterator<Item = (Option<usize>, usize, u64)> {
        some(&self.evaluations).map(|(cell, &count)| {
            let (actual, predicted) = (cell / self.classes, cell % self.classes);
            ((actual < self.classes).then_some(actual), predicted, count)
        })
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
            aborts: Family::default(),
            transaction_duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            activated: Family::default(),
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
        registry.register(
            "transaction_aborts",
            "Transactions that came to nothing, by what had to follow",
            metrics.aborts.clone(),
        );
        registry.register_with_unit(
            "transaction_duration",
            "How long committing a transaction took",
            Unit::Seconds,
            metrics.transaction_duration.clone(),
        );
        registry.register_with_unit(
            "model_activated_timestamp",
            "Since when the model is served that is served",
            Unit::Seconds,
            metrics.activated.clone(),
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
        for (actual, predicted, count) in counts.matrix() {
            if actual != Some(predicted) {
                mispredictions.inc_by(count);
            }
            let evaluated = Evaluated {
                actual_class: actual.map_or(OTHER_CLASS, &class_name).to_owned(),
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

    /// A worker serves a model from `now` on, in milliseconds since the epoch. The first worker to do so counts.
    pub(crate) fn activated(&self, model_version: &str, now: i64) {
        let version = Version {
            model_version: model_version.to_owned(),
        };
        if self.activated.get(&version).is_none() {
            self.activated.clear();
            self.activated.get_or_create(&version).set(now / 1_000);
        }
    }

    /// A transaction that came to nothing, by the kind of fault.
    pub(crate) fn aborted(&self, cause: &'static str) {
        self.aborts.get_or_create(&Cause { cause }).inc();
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
        for (partition, offset, created) in
            [(0, 7, Some(1_000)), (0, 8, Some(1_000)), (3, 30, None)]
        {
            counts.read(partition, offset, created);
        }
        for (actual, predicted) in [(Some(0), 0), (Some(0), 1), (None, 1)] {
            counts.predicted(predicted);
            counts.evaluated(actual, predicted);
        }
        counts.buried("not_json");
        let class_name = |class| ["a", "b"][class];
        let version = "00c0ffee00c0ffee".parse().unwrap();
        let summary = counts.summary("group", version, class_name, 1_030);
        insta::assert_snapshot!(serde_json::to_string(&summary).unwrap(), @r#"{"group":"group","model_version":"00c0ffee00c0ffee","partitions":{"0":{"records":2,"next_offset":9},"3":{"records":1,"next_offset":31}},"predictions":{"a":1,"b":2},"evaluations":{"a":{"a":1,"b":1},"other":{"b":1}},"dead_letters":{"not_json":1},"latency_ms":{"50":2}}"#);
        metrics.committed("in", "v", class_name, &counts, 1_030, Duration::ZERO);
        metrics.aborted("lost");
        metrics.activated("v", 1_000);
        metrics.activated("w", 2_000);
        metrics.activated("w", 3_000);
        let mut text = String::new();
        encode(&mut text, &service.metrics()).unwrap();
        assert!(!text.contains("timestamp_seconds{model_version=\"v\"}"));
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
            "iris_transaction_aborts_total{cause=\"lost\"} 1\n",
            "iris_model_activated_timestamp_seconds{model_version=\"w\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        counts.clear();
        assert_eq!(some(&counts.evaluations).count(), 0);
    }
}
