//! Watches predictions for drift: their errors, and the values of each feature.

use std::fmt;

use iris_core::Model;
use serde::{Deserialize, Serialize};

use super::distribution::FeatureDistribution;
use super::error_window::{ErrorWindow, RateChange};
use crate::settings::{OnDrift, TrainerSettings};

/// The maximum probability of a false alarm of one comparison of all features.
const MAX_LEVEL: f64 = 0.05;

/// A change of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Drift {
    /// The error rate of the served models has risen.
    Errors {
        /// The error rate before the change.
        before: f64,
        /// The error rate since the change.
        after: f64,
        /// The number of newest labelled records since the change, in the order in which they were labelled.
        records: u64,
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

impl From<RateChange> for Drift {
    fn from(change: RateChange) -> Self {
        Self::Errors {
            before: change.before,
            after: change.after,
            records: change.records,
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors {
                before,
                after,
                records,
            } => write!(
                f,
                "the error rate has risen from {before:.2} to {after:.2} over the newest {records} labelled records"
            ),
            Self::Feature { name, index } => write!(
                f,
                "the values of {name} are distributed differently than in the training rows: population stability index \
                 {index:.2}"
            ),
        }
    }
}

/// A feature whose values are compared with those of the training rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WatchedFeature {
    distribution: FeatureDistribution,
    /// Whether the latest comparison found drift.
    has_drifted: bool,
}

/// The detector for the errors and for each feature. It continues when the champion changes: errors are those of the
/// predictions as they were served, and a comparison of features ends with the training rows that it began with.
#[derive(Debug)]
pub(crate) struct DriftDetector {
    errors: ErrorWindow,
    features: Vec<WatchedFeature>,
    is_retraining_due: bool,
    found: Vec<Drift>,
}

impl DriftDetector {
    /// Continues from a stored state: the window of errors, the features, and whether drift requires a challenger. Features
    /// that do not match the champion's are replaced.
    pub(crate) fn restore(
        champion: &Model,
        errors: ErrorWindow,
        features: Vec<WatchedFeature>,
        is_retraining_due: bool,
    ) -> Self {
        let is_complete = |feature: &WatchedFeature| feature.distribution.is_complete();
        let is_usable = features.len() == names(champion).len() && features.iter().all(is_complete);
        let watch = |distribution| WatchedFeature {
            distribution,
            has_drifted: false,
        };
        Self {
            errors,
            features: if is_usable {
                features
            } else {
                distributions(champion).map(watch).collect()
            },
            is_retraining_due,
            found: Vec::new(),
        }
    }

    /// Returns the window of errors.
    pub(crate) fn errors(&self) -> &ErrorWindow {
        &self.errors
    }

    /// Returns the features.
    pub(crate) fn features(&self) -> &[WatchedFeature] {
        &self.features
    }

    /// Whether drift requires a challenger.
    pub(crate) fn is_retraining_due(&self) -> bool {
        self.is_retraining_due
    }

    /// Notes that a challenger was trained.
    pub(crate) fn has_retrained(&mut self) {
        self.is_retraining_due = false;
    }

    /// Counts a labelled prediction, whichever model made it. If the error rate has risen and that is reason to retrain, returns
    /// the number of newest labelled records since then; this one is the last.
    pub(crate) fn add_prediction(
        &mut self,
        is_error: bool,
        settings: &TrainerSettings,
    ) -> Option<u64> {
        let change = self
            .errors
            .add(is_error, settings.drift_false_alarm_records);
        let rise = change.filter(RateChange::is_rise)?;
        let records = rise.records;
        self.report(rise.into(), settings);
        (settings.on_drift == OnDrift::Retrain).then_some(records)
    }

    /// Counts the features of a prediction. After enough predictions, compares them with the training rows and continues
    /// with those of the present champion. A feature is reported when it starts to differ.
    pub(crate) fn add_features(
        &mut self,
        champion: &Model,
        features: &[f64],
        settings: &TrainerSettings,
    ) {
        for (feature, &value) in self.features.iter_mut().zip(features) {
            feature.distribution.add(value);
        }
        let first = self.features.first();
        if first.is_none_or(|first| first.distribution.predictions() < settings.psi_records) {
            return;
        }
        let level = settings.psi_records as f64 / settings.drift_false_alarm_records as f64;
        let level = level.min(MAX_LEVEL) / self.features.len() as f64;
        let mut found = Vec::new();
        for ((feature, name), next) in self
            .features
            .iter_mut()
            .zip(names(champion))
            .zip(distributions(champion))
        {
            let index = feature.distribution.stability_index();
            let has_drifted =
                index >= settings.psi_threshold && feature.distribution.p_value() < level;
            if has_drifted && !feature.has_drifted {
                let name = name.clone();
                found.push(Drift::Feature { name, index });
            }
            *feature = WatchedFeature {
                distribution: next,
                has_drifted,
            };
        }
        for drift in found {
            self.report(drift, settings);
        }
    }

    /// Returns the population stability index of each feature over the predictions since the latest comparison.
    pub(crate) fn stability_indices(&self) -> impl Iterator<Item = f64> {
        self.features
            .iter()
            .map(|feature| feature.distribution.stability_index())
    }

    /// Takes the drift found since the last call.
    pub(crate) fn take_found(&mut self) -> Vec<Drift> {
        std::mem::take(&mut self.found)
    }

    fn report(&mut self, drift: Drift, settings: &TrainerSettings) {
        self.found.push(drift);
        self.is_retraining_due |= settings.on_drift == OnDrift::Retrain;
    }
}

/// Returns the names of a model's features.
fn names(model: &Model) -> &[String] {
    &model.training_set().schema().features
}

/// Returns the distribution of each feature over a model's training rows.
fn distributions(model: &Model) -> impl Iterator<Item = FeatureDistribution> {
    let (rows, width) = (model.training_set().features(), names(model).len());
    (0..width).map(move |feature| {
        let values = rows.iter().skip(feature).step_by(width).copied();
        FeatureDistribution::of(values.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::model;

    fn detector() -> DriftDetector {
        DriftDetector::restore(&model(0.0).model, ErrorWindow::default(), Vec::new(), false)
    }

    fn settings(on_drift: OnDrift) -> TrainerSettings {
        TrainerSettings {
            psi_records: 50,
            drift_false_alarm_records: 10_000,
            on_drift,
            ..TrainerSettings::default()
        }
    }

    /// Counts `count` predictions for `x`, and returns the drift.
    fn add_features(
        detector: &mut DriftDetector,
        threshold: f64,
        x: f64,
        count: u32,
    ) -> Vec<Drift> {
        for _ in 0..count {
            detector.add_features(&model(threshold).model, &[x], &settings(OnDrift::Log));
        }
        detector.take_found()
    }

    #[test]
    fn more_errors_are_drift_and_call_for_a_challenger_only_if_the_setting_says_so() {
        for (on_drift, is_due) in [(OnDrift::Log, false), (OnDrift::Retrain, true)] {
            let mut detector = detector();
            for number in 0..80 {
                detector.add_prediction(number >= 40, &settings(on_drift));
            }
            let found = detector.take_found();
            let [
                Drift::Errors {
                    before,
                    after,
                    records,
                },
            ] = found[..]
            else {
                panic!("{found:?}")
            };
            assert_eq!((before, after), (0.0, 1.0));
            assert!((2..=5).contains(&records), "{records}");
            assert_eq!(detector.is_retraining_due(), is_due);
            detector.has_retrained();
            assert!(!detector.is_retraining_due());
        }
    }

    #[test]
    fn fewer_errors_are_no_drift() {
        let mut detector = detector();
        for number in 0..80 {
            detector.add_prediction(number < 40, &settings(OnDrift::Retrain));
        }
        assert_eq!(detector.take_found(), []);
        assert!(!detector.is_retraining_due());
    }

    #[test]
    fn features_are_compared_after_enough_predictions_and_reported_when_they_start_to_differ() {
        let mut detector = detector();
        assert_eq!(add_features(&mut detector, 0.0, 9.0, 49), []);
        let before = detector.stability_indices().next().unwrap();
        let found = add_features(&mut detector, 0.0, 9.0, 1);
        assert!(
            matches!(&found[..], [Drift::Feature { name, index }] if name == "x" && *index > before * 0.9),
            "{found:?}"
        );
        assert_eq!(detector.features()[0].distribution.predictions(), 0);
        assert_eq!(add_features(&mut detector, 0.0, 9.0, 100), []);
        for x in [-3.0, -0.25, 0.25, 3.0] {
            assert_eq!(add_features(&mut detector, 0.0, x, 13), []);
        }
        assert_eq!(add_features(&mut detector, 0.0, 9.0, 98).len(), 1);
    }

    #[test]
    fn a_comparison_ends_with_the_rows_that_it_began_with() {
        let mut detector = detector();
        let rows_of = |threshold| distributions(&model(threshold).model).next().unwrap();
        let mut expected = rows_of(0.0);
        for (threshold, count) in [(0.0, 10), (100.0, 39)] {
            add_features(&mut detector, threshold, 3.0, count);
            (0..count).for_each(|_| expected.add(3.0));
        }
        assert_eq!(detector.features()[0].distribution, expected);
        add_features(&mut detector, 100.0, 3.0, 1);
        assert_eq!(detector.features()[0].distribution, rows_of(100.0));
    }

    #[test]
    fn a_feature_that_differs_by_little_has_not_drifted() {
        let mut detector = detector();
        let settings = TrainerSettings {
            psi_threshold: 1e3,
            ..settings(OnDrift::Log)
        };
        for _ in 0..50 {
            detector.add_features(&model(0.0).model, &[9.0], &settings);
        }
        assert_eq!(detector.take_found(), []);
    }

    #[test]
    fn stored_features_are_used_only_if_they_match_the_champion() {
        let champion = model(0.0);
        let restore = |features| {
            let errors = ErrorWindow::default();
            DriftDetector::restore(&champion.model, errors, features, true)
        };
        let mut counted = detector();
        add_features(&mut counted, 0.0, 1.0, 3);
        let features = counted.features().to_vec();
        let restored = restore(features.clone());
        assert_eq!(restored.features(), features);
        assert!(restored.is_retraining_due());
        let incomplete: WatchedFeature =
            serde_json::from_str(r#"{"distribution":{"edges":[1.0]}}"#).unwrap();
        for other in [
            vec![],
            vec![incomplete],
            [features.clone(), features].concat(),
        ] {
            assert_eq!(restore(other).features(), detector().features());
        }
    }

    #[test]
    fn drift_is_described_with_its_figures() {
        let name = "x".to_owned();
        let errors = Drift::Errors {
            before: 0.05,
            after: 0.94,
            records: 12,
        };
        for (drift, expected) in [
            (
                errors,
                "the error rate has risen from 0.05 to 0.94 over the newest 12 labelled records",
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
