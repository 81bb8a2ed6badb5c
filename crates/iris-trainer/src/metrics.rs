//! What the trainer counts, and how good it finds the answers.

use std::sync::atomic::AtomicU64;

use iris_kafka::LagMetrics;
use iris_service::Service;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::decision::Outcome;
use crate::learner::{Drift, Learner};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
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

/// How features are looked at: by the population stability index.
const METHOD: &str = "psi";

type Figure = Gauge<f64, AtomicU64>;

/// The metrics of the trainer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// How far behind the trainer is.
    pub(crate) lag: LagMetrics,
    read: Family<Kind, Counter>,
    unusable: Family<Kind, Counter>,
    late_feedback: Counter,
    drift: Family<Kind, Counter>,
    decisions: Family<Kind, Counter>,
    expired: Family<Kind, Gauge>,
    accuracy: Family<Version, Figure>,
    kappa: Family<Version, Figure>,
    answers: Family<Cell, Gauge>,
    drift_scores: Family<Feature, Figure>,
}

impl Metrics {
    pub(crate) fn register(service: &Service) -> Self {
        let metrics = Self::default();
        let mut registry = service.metrics();
        registry.register_collector(Box::new(metrics.lag.clone()));
        registry.register(
            "trainer_records_read",
            "Records taken in, by kind",
            metrics.read.clone(),
        );
        registry.register(
            "trainer_records_unusable",
            "Records that mean nothing, by kind",
            metrics.unusable.clone(),
        );
        registry.register(
            "late_feedback",
            "Mispredictions whose label came late, written as feedback",
            metrics.late_feedback.clone(),
        );
        registry.register(
            "drift_events",
            "Signs that the stream has changed, by kind",
            metrics.drift.clone(),
        );
        registry.register(
            "model_decisions",
            "Decisions about models, by kind",
            metrics.decisions.clone(),
        );
        registry.register(
            "join_expired",
            "Predictions and labels that left before they were joined",
            metrics.expired.clone(),
        );
        registry.register(
            "prequential_accuracy_ratio",
            "The share of right answers among those with a label",
            metrics.accuracy.clone(),
        );
        registry.register(
            "prequential_kappa",
            "Cohen's kappa of the answers with a label",
            metrics.kappa.clone(),
        );
        registry.register(
            "labelled_answers",
            "Answers with a label, by the class that it says and the predicted one",
            metrics.answers.clone(),
        );
        registry.register(
            "drift_score",
            "How differently a feature's values spread than the training rows', over the predictions since it was last judged",
            metrics.drift_scores.clone(),
        );
        drop(registry);
        metrics
    }

    pub(crate) fn read(&self, kind: &'static str) {
        self.read.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn unusable(&self, kind: &'static str) {
        self.unusable.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn drift(&self, drift: &Drift) {
        let kind = match drift {
            Drift::Errors { .. } => "errors",
            Drift::Feature { .. } => "feature",
        };
        self.drift.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn decided(&self, outcome: &Outcome) {
        if let Some(kind) = outcome.kind() {
            self.decisions.get_or_create(&Kind { kind }).inc();
        }
    }

    /// After a commit, with the feedback that it had.
    pub(crate) fn committed(&self, learner: &Learner, late_feedback: usize) {
        self.late_feedback.inc_by(late_feedback as u64);
        let expired = learner.expired();
        for (kind, count) in [
            ("prediction", expired.predictions),
            ("label", expired.labels),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.expired.get_or_create(&Kind { kind }).set(count);
        }
        for (feature, index) in learner.stability_indices() {
            let method = METHOD;
            self.drift_scores
                .get_or_create(&Feature { feature, method })
                .set(index);
        }
        // Cells and versions may have gone.
        self.answers.clear();
        self.accuracy.clear();
        self.kappa.clear();
        for (version, confusion) in learner.evaluation().versions() {
            let model_version = version.map_or_else(String::new, |version| version.to_string());
            let labels = Version {
                model_version: model_version.clone(),
            };
            if let Some(accuracy) = confusion.accuracy() {
                self.accuracy.get_or_create(&labels).set(accuracy);
            }
            if let Some(kappa) = confusion.kappa() {
                self.kappa.get_or_create(&labels).set(kappa);
            }
            for (actual_class, predicted_class, count) in confusion.cells() {
                let cell = Cell {
                    model_version: model_version.clone(),
                    actual_class: actual_class.to_owned(),
                    predicted_class: predicted_class.to_owned(),
                };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.answers.get_or_create(&cell).set(count);
            }
        }
    }
}
