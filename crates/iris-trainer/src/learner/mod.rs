//! The learner: counts predictions against their labels, collects training examples, watches for drift, and reports when a
//! decision is due.
//!
//! Its state depends only on the records, their order and the decisions that it follows. Reading the same records again from
//! the same state leads to the same decisions. Deliberately absent: reading records and writing decisions.

mod holdout;
mod kinds;
mod left_out;
#[cfg(test)]
mod lockstep;
mod memory;
mod proof;
mod recency;
mod results;
#[cfg(test)]
mod simulations;
mod state;
mod succession;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;

use iris_contract::LabelRecord;
use iris_core::{Artefact, ModelKind, Schema};

use crate::baselines::FirstChampion;
use crate::blocks::{Blocks, List};
use crate::challenger::TrainingExample;
use crate::drift::{Drift, DriftDetector};
use crate::evaluation::Evaluation;
use crate::gate::RecordWeights;
use crate::join::{Bounds, Change, Expired, Join, Unjoined};
use crate::observation::{Prediction, RawPrediction};
use crate::settings::{Learn, TrainerSettings};

use holdout::{HeldOut, Holdout};
use kinds::Competition;
use memory::Memory;
use recency::RecencyTest;
use results::JudgedResults;
use state::{Knowledge, ProbationState, ShadowState};
use trial::{Labelled, Probation, ShadowRun};

pub use results::Row;
pub use state::LearnerState;
pub use succession::Due;

/// The models that a learner starts with.
#[derive(Clone, Debug)]
pub struct Models {
    /// The champion.
    pub champion: Arc<Artefact>,
    /// The champion's predecessor, while the champion is on probation.
    pub predecessor: Option<Arc<Artefact>>,
    /// The challenger in shadow.
    pub shadow: Option<Arc<Artefact>>,
    /// The kinds of models that compete with the champion's.
    pub kinds: Vec<ModelKind>,
    /// The model of the dataset. An imported champion has no rows, so its challengers are trained on the dataset's.
    pub dataset: Arc<Artefact>,
}

/// The learner.
#[derive(Debug)]
pub struct Learner {
    settings: TrainerSettings,
    schema: Schema,
    champion: Arc<Artefact>,
    /// The model of the dataset.
    dataset: Arc<Artefact>,
    /// The number of the decision that made the champion.
    decision: u64,
    join: Join,
    evaluation: Evaluation,
    memory: Memory,
    holdout: Holdout,
    results: JudgedResults,
    /// For each row of the challenger that was trained last, the champion's row that it is.
    origins: Vec<Option<usize>>,
    recency: RecencyTest,
    competition: Competition,
    weights: RecordWeights,
    /// Whether the stream has changed, so that a challenger is due.
    has_changed: bool,
    /// Predictions before this number were made before the latest rise of the error rate. Their errors are not counted again.
    first_counted: u64,
    drift: DriftDetector,
    probation: Option<Probation>,
    shadow: Option<ShadowRun>,
    /// Mispredicted records whose label came late, with that label.
    feedback: Vec<RawPrediction>,
}

impl Learner {
    /// Continues from a state. Drops a probation whose predecessor is missing, and a shadow run whose challenger is missing:
    /// neither could ever end, and no other challenger is trained during a shadow run.
    #[must_use]
    pub fn restore(
        settings: TrainerSettings,
        schema: Schema,
        state: LearnerState,
        models: Models,
    ) -> Self {
        let bounds = Bounds {
            records: settings.max_join_records,
            window_ms: i64::try_from(settings.join_window_ms).unwrap_or(i64::MAX),
        };
        let LearnerState {
            join,
            mut knowledge,
        } = state;
        let memory = knowledge.take_memory();
        let probation = knowledge.probation.zip(models.predecessor);
        let shadow = knowledge.shadow.zip(models.shadow);
        let join = Join::restore(bounds, &schema, join);
        let evaluation = Evaluation::restore(knowledge.evaluation, &settings);
        let champion = &models.champion.model;
        let trained = trained(&models.champion, &models.dataset);
        Self {
            weights: RecordWeights::new(settings.measure, &trained.model),
            recency: RecencyTest::restore(champion, knowledge.recency),
            origins: Vec::new(),
            competition: Competition::restore(models.kinds, knowledge.kinds_compared),
            memory,
            holdout: knowledge.holdout,
            results: JudgedResults::default(),
            has_changed: knowledge.has_changed,
            first_counted: knowledge.first_counted,
            join,
            settings,
            schema,
            decision: knowledge.decision,
            evaluation,
            drift: DriftDetector::restore(
                &models.champion.model,
                knowledge.errors,
                knowledge.features,
                knowledge.is_retraining_due,
            ),
            probation: probation.map(|(state, predecessor)| state.restore(predecessor)),
            shadow: shadow.map(|(state, challenger)| state.restore(challenger)),
            champion: models.champion,
            dataset: models.dataset,
            feedback: Vec::new(),
        }
    }

    /// Returns the model whose rows, kind and settings the next challenger starts with: the champion, or the dataset's model if
    /// the champion is imported.
    fn trained(&self) -> &Arc<Artefact> {
        trained(&self.champion, &self.dataset)
    }

    /// Returns the state to store without its long lists, and the blocks of these that may have changed since the last call.
    pub(crate) fn store(&mut self) -> (LearnerState, Blocks) {
        let blocks = Blocks {
            changed: self.join.take_changed_blocks(),
            whole: vec![
                (List::Answers, self.evaluation.blocks()),
                (List::Rows, self.memory.blocks()),
            ],
        };
        (self.state_without_lists(), blocks)
    }

    /// Returns the state with its long lists.
    #[cfg(test)]
    pub(crate) fn state(&self) -> LearnerState {
        let mut state = self.state_without_lists();
        state.join = self.join.store_whole();
        state.knowledge.evaluation = self.evaluation.store_whole();
        state.knowledge.memory = self.memory.store_whole();
        state
    }

    fn state_without_lists(&self) -> LearnerState {
        LearnerState {
            join: self.join.store(),
            knowledge: Knowledge {
                evaluation: self.evaluation.store(),
                memory: self.memory.store(),
                holdout: self.holdout.clone(),
                recency: self.recency.evidence().clone(),
                kinds_compared: self.competition.compared(),
                earlier_examples: Vec::new(),
                has_changed: self.has_changed,
                first_counted: self.first_counted,
                now: self.join.now().unwrap_or_default(),
                errors: self.drift.errors().clone(),
                features: self.drift.features().to_vec(),
                is_retraining_due: self.drift.is_retraining_due(),
                probation: self.probation.as_ref().map(ProbationState::from),
                shadow: self.shadow.as_ref().map(ShadowState::from),
                decision: self.decision,
            },
        }
    }

    /// Adds a prediction.
    pub fn predicted(&mut self, prediction: Prediction) {
        let (champion, features) = (&self.champion.model, &prediction.features);
        self.drift.add_features(champion, features, &self.settings);
        if let Some(change) = self.join.predicted(prediction) {
            self.take_change(&change);
        }
        self.memory.wait_from(self.join.now());
    }

    /// Adds a label with its timestamp in milliseconds.
    pub fn labelled(&mut self, label: LabelRecord, timestamp: i64) {
        for change in self.join.labelled(label, timestamp) {
            self.take_change(&change);
        }
        self.memory.wait_from(self.join.now());
    }

    fn take_change(&mut self, change: &Change) {
        let Some(kept) = self.join.get(change.number) else {
            return;
        };
        let prediction = kept.prediction.clone();
        let place = prediction.raw.place;
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        self.evaluation
            .change(change.number, &prediction, before, after);
        self.evaluation
            .forget(|number| self.join.get(number).is_some());
        if before.is_some() {
            self.holdout.remove(place);
            self.results.forget(place);
            self.memory.remove(place);
        }
        let Some(after) = after else {
            return;
        };
        if before.is_none() {
            self.compare_models(change.number, &prediction, after);
        }
        let is_known_feedback = prediction.own_label.as_deref() == Some(after);
        if after != prediction.predicted && !is_known_feedback {
            let feedback = prediction.with_label(&self.schema, after);
            self.feedback.push(feedback);
        }
        self.learn(&prediction, after);
    }

    /// Adds a labelled record to the memory, or to the records that are held out.
    fn learn(&mut self, prediction: &Prediction, label: &str) {
        let settings = &self.settings;
        let example = TrainingExample {
            place: prediction.raw.place,
            features: prediction.features.clone(),
            label: label.to_owned(),
            record: self.memory.count(),
        };
        let is_learned = settings.learn == Learn::All || label != prediction.predicted;
        if prediction.is_in_sample(settings.holdout_ratio) {
            let held_out = HeldOut {
                example,
                is_learned,
            };
            let released = self.holdout.add(held_out, settings.holdout_records);
            for released in released.filter(|released| released.is_learned) {
                self.memory.add(released.example);
            }
        } else if is_learned {
            self.memory.add(example);
        }
    }

    /// Counts a record that has its first label, in the drift test and in the trials.
    fn compare_models(&mut self, number: u64, prediction: &Prediction, label: &str) {
        let champion = &self.champion.model;
        let is_error = prediction.predicted != label;
        let risen = if number < self.first_counted {
            None
        } else {
            self.drift.add_prediction(is_error, &self.settings)
        };
        let record = Labelled {
            id: &prediction.id,
            features: &prediction.features,
            label,
        };
        if let Some(probation) = &mut self.probation {
            probation.add(champion, record, &self.weights);
            if probation.is_passed(&self.settings) {
                self.probation = None;
            }
        }
        if let Some(shadow) = &mut self.shadow {
            let ratio = self.settings.shadow_sample_ratio;
            shadow.add(champion, record, &self.weights, ratio);
        }
        let newest = self.recency.add(champion, record);
        if let Some(records) = risen {
            self.first_counted = self.join.next_number();
            // This record is not in the memory yet.
            self.memory.keep_newest_records(records - 1);
            self.forget_old_records();
        } else if let Some(newest) = newest {
            let rows = self.trained().model.training_set().len();
            self.memory.keep_newest_rows(rows, newest);
            self.forget_old_records();
        }
    }

    /// Ends the comparison on records that the memory has left out.
    fn forget_old_records(&mut self) {
        self.holdout.remove_before(self.memory.first_record());
        self.has_changed = true;
    }

    /// Returns the number of the decision that made the champion; 0 if it is not known.
    #[must_use]
    pub fn decision(&self) -> u64 {
        self.decision
    }

    /// Returns the champion.
    #[must_use]
    pub fn champion(&self) -> &Arc<Artefact> {
        &self.champion
    }

    /// Returns the evaluation of the loop.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// Sets the model that never learns.
    pub(crate) fn compare_with(&mut self, first_champion: FirstChampion) {
        self.evaluation.compare_with(first_champion);
    }

    /// Returns the counts of predictions and labels that expired before they were joined.
    #[must_use]
    pub fn expired(&self) -> Expired {
        self.join.expired()
    }

    /// Takes the predictions and the labels that have expired before they were joined since the last call.
    pub fn take_unjoined(&mut self) -> [Unjoined; 2] {
        self.join.take_unjoined()
    }

    /// Returns the time of the stream in milliseconds since the epoch. `None` before there have been enough records.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.join.now()
    }

    /// Takes the feedback to write since the last call: mispredicted records whose label came late, with that label.
    pub fn take_feedback(&mut self) -> Vec<RawPrediction> {
        std::mem::take(&mut self.feedback)
    }

    /// Returns the number of feedback records to write.
    #[must_use]
    pub fn feedback_len(&self) -> usize {
        self.feedback.len()
    }

    /// Takes the drift found since the last call.
    pub fn take_drifts(&mut self) -> Vec<Drift> {
        self.drift.take_found()
    }

    /// Returns the population stability index of each feature by name, over the predictions since the latest comparison.
    pub fn stability_indices(&self) -> impl Iterator<Item = (&str, f64)> {
        let names = self.schema.features.iter().map(String::as_str);
        names.zip(self.drift.stability_indices())
    }
}

/// Returns the champion, or the dataset's model if the champion is imported.
fn trained<'a>(champion: &'a Arc<Artefact>, dataset: &'a Arc<Artefact>) -> &'a Arc<Artefact> {
    if champion.model.kind().is_imported() {
        dataset
    } else {
        champion
    }
}
