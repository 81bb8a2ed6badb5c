//! The metrics of the loop as a whole, beside its baselines.

use std::sync::atomic::AtomicU64;

use iris_contract::{BaselineScores, LoopFigures, Scores, SpanFigures};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The predictor whose scores are measured, and the labelled records that they are measured on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Predictor {
    predictor: &'static str,
    span: &'static str,
}

/// The baseline that the loop is compared with, and the labelled records that both predicted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Baseline {
    baseline: &'static str,
    span: &'static str,
}

type Figure = Gauge<f64, AtomicU64>;

const LOOP: &str = "loop";
const NEVER_LEARNING: &str = "never_learning";
const NO_CHANGE: &str = "no_change";

/// The metrics of the loop. A score that is undefined has no series.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoopMetrics {
    records: Family<Predictor, Gauge>,
    accuracy: Family<Predictor, Figure>,
    kappa: Family<Predictor, Figure>,
    balanced_accuracy: Family<Predictor, Figure>,
    lead: Family<Baseline, Figure>,
    standard_error: Family<Baseline, Figure>,
}

impl LoopMetrics {
    /// Registers all metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "loop_records",
            "Labelled records that were predicted by the loop or a baseline, in total or in the window",
            self.records.clone(),
        );
        for (name, help, figures) in [
            (
                "loop_accuracy_ratio",
                "Ratio of correct predictions of the loop, whichever model version it served, and of its baselines",
                &self.accuracy,
            ),
            (
                "loop_kappa",
                "Cohen's kappa of the predictions of the loop and of its baselines",
                &self.kappa,
            ),
            (
                "loop_balanced_accuracy_ratio",
                "Mean of each class's ratio of correct predictions, of the loop and of its baselines",
                &self.balanced_accuracy,
            ),
        ] {
            registry.register(name, help, figures.clone());
        }
        registry.register(
            "loop_lead_ratio",
            "Accuracy of the loop minus that of a baseline on the same records; negative if the baseline is more accurate",
            self.lead.clone(),
        );
        registry.register(
            "loop_lead_standard_error_ratio",
            "Standard error of the lead; a lead within two of them is sampling noise",
            self.standard_error.clone(),
        );
    }

    /// Sets all metrics.
    pub(crate) fn set(&self, figures: &LoopFigures) {
        self.clear();
        for (span, figures) in [("total", &figures.total), ("window", &figures.window)] {
            let SpanFigures {
                scores,
                never_learning,
                no_change,
            } = figures;
            self.set_scores(LOOP, span, scores);
            for (baseline, scores) in [(NEVER_LEARNING, never_learning), (NO_CHANGE, no_change)] {
                if let Some(scores) = scores {
                    self.set_baseline(baseline, span, scores);
                }
            }
        }
    }

    /// Removes all series, because some may have become undefined.
    fn clear(&self) {
        self.records.clear();
        for family in [&self.accuracy, &self.kappa, &self.balanced_accuracy] {
            family.clear();
        }
        for family in [&self.lead, &self.standard_error] {
            family.clear();
        }
    }

    fn set_scores(&self, predictor: &'static str, span: &'static str, scores: &Scores) {
        let labels = Predictor { predictor, span };
        let records = i64::try_from(scores.records).unwrap_or(i64::MAX);
        self.records.get_or_create(&labels).set(records);
        for (family, score) in [
            (&self.accuracy, scores.accuracy),
            (&self.kappa, scores.kappa),
            (&self.balanced_accuracy, scores.balanced_accuracy),
        ] {
            if let Some(score) = score {
                family.get_or_create(&labels).set(score);
            }
        }
    }

    fn set_baseline(&self, baseline: &'static str, span: &'static str, scores: &BaselineScores) {
        self.set_scores(baseline, span, &scores.scores);
        if let Some(lead) = scores.lead() {
            let labels = Baseline { baseline, span };
            self.lead.get_or_create(&labels).set(lead);
            let standard_error = scores.standard_error;
            self.standard_error
                .get_or_create(&labels)
                .set(standard_error);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn lines(metrics: &LoopMetrics) -> Vec<String> {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn each_predictor_has_its_scores_and_each_baseline_the_lead_over_it() {
        let scores = |accuracy| Scores {
            records: 4,
            accuracy: Some(accuracy),
            kappa: None,
            balanced_accuracy: Some(0.25),
        };
        let baseline = BaselineScores {
            scores: scores(0.75),
            loop_accuracy: Some(0.5),
            standard_error: 0.125,
        };
        let span = SpanFigures {
            scores: scores(0.5),
            never_learning: Some(baseline),
            no_change: None,
        };
        let figures = LoopFigures {
            total: span,
            ..LoopFigures::default()
        };
        let metrics = LoopMetrics::default();
        metrics.set(&figures);
        let found = lines(&metrics);
        for line in [
            "loop_records{predictor=\"loop\",span=\"total\"} 4",
            "loop_records{predictor=\"loop\",span=\"window\"} 0",
            "loop_accuracy_ratio{predictor=\"loop\",span=\"total\"} 0.5",
            "loop_accuracy_ratio{predictor=\"never_learning\",span=\"total\"} 0.75",
            "loop_balanced_accuracy_ratio{predictor=\"loop\",span=\"total\"} 0.25",
            "loop_lead_ratio{baseline=\"never_learning\",span=\"total\"} -0.25",
            "loop_lead_standard_error_ratio{baseline=\"never_learning\",span=\"total\"} 0.125",
        ] {
            assert!(
                found.iter().any(|found| found == line),
                "{line}: {found:#?}"
            );
        }
        let undefined =
            |line: &String| line.starts_with("loop_kappa") || line.contains("no_change");
        assert!(!found.iter().any(undefined), "{found:#?}");

        metrics.set(&LoopFigures::default());
        assert_eq!(lines(&metrics).len(), 2, "the numbers of records");
    }
}
