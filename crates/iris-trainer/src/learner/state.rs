//! The learner's state as it is stored. The names in its JSON are a wire format: a state that an earlier version of the
//! program wrote is read again.

use std::sync::Arc;

use iris_core::{Artefact, ModelVersion};
use serde::{Deserialize, Serialize};

use super::holdout::Holdout;
use super::memory::{Memory, StoredMemory};
use super::trial::{Probation, ShadowRun};
use crate::blocks::List;
use crate::challenger::TrainingExample;
use crate::drift::{ErrorWindow, WatchedFeature};
use crate::evaluation::StoredEvaluation;
use crate::figures::Figures;
use crate::gate::GateVerdict;
use crate::join::StoredJoin;
use crate::paired_test::{ChangeTest, PairedTest};

/// The learner's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnerState {
    pub(super) join: StoredJoin,
    pub(super) knowledge: Knowledge,
}

/// Everything but the predictions and labels that are kept to be joined.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Knowledge {
    pub(super) evaluation: StoredEvaluation,
    pub(super) memory: StoredMemory,
    pub(super) holdout: Holdout,
    pub(super) recency: ChangeTest,
    /// The number of labelled records before the latest comparison of the kinds of models.
    pub(super) kinds_compared: Option<u64>,
    /// Whether the memory has left out old records, so that a challenger is due.
    pub(super) has_changed: bool,
    /// Predictions before this number are not counted as errors.
    pub(super) first_counted: u64,
    /// The examples of an earlier version of the program, which had no memory. It is read, never written.
    #[serde(rename = "lessons", skip_serializing)]
    pub(super) earlier_examples: Vec<EarlierExample>,
    /// The stream's time. It is written for earlier versions of the program, which continue from it.
    pub(super) now: i64,
    pub(super) errors: ErrorWindow,
    pub(super) features: Vec<WatchedFeature>,
    /// Whether drift requires a challenger.
    pub(super) is_retraining_due: bool,
    pub(super) probation: Option<ProbationState>,
    pub(super) shadow: Option<ShadowState>,
    /// The number of the decision that made the champion.
    pub(super) decision: u64,
}

/// A training example as an earlier version of the program stored it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct EarlierExample {
    #[serde(flatten)]
    example: TrainingExample,
    is_withdrawn: bool,
}

impl Knowledge {
    /// Returns the memory, with the examples of an earlier version of the program. A row that was to be withdrawn has no
    /// known prediction, so it stays.
    pub(super) fn take_memory(&mut self) -> Memory {
        let mut memory = std::mem::take(&mut self.memory).restore();
        for earlier in self.earlier_examples.drain(..) {
            if !earlier.is_withdrawn {
                let record = memory.count();
                memory.add(TrainingExample {
                    record,
                    ..earlier.example
                });
            }
        }
        memory
    }
}

/// A probation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ProbationState {
    pub(super) predecessor: ModelVersion,
    #[serde(default)]
    pub(super) test: PairedTest,
}

impl ProbationState {
    pub(super) fn restore(self, predecessor: Arc<Artefact>) -> Probation {
        Probation {
            predecessor,
            test: self.test,
        }
    }
}

impl From<&Probation> for ProbationState {
    fn from(probation: &Probation) -> Self {
        Self {
            predecessor: probation.predecessor.model.version(),
            test: probation.test.clone(),
        }
    }
}

/// A shadow run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShadowState {
    #[serde(rename = "version")]
    pub(super) challenger: ModelVersion,
    /// A run of an earlier version of the program starts over.
    #[serde(default)]
    pub(super) test: PairedTest,
    #[serde(default)]
    pub(super) champion_correct: u64,
    /// The figures of the gate.
    pub(super) figures: Figures,
}

impl ShadowState {
    pub(super) fn restore(self, challenger: Arc<Artefact>) -> ShadowRun {
        ShadowRun {
            challenger,
            gate: GateVerdict::from(&self.figures),
            test: self.test,
            champion_correct: self.champion_correct,
        }
    }
}

impl From<&ShadowRun> for ShadowState {
    fn from(shadow: &ShadowRun) -> Self {
        Self {
            challenger: shadow.challenger.model.version(),
            test: shadow.test.clone(),
            champion_correct: shadow.champion_correct,
            figures: Figures::from(&shadow.gate),
        }
    }
}

impl LearnerState {
    /// Adds the items of a block. The blocks of a list have to be added in order.
    ///
    /// # Errors
    /// The error of the JSON.
    pub(crate) fn add_block(&mut self, list: List, json: &[u8]) -> serde_json::Result<()> {
        match list {
            List::Predictions => self.join.add_predictions(json),
            List::Labels => self.join.add_labels(json),
            List::Answers => self.knowledge.evaluation.add_answers(json),
            List::Rows => self.knowledge.memory.add_known(json),
        }
    }

    /// Returns the champion's predecessor, if the champion is on probation.
    #[must_use]
    pub fn predecessor(&self) -> Option<ModelVersion> {
        let probation = self.knowledge.probation.as_ref()?;
        Some(probation.predecessor)
    }

    /// Returns the challenger in shadow, if there is one.
    #[must_use]
    pub fn shadow(&self) -> Option<ModelVersion> {
        let shadow = self.knowledge.shadow.as_ref()?;
        Some(shadow.challenger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state with every field, as the trainer's topic has it.
    const STORED: &str = include_str!("state.json");

    #[test]
    fn the_stored_format_is_read_and_written_unchanged() {
        let state: LearnerState = serde_json::from_str(STORED).unwrap();
        let version = |text: &str| Some(text.parse::<ModelVersion>().unwrap());
        assert_eq!(state.predecessor(), version("0123456789abcdef"));
        assert_eq!(state.shadow(), version("fedcba9876543210"));
        let written = serde_json::to_value(&state).unwrap();
        let stored: serde_json::Value = serde_json::from_str(STORED).unwrap();
        assert_eq!(written, stored);
    }

    #[test]
    fn the_examples_of_an_earlier_state_are_kept() {
        let mut state: LearnerState =
            serde_json::from_str(include_str!("earlier_state.json")).unwrap();
        assert_eq!(state.knowledge.decision, 23);
        let memory = state.knowledge.take_memory();
        let examples = memory.selection().examples;
        let found: Vec<_> = examples
            .iter()
            .map(|example| (example.label.as_str(), example.record))
            .collect();
        assert_eq!(found, [("a", 1)]);
    }

    #[test]
    fn a_state_without_some_fields_is_read() {
        let state: LearnerState = serde_json::from_str(r#"{"knowledge":{"decision":7}}"#).unwrap();
        assert_eq!(state.knowledge.decision, 7);
        assert_eq!((state.predecessor(), state.shadow()), (None, None));
    }
}
