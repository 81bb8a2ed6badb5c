//! The training examples for the next challenger: rows to add, and rows to remove because their label was wrong.

use iris_kafka::PartitionOffset;

use crate::challenger::TrainingExample;
use crate::observation::Prediction;
use crate::settings::TrainerSettings;
use crate::verdict::TrainingCause;

/// The training examples that no challenger has been trained on yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PendingExamples {
    examples: Vec<TrainingExample>,
    since: Option<i64>,
}

impl PendingExamples {
    /// Continues from stored examples, and the time since which there have been any.
    pub(crate) fn restore(examples: Vec<TrainingExample>, since: Option<i64>) -> Self {
        Self { examples, since }
    }

    /// Changes the label under which a prediction is learned from `learned` to `label`; `None` is not learned at all. An
    /// example that is still pending is taken back; one that a model was trained on is withdrawn.
    pub(crate) fn change(
        &mut self,
        prediction: &Prediction,
        learned: Option<String>,
        label: Option<String>,
    ) {
        let place = prediction.raw.place;
        let example = |label: String, is_withdrawn| TrainingExample {
            place,
            features: prediction.features.clone(),
            label,
            is_withdrawn,
        };
        if let Some(learned) = learned {
            let is_pending =
                |example: &TrainingExample| example.place == place && !example.is_withdrawn;
            match self.examples.iter().position(is_pending) {
                Some(pending) => drop(self.examples.remove(pending)),
                None => self.examples.push(example(learned, true)),
            }
        }
        if let Some(label) = label {
            self.examples.push(example(label, false));
        }
        if self.examples.is_empty() {
            self.since = None;
        }
    }

    /// Notes the stream's time in milliseconds after a record, if it is the first one since which there have been examples.
    pub(crate) fn wait_from(&mut self, now: Option<i64>) {
        if self.since.is_none() && !self.examples.is_empty() {
            self.since = now;
        }
    }

    /// Removes all examples, after a challenger was trained on them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the examples in the order in which they came.
    pub(crate) fn as_slice(&self) -> &[TrainingExample] {
        &self.examples
    }

    /// Returns the stream's time since which there have been examples, in milliseconds.
    pub(crate) fn since(&self) -> Option<i64> {
        self.since
    }

    /// Returns the cause for training a challenger, if there is one. `now` is the stream's time in milliseconds;
    /// `is_end`: no more records are expected.
    pub(crate) fn training_cause(
        &self,
        now: Option<i64>,
        has_drifted: bool,
        is_end: bool,
        settings: &TrainerSettings,
    ) -> Option<TrainingCause> {
        let added = self.examples.iter().filter(|example| !example.is_withdrawn);
        let added = added.count();
        let age = now.zip(self.since);
        let age = age.map_or(0, |(now, since)| now.saturating_sub(since));
        if added >= settings.retrain_after_rows {
            Some(TrainingCause::EnoughRows)
        } else if added > 0 && has_drifted {
            Some(TrainingCause::Drift)
        } else if self.examples.is_empty() {
            None
        } else if is_end {
            Some(TrainingCause::EndOfInput)
        } else if age.max(0).unsigned_abs() >= settings.retrain_after_ms {
            Some(TrainingCause::EnoughTime)
        } else {
            None
        }
    }

    /// Whether there is an example from a prediction.
    pub(crate) fn contains(&self, place: PartitionOffset) -> bool {
        self.examples.iter().any(|example| example.place == place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::prediction;

    /// The label of each example, and whether it is withdrawn.
    fn labels(pending: &PendingExamples) -> Vec<(&str, bool)> {
        pending
            .as_slice()
            .iter()
            .map(|example| (example.label.as_str(), example.is_withdrawn))
            .collect()
    }

    fn change(pending: &mut PendingExamples, learned: Option<&str>, label: Option<&str>, now: i64) {
        let owned = |label: Option<&str>| label.map(str::to_owned);
        pending.change(&prediction(7, 1.0), owned(learned), owned(label));
        pending.wait_from(Some(now));
    }

    #[test]
    fn a_pending_example_is_taken_back() {
        let mut pending = PendingExamples::default();
        change(&mut pending, None, Some("a"), 5);
        assert_eq!(labels(&pending), [("a", false)]);
        change(&mut pending, Some("a"), Some("b"), 6);
        assert_eq!(labels(&pending), [("b", false)]);
        assert_eq!(pending.since(), Some(5));
        change(&mut pending, Some("b"), None, 7);
        assert_eq!((labels(&pending), pending.since()), (vec![], None));
    }

    #[test]
    fn an_example_that_was_trained_on_is_withdrawn() {
        let mut pending = PendingExamples::default();
        change(&mut pending, None, Some("a"), 5);
        pending.clear();
        assert_eq!(pending.since(), None);
        change(&mut pending, Some("a"), Some("b"), 9);
        assert_eq!(labels(&pending), [("a", true), ("b", false)]);
        assert_eq!(pending.since(), Some(9));
        assert!(pending.contains(prediction(7, 1.0).raw.place));
        assert!(!pending.contains(prediction(8, 1.0).raw.place));
    }

    #[test]
    fn a_challenger_is_trained_after_enough_rows_on_drift_after_a_time_or_at_the_end() {
        let settings = TrainerSettings {
            retrain_after_rows: 3,
            retrain_after_ms: 100,
            ..TrainerSettings::default()
        };
        let mut pending = PendingExamples::default();
        let cause = |pending: &PendingExamples, now, has_drifted, is_end| {
            pending.training_cause(Some(now), has_drifted, is_end, &settings)
        };
        assert_eq!(cause(&pending, 500, true, true), None);
        change(&mut pending, None, Some("a"), 5);
        assert_eq!(cause(&pending, 104, false, false), None);
        assert_eq!(cause(&pending, -9_000, false, false), None);
        for (now, has_drifted, is_end, expected) in [
            (104, true, true, TrainingCause::Drift),
            (105, false, true, TrainingCause::EndOfInput),
            (105, false, false, TrainingCause::EnoughTime),
        ] {
            assert_eq!(cause(&pending, now, has_drifted, is_end), Some(expected));
        }
        change(&mut pending, None, Some("a"), 6);
        change(&mut pending, None, Some("a"), 7);
        let enough = cause(&pending, 7, true, true);
        assert_eq!(enough, Some(TrainingCause::EnoughRows));
    }

    #[test]
    fn examples_wait_from_the_first_known_time() {
        let settings = TrainerSettings {
            retrain_after_ms: 100,
            ..TrainerSettings::default()
        };
        let mut pending = PendingExamples::default();
        pending.wait_from(Some(5));
        assert_eq!(pending.since(), None, "there are none");
        pending.change(&prediction(7, 1.0), None, Some("a".to_owned()));
        pending.wait_from(None);
        assert_eq!(pending.training_cause(None, false, false, &settings), None);
        pending.wait_from(Some(1_000));
        pending.wait_from(Some(1_050));
        assert_eq!(pending.since(), Some(1_000));
    }

    #[test]
    fn withdrawn_rows_alone_are_trained_on_only_after_a_time_or_at_the_end() {
        let settings = TrainerSettings {
            retrain_after_rows: 1,
            retrain_after_ms: 100,
            ..TrainerSettings::default()
        };
        let mut pending = PendingExamples::default();
        change(&mut pending, Some("a"), None, 5);
        assert_eq!(
            pending.training_cause(Some(6), true, false, &settings),
            None
        );
        let at_the_end = pending.training_cause(Some(6), true, true, &settings);
        assert_eq!(at_the_end, Some(TrainingCause::EndOfInput));
    }
}
