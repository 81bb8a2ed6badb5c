//! Watches predictions for drift since the champion was promoted.

use std::fmt;
use std::iter;

use iris_core::Model;

use super::distribution::FeatureDistribution;
use super::page_hinkley::PageHinkley;
use crate::settings::{OnDrift, TrainerSettings};

/// A change of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Drift {
    /// The champion's error rate has risen.
    Errors {
        /// The statistic of the Page-Hinkley test.
        rise: f64,
    },
    /// A feature's values are distributed differently than in the training rows.
    Feature {
        /// The feature's name.
        name: String,
        /// The population stability index.
        index: f64,
    },
}

impl Drift {
    /// Returns the label of this kind of drift in metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Errors { .. } => "errors",
            Self::Feature { .. } => "feature",
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors { rise } => {
                write!(
                    f,
                    "the error rate has risen: Page-Hinkley statistic {rise:.2}"
                )
            }
            Self::Feature { name, index } => write!(
                f,
                "the values of {name} are distributed differently than in the training rows: population stability index \
                 {index:.2}"
            ),
        }
    }
}

/// The detector for the champion's errors and for each feature.
#[derive(Debug)]
pub(crate) struct DriftDetector {
    errors: PageHinkley,
    distributions: Vec<FeatureDistribution>,
    /// For each feature, the predictions by bin since they were last evaluated.
    bins: Vec<Vec<u64>>,
    is_retraining_due: bool,
    found: Vec<Drift>,
}

impl DriftDetector {
    /// Continues from a stored state: the test of the errors, the counted bins of each feature, and whether drift requires
    /// a challenger. Bins that were counted for another model are reset.
    pub(crate) fn restore(
        champion: &Model,
        errors: PageHinkley,
        bins: Vec<Vec<u64>>,
        is_retraining_due: bool,
    ) -> Self {
        let mut detector = Self {
            errors,
            distributions: distributions(champion),
            bins,
            is_retraining_due,
            found: Vec::new(),
        };
        if !detector.has_matching_bins() {
            detector.reset_bins();
        }
        detector
    }

    /// Restarts with another champion.
    pub(crate) fn restart(&mut self, champion: &Model) {
        self.errors = PageHinkley::default();
        self.distributions = distributions(champion);
        self.reset_bins();
    }

    /// Returns the state of the test of the errors.
    pub(crate) fn errors(&self) -> &PageHinkley {
        &self.errors
    }

    /// Returns the predictions by bin, for each feature.
    pub(crate) fn bins(&self) -> &[Vec<u64>] {
        &self.bins
    }

    /// Whether drift requires a challenger.
    pub(crate) fn is_retraining_due(&self) -> bool {
        self.is_retraining_due
    }

    /// Notes that a challenger was trained.
    pub(crate) fn has_retrained(&mut self) {
        self.is_retraining_due = false;
    }

    /// Counts a labelled prediction of the champion.
    pub(crate) fn add_prediction(&mut self, is_error: bool, settings: &TrainerSettings) {
        let (delta, threshold) = (settings.drift_delta, settings.drift_threshold);
        if let Some(rise) = self.errors.add(is_error, delta, threshold) {
            self.report(Drift::Errors { rise }, settings);
        }
    }

    /// Counts the features of a prediction, in the order of `names`.
    pub(crate) fn add_features(
        &mut self,
        names: &[String],
        features: &[f64],
        settings: &TrainerSettings,
    ) {
        let mut counted = 0;
        for ((bins, distribution), &value) in
            iter::zip(&mut self.bins, &self.distributions).zip(features)
        {
            bins[distribution.bin(value)] += 1;
            counted = bins.iter().sum();
        }
        if counted < settings.psi_records {
            return;
        }
        for (name, index) in iter::zip(names, self.stability_indices()) {
            if index >= settings.psi_threshold {
                let name = name.clone();
                self.report(Drift::Feature { name, index }, settings);
            }
        }
        self.reset_bins();
    }

    /// Returns the population stability index of each feature over the predictions since the last evaluation.
    pub(crate) fn stability_indices(&self) -> Vec<f64> {
        iter::zip(&self.distributions, &self.bins)
            .map(|(distribution, bins)| distribution.stability_index(bins))
            .collect()
    }

    /// Takes the drift found since the last call.
    pub(crate) fn take_found(&mut self) -> Vec<Drift> {
        std::mem::take(&mut self.found)
    }

    fn report(&mut self, drift: Drift, settings: &TrainerSettings) {
        self.found.push(drift);
        self.is_retraining_due |= settings.on_drift == OnDrift::Retrain;
    }

    fn has_matching_bins(&self) -> bool {
        self.bins.len() == self.distributions.len()
            && iter::zip(&self.bins, &self.distributions)
                .all(|(bins, distribution)| bins.len() == distribution.bins())
    }

    fn reset_bins(&mut self) {
        self.bins = self
            .distributions
            .iter()
            .map(|distribution| vec![0; distribution.bins()])
            .collect();
    }
}

/// Returns the distribution of each feature over a model's training rows.
fn distributions(model: &Model) -> Vec<FeatureDistribution> {
    let rows = model.training_set();
    let width = rows.schema().features.len();
    let values = |feature| rows.features().iter().skip(feature).step_by(width).copied();
    (0..width)
        .map(|feature| FeatureDistribution::of(values(feature).collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::model;

    fn detector() -> DriftDetector {
        DriftDetector::restore(&model(0.0).model, PageHinkley::default(), Vec::new(), false)
    }

    fn settings(on_drift: OnDrift) -> TrainerSettings {
        TrainerSettings {
            psi_records: 50,
            on_drift,
            ..TrainerSettings::default()
        }
    }

    #[test]
    fn more_errors_are_drift_and_call_for_a_challenger_only_if_the_setting_says_so() {
        for (on_drift, is_due) in [(OnDrift::Log, false), (OnDrift::Retrain, true)] {
            let mut detector = detector();
            for number in 0..80 {
                detector.add_prediction(number > 40, &settings(on_drift));
            }
            let found = detector.take_found();
            assert!(!found.is_empty() && found.iter().all(|drift| drift.kind() == "errors"));
            assert_eq!(detector.is_retraining_due(), is_due);
            detector.has_retrained();
            assert!(!detector.is_retraining_due());
        }
    }

    #[test]
    fn features_are_evaluated_after_enough_predictions() {
        let mut detector = detector();
        let settings = settings(OnDrift::Log);
        for _ in 0..49 {
            detector.add_features(&["x".to_owned()], &[9.0], &settings);
        }
        assert_eq!(detector.take_found(), []);
        let before = detector.stability_indices()[0];
        detector.add_features(&["x".to_owned()], &[9.0], &settings);
        let found = detector.take_found();
        assert!(
            matches!(&found[..], [Drift::Feature { name, index }] if name == "x" && *index > before * 0.9),
            "{found:?}"
        );
        assert_eq!(detector.bins()[0].iter().sum::<u64>(), 0);
    }

    #[test]
    fn stored_bins_are_used_only_if_they_match_the_champion() {
        let champion = model(0.0);
        let restore = |bins| {
            let errors = PageHinkley::default();
            DriftDetector::restore(&champion.model, errors, bins, true)
        };
        let bins = vec![vec![3; detector().bins()[0].len()]];
        let restored = restore(bins.clone());
        assert_eq!(restored.bins(), bins);
        assert!(restored.is_retraining_due());
        for other in [vec![], vec![vec![3]], [bins.clone(), bins].concat()] {
            assert_eq!(restore(other).bins(), detector().bins());
        }
    }

    #[test]
    fn another_champion_restarts_the_tests() {
        let mut detector = detector();
        detector.add_prediction(true, &settings(OnDrift::Log));
        detector.add_features(&["x".to_owned()], &[1.0], &settings(OnDrift::Log));
        detector.restart(&model(1.0).model);
        assert_eq!(detector.errors(), &PageHinkley::default());
        assert_eq!(detector.bins()[0].iter().sum::<u64>(), 0);
    }

    #[test]
    fn drift_is_described_with_its_statistic() {
        let name = "x".to_owned();
        for (drift, expected) in [
            (
                Drift::Errors { rise: 5.125 },
                "the error rate has risen: Page-Hinkley statistic 5.12",
            ),
            (
                Drift::Feature { name, index: 0.5 },
                "the values of x are distributed differently than in the training rows: population stability index 0.50",
            ),
        ] {
            assert_eq!(drift.to_string(), expected);
        }
    }
}
