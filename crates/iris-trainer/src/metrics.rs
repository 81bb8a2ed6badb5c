//! The trainer's metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iris_contract::LoopFigures;
use iris_core::Confusion;
use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::drift::Drift;
use crate::evaluation::Evaluation;
use crate::learner::Learner;
use crate::loop_metrics::LoopMetrics;
use crate::outcome::Outcome;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unusable {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    model_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cell {
    model_version: String,
    actual_class: String,
    predicted_class: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Feature {
    feature: String,
    method: &'static str,
}

/// The method that a feature's drift score is computed with: the population stability index.
const METHOD: &str = "psi";

/// The label of the model versions that have no figures of their own any more.
const EARLIER_VERSIONS: &str = "earlier";

/// The ratio of records that are taken.
#[derive(Clone, Debug)]
struct SampleRatio(Figure);

impl Default for SampleRatio {
    fn default() -> Self {
        let ratio = Figure::default();
        ratio.set(1.0);
        Self(ratio)
    }
}

/// The duration of decisions: buckets from 1 ms to 8 s.
#[derive(Clone, Debug)]
struct DecisionDuration(Histogram);

impl Default for DecisionDuration {
    fn default() -> Self {
        Self(Histogram::new(exponential_buckets(0.001, 2.0, 14)))
    }
}

type Figure = Gauge<f64, AtomicU64>;

/// The metrics of the trainer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// The lag behind the topics' ends.
    pub(crate) lag: LagMetrics,
    read: Family<Kind, Counter>,
    unusable: Family<Unusable, Counter>,
    left_out: Family<Kind, Counter>,
    sample_ratio: SampleRatio,
    suspect_keys: Family<Reason, Counter>,
    late_feedback: Counter,
    decision_duration: DecisionDuration,
    drift: Family<Kind, Counter>,
    decisions: Family<Kind, Counter>,
    expired: Family<Kind, Counter>,
    accuracy: Family<Version, Figure>,
    kappa: Family<Version, Figure>,
    answers: Family<Cell, Gauge>,
    drift_scores: Family<Feature, Figure>,
    of_loop: LoopMetrics,
}

impl Metrics {
    /// Registers all metrics with the service.
    pub(crate) fn register(service: &Service) -> Self {
        let metrics = Self::default();
        let mut registry = service.metrics();
        registry.register_collector(Box::new(metrics.lag.clone()));
        registry.register_collector(Box::new(iris_kafka::CertificateExpiry));
        metrics.register_counters(&mut registry);
        metrics.register_gauges(&mut registry);
        drop(registry);
        metrics
    }

    fn register_counters(&self, registry: &mut Registry) {
        for (name, help, counters) in [
            ("trainer_records_read", "Records read, by kind", &self.read),
            (
                "trainer_records_left_out",
                "Records left out because the stream was faster than the trainer, by kind",
                &self.left_out,
            ),
            (
                "drift_events",
                "Changes of the stream that were detected, by kind",
                &self.drift,
            ),
            (
                "model_decisions",
                "Decisions about models, by kind",
                &self.decisions,
            ),
            (
                "join_expired",
                "Predictions and labels that expired before they were joined, by kind",
                &self.expired,
            ),
        ] {
            registry.register(name, help, counters.clone());
        }
        registry.register(
            "trainer_records_unusable",
            "Records skipped because they cannot be used, by kind and reason",
            self.unusable.clone(),
        );
        registry.register(
            "label_keys_suspect",
            "Labels whose key is probably not the id that was meant, by reason; they are joined by the key as it is",
            self.suspect_keys.clone(),
        );
        registry.register(
            "late_feedback",
            "Mispredictions whose label came late, written as feedback",
            self.late_feedback.clone(),
        );
        registry.register_with_unit(
            "model_decision_duration",
            "Time from when a decision about a model was due until it was committed",
            Unit::Seconds,
            self.decision_duration.0.clone(),
        );
    }

    fn register_gauges(&self, registry: &mut Registry) {
        registry.register(
            "trainer_sample_ratio",
            "Ratio of records that are taken: less than 1 while the stream is faster than the trainer",
            self.sample_ratio.0.clone(),
        );
        registry.register(
            "prequential_accuracy_ratio",
            "Ratio of correct predictions to labelled predictions, by model version",
            self.accuracy.clone(),
        );
        registry.register(
            "prequential_kappa",
            "Cohen's kappa of the labelled predictions, by model version",
            self.kappa.clone(),
        );
        registry.register(
            "labelled_answers",
            "Labelled predictions by model version, actual class and predicted class",
            self.answers.clone(),
        );
        registry.register(
            "drift_score",
            "Difference between a feature's recent values and the training rows, by feature and method",
            self.drift_scores.clone(),
        );
        self.of_loop.register(registry);
    }

    /// Counts a record that was read.
    pub(crate) fn read(&self, kind: &'static str) {
        self.read.get_or_create(&Kind { kind }).inc();
    }

    /// Counts a record that was skipped.
    pub(crate) fn unusable(&self, kind: &'static str, reason: &'static str) {
        let labels = Unusable { kind, reason };
        self.unusable.get_or_create(&labels).inc();
    }

    /// Counts a record that was left out of the sample.
    pub(crate) fn left_out(&self, kind: &'static str) {
        self.left_out.get_or_create(&Kind { kind }).inc();
    }

    /// Sets the ratio of records that are taken.
    pub(crate) fn sample(&self, ratio: f64) {
        self.sample_ratio.0.set(ratio);
    }

    /// Counts a label whose key is probably not the id that was meant.
    pub(crate) fn suspect_key(&self, reason: &'static str) {
        self.suspect_keys.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a drift.
    pub(crate) fn drift(&self, drift: &Drift) {
        let kind = drift.kind();
        self.drift.get_or_create(&Kind { kind }).inc();
    }

    /// Counts a decision, and the time from when it was due until it was committed.
    pub(crate) fn decided(&self, outcome: &Outcome, duration: Duration) {
        self.decision_duration.0.observe(duration.as_secs_f64());
        if let Some(kind) = outcome.kind() {
            self.decisions.get_or_create(&Kind { kind }).inc();
        }
    }

    /// Updates the metrics of the learner after a commit that wrote `late_feedback` feedback records.
    pub(crate) fn committed(&self, learner: &Learner, figures: &LoopFigures, late_feedback: usize) {
        self.late_feedback.inc_by(late_feedback as u64);
        let expired = learner.expired();
        for (kind, count) in [
            ("prediction", expired.predictions),
            ("label", expired.labels),
        ] {
            let expired = self.expired.get_or_create(&Kind { kind });
            expired.inner().store(count, Ordering::Relaxed);
        }
        for (feature, index) in learner.stability_indices() {
            let labels = Feature {
                feature: feature.to_owned(),
                method: METHOD,
            };
            self.drift_scores.get_or_create(&labels).set(index);
        }
        self.of_loop.set(figures);
        self.evaluated(learner.evaluation());
    }

    fn evaluated(&self, evaluation: &Evaluation) {
        // Cells and versions may have disappeared.
        self.answers.clear();
        self.accuracy.clear();
        self.kappa.clear();
        for (version, confusion) in evaluation.versions() {
            let model_version = version.map_or_else(String::new, |version| version.to_string());
            self.evaluated_version(&model_version, confusion);
        }
        self.evaluated_version(EARLIER_VERSIONS, evaluation.earlier_versions());
    }

    fn evaluated_version(&self, model_version: &str, confusion: &Confusion) {
        let labels = Version {
            model_version: model_version.to_owned(),
        };
        if let Some(accuracy) = confusion.accuracy() {
            self.accuracy.get_or_create(&labels).set(accuracy);
        }
        if let Some(kappa) = confusion.kappa() {
            self.kappa.get_or_create(&labels).set(kappa);
        }
        for (actual_class, predicted_class, count) in confusion.cells() {
            let cell = Cell {
                model_version: model_version.to_owned(),
                actual_class: actual_class.to_owned(),
                predicted_class: predicted_class.to_owned(),
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.answers.get_or_create(&cell).set(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::example::{label, learner, predict};

    #[test]
    fn counters_end_in_total_and_every_metric_has_its_labels() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register_counters(&mut registry);
        metrics.register_gauges(&mut registry);
        let mut learner = learner(|settings| settings.max_join_records = 2);
        for offset in 0..3 {
            predict(&mut learner, offset, 1.0, None);
        }
        label(&mut learner, 2, Some("a"), 3);
        metrics.read("label");
        metrics.unusable("label", "no_key");
        metrics.left_out("label");
        metrics.suspect_key("key_in_quotes");
        metrics.drift(&Drift::Errors {
            before: 0.05,
            after: 0.95,
            records: 12,
        });
        metrics.committed(&learner, &learner.evaluation().figures(), 1);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let version = learner.champion().model.version();
        for line in [
            "trainer_records_read_total{kind=\"label\"} 1".to_owned(),
            "trainer_records_unusable_total{kind=\"label\",reason=\"no_key\"} 1".to_owned(),
            "trainer_records_left_out_total{kind=\"label\"} 1".to_owned(),
            "trainer_sample_ratio 1.0".to_owned(),
            "label_keys_suspect_total{reason=\"key_in_quotes\"} 1".to_owned(),
            "drift_events_total{kind=\"errors\"} 1".to_owned(),
            "join_expired_total{kind=\"prediction\"} 1".to_owned(),
            "late_feedback_total 1".to_owned(),
            "loop_records{predictor=\"loop\",span=\"total\"} 1".to_owned(),
            format!("prequential_accuracy_ratio{{model_version=\"{version}\"}} 0.0"),
            format!(
                "labelled_answers{{model_version=\"{version}\",actual_class=\"a\",predicted_class=\"b\"}} 1"
            ),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("drift_score{feature=\"x\",method=\"psi\"} "));
    }
}
