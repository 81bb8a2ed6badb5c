//! The classifier's metrics. They are updated once per transaction, when it is committed, so that a record costs nothing.

use std::time::Duration;

use iris_contract::OTHER_CLASS;
use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::counts::Counts;
use crate::latency::Latencies;

/// The labels of consumed records.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: i32,
}

/// The labels of predictions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PredictionLabels {
    predicted_class: String,
    model_version: String,
}

/// The labels of evaluated predictions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvaluationLabels {
    actual_class: String,
    predicted_class: String,
    model_version: String,
}

/// The labels of figures of one model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model_version: String,
}

/// The labels of dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The labels of transactions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// The labels of aborted transactions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// The metrics of all workers.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The lag of the workers.
    pub(crate) lag: LagMetrics,
    consumed: Family<PartitionLabels, Counter>,
    predictions: Family<PredictionLabels, Counter>,
    evaluations: Family<EvaluationLabels, Counter>,
    mispredictions: Family<ModelLabels, Counter>,
    latency: Latencies,
    dead_letters: Family<ReasonLabels, Counter>,
    transactions: Family<OutcomeLabels, Counter>,
    aborts: Family<CauseLabels, Counter>,
    transaction_duration: Histogram,
    activated: Family<ModelLabels, Gauge>,
}

impl Metrics {
    /// Registers all metrics with the service.
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
        metrics.register_counters(&mut service.metrics());
        metrics.register_others(&mut service.metrics());
        metrics
    }

    /// Registers the counters. Their exposed names end in `_total`.
    fn register_counters(&self, registry: &mut Registry) {
        registry.register(
            "records_consumed",
            "Records with a committed outcome",
            self.consumed.clone(),
        );
        registry.register(
            "predictions",
            "Committed predictions",
            self.predictions.clone(),
        );
        registry.register(
            "evaluations",
            "Committed predictions of labelled records by the label's class and the predicted class",
            self.evaluations.clone(),
        );
        registry.register(
            "mispredictions",
            "Committed predictions that differ from their record's label",
            self.mispredictions.clone(),
        );
        registry.register(
            "dead_letters",
            "Dead-lettered records by reason",
            self.dead_letters.clone(),
        );
        registry.register(
            "transactions",
            "Transactions by outcome",
            self.transactions.clone(),
        );
        registry.register(
            "transaction_aborts",
            "Aborted transactions by cause",
            self.aborts.clone(),
        );
    }

    /// Registers the lag, the histograms and the gauges.
    fn register_others(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.lag.clone()));
        registry.register_collector(Box::new(iris_kafka::CertificateExpiry));
        registry.register_with_unit(
            "end_to_end_latency",
            "Time from a record's creation to the commit of its outcome",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register_with_unit(
            "transaction_duration",
            "Duration of the commits of transactions",
            Unit::Seconds,
            self.transaction_duration.clone(),
        );
        registry.register_with_unit(
            "model_activated_timestamp",
            "Unix time since which the current model has been served",
            Unit::Seconds,
            self.activated.clone(),
        );
    }

    /// Counts a transaction that was committed at `now`, in milliseconds since the epoch; its commit took `duration`.
    pub(crate) fn committed<'a>(
        &self,
        topic: &str,
        model_version: &str,
        class_name: impl Fn(usize) -> &'a str,
        counts: &Counts,
        now: i64,
        duration: Duration,
    ) {
        for (partition, progress) in counts.partitions() {
            self.consumed
                .get_or_create(&PartitionLabels {
                    topic: topic.to_owned(),
                    partition,
                })
                .inc_by(progress.records);
            if let Some(reached) = progress.reached {
                self.lag.reached(topic, partition, reached);
            }
        }
        for (class, count) in counts.predictions() {
            let predicted_class = class_name(class).to_owned();
            let predicted = PredictionLabels {
                predicted_class,
                model_version: model_version.to_owned(),
            };
            self.predictions.get_or_create(&predicted).inc_by(count);
        }
        let mispredictions = self.mispredictions.get_or_create_owned(&ModelLabels {
            model_version: model_version.to_owned(),
        });
        for (actual, predicted, count) in counts.evaluations() {
            if actual != Some(predicted) {
                mispredictions.inc_by(count);
            }
            let evaluated = EvaluationLabels {
                actual_class: actual.map_or(OTHER_CLASS, &class_name).to_owned(),
                predicted_class: class_name(predicted).to_owned(),
                model_version: model_version.to_owned(),
            };
            self.evaluations.get_or_create(&evaluated).inc_by(count);
        }
        self.latency.add(counts.created(), now);
        for (reason, count) in counts.dead_letters() {
            self.dead_letters
                .get_or_create(&ReasonLabels { reason })
                .inc_by(count);
        }
        self.transactions
            .get_or_create(&OutcomeLabels {
                outcome: "committed",
            })
            .inc();
        self.transaction_duration.observe(duration.as_secs_f64());
    }

    /// Notes that a worker serves a model from `now` on, in milliseconds since the epoch. Only the first worker to serve it
    /// counts.
    pub(crate) fn activated(&self, model_version: &str, now: i64) {
        let version = ModelLabels {
            model_version: model_version.to_owned(),
        };
        if self.activated.get(&version).is_none() {
            self.activated.clear();
            self.activated.get_or_create(&version).set(now / 1_000);
        }
    }

    /// Counts an aborted transaction by the kind of its fault.
    pub(crate) fn aborted(&self, cause: &'static str) {
        self.aborts.get_or_create(&CauseLabels { cause }).inc();
        self.transactions
            .get_or_create(&OutcomeLabels { outcome: "aborted" })
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::counts::tests::counted;

    #[test]
    fn a_transaction_is_counted_when_it_is_committed() {
        let service = Service::detached("test");
        let metrics = Metrics::register(&service);
        let counts = counted();
        let class_name = |class| ["a", "b"][class];
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
            "iris_dead_letters_total{reason=\"not_json\"} 1\n",
            "iris_end_to_end_latency_seconds_bucket{le=\"0.05\"} 2\n",
            "iris_transactions_total{outcome=\"committed\"} 1\n",
            "iris_transaction_aborts_total{cause=\"lost\"} 1\n",
            "iris_model_activated_timestamp_seconds{model_version=\"w\"} 2\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
