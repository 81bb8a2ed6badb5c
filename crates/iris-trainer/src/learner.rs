//! What the trainer knows, and what follows from each record: counts, lessons, drift, and that something is to be decided.
//!
//! It depends on the records and their order alone, and on the decisions it is told of; so whoever reads the same records
//! from the same state comes to the same decisions. Deliberately absent: how records come and decisions are written.

use std::collections::{BTreeMap, VecDeque};
use std::iter;
use std::sync::Arc;

use iris_core::registry::Action;
use iris_core::{Artefact, FitError, Model, ModelVersion, Schema};
use serde::{Deserialize, Serialize};

use crate::challenger::{Lesson, Room, train};
use crate::drift::{PageHinkley, Spread};
use crate::evaluation::Evaluation;
use crate::gate::{Comparison, Verdict, judge};
use crate::join::{Bounds, Change, Expired, Join, StoredJoin};
use crate::observation::{Announced, Place, Prediction, Said};
use crate::settings::{OnDrift, TrainerSettings};

/// A row of features with its label.
pub type Row = (Vec<f64>, String);

/// The state, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stored {
    join: StoredJoin,
    knowledge: Knowledge,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Knowledge {
    evaluation: Evaluation,
    /// The newest labelled records, oldest first.
    recent: VecDeque<Labelled>,
    /// What there is to learn.
    lessons: Vec<Lesson>,
    /// Since when, by the records' timestamps.
    lessons_since: Option<i64>,
    /// The latest timestamp.
    now: i64,
    errors: PageHinkley,
    /// For each feature, the predictions by bin since they were last looked at.
    bins: Vec<Vec<u64>>,
    /// Whether drift calls for a challenger.
    is_retraining_due: bool,
    probation: Option<Probation>,
    shadow: Option<Shadow>,
    /// The number of the decision that made the champion.
    decision: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Labelled {
    place: Place,
    features: Vec<f64>,
    label: String,
}

/// A new champion against the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Probation {
    predecessor: ModelVersion,
    answers: u64,
    /// How many more of them the predecessor has right.
    lead: i64,
}

/// A challenger in the champion's shadow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shadow {
    version: ModelVersion,
    answers: u64,
    challenger_right: u64,
    champion_right: u64,
    /// What the gate found when it was made.
    figures: BTreeMap<String, f64>,
}

/// The models that there are to ask.
#[derive(Clone, Debug)]
pub struct Models {
    /// The champion.
    pub champion: Arc<Artefact>,
    /// The one before, while the champion is on probation.
    pub predecessor: Option<Arc<Artefact>>,
    /// The one in the champion's shadow.
    pub shadow: Option<Arc<Artefact>>,
}

/// A sign that the stream has changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Drift {
    /// There are more errors than there were: the statistic of the test, and its threshold.
    Errors {
        /// By how much the sum stands above its least value.
        rise: f64,
    },
    /// A feature's values spread otherwise than those of the training rows.
    Feature {
        /// Its name.
        name: String,
        /// The population stability index.
        index: f64,
    },
}

/// What is to be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A challenger is to be trained, for this reason.
    Training(&'static str),
    /// The champion is worse than the one before, which is to become the champion again.
    RollBack,
    /// The challenger in the champion's shadow has answered enough.
    Shadow,
}

/// The trainer's mind.
#[derive(Debug)]
pub struct Learner {
    settings: TrainerSettings,
    schema: Schema,
    join: Join,
    knowledge: Knowledge,
    models: Models,
    spreads: Vec<Spread>,
    /// Mispredicted records whose label came by itself, as they were announced, but with that label.
    feedback: Vec<Announced>,
    drifts: Vec<Drift>,
}

/// The models that a stored state needs besides the champion: the predecessor and the one in shadow.
#[must_use]
pub fn needed(stored: &Stored) -> (Option<ModelVersion>, Option<ModelVersion>) {
    let knowledge = &stored.knowledge;
    (
        knowledge
            .probation
            .as_ref()
            .map(|probation| probation.predecessor),
        knowledge.shadow.as_ref().map(|shadow| shadow.version),
    )
}

impl Learner {
    /// Goes on from a state, with the models that it needs.
    #[must_use]
    pub fn restore(
        settings: TrainerSettings,
        schema: Schema,
        stored: Stored,
        models: Models,
    ) -> Self {
        let bounds = Bounds {
            records: settings.max_join_records,
            window_ms: i64::try_from(settings.join_window_ms).unwrap_or(i64::MAX),
        };
        let mut learner = Self {
            join: Join::restore(bounds, &schema, stored.join),
            spreads: spreads(&models.champion.model),
            knowledge: stored.knowledge,
            settings,
            schema,
            models,
            feedback: Vec::new(),
            drifts: Vec::new(),
        };
        if !learner.has_counted_bins() {
            learner.forget_bins();
        }
        learner.give_up_what_has_no_model();
        learner
    }

    /// Ends a probation without its predecessor and a shadow without its challenger: they would get no more answers, and a
    /// shadow that does not end keeps anything else from being trained.
    fn give_up_what_has_no_model(&mut self) {
        if self.models.predecessor.is_none() {
            self.knowledge.probation = None;
        }
        if self.models.shadow.is_none() {
            self.knowledge.shadow = None;
        }
    }

    /// The state, to be stored.
    #[must_use]
    pub fn store(&self) -> Stored {
        Stored {
            join: self.join.store(),
            knowledge: self.knowledge.clone(),
        }
    }

    /// Takes a prediction in.
    pub fn predicted(&mut self, prediction: Prediction) {
        self.advance(prediction.announced.timestamp);
        self.count_features(&prediction.features);
        let change = self.join.predicted(prediction);
        change
            .into_iter()
            .for_each(|change| self.take_change(&change));
    }

    /// Takes in what was said of a record, at a time.
    pub fn said(&mut self, said: Said, timestamp: i64) {
        self.advance(timestamp);
        for change in self.join.said(said, timestamp) {
            self.take_change(&change);
        }
    }

    fn advance(&mut self, timestamp: i64) {
        self.knowledge.now = self.knowledge.now.max(timestamp);
    }

    fn take_change(&mut self, change: &Change) {
        let Some(kept) = self.join.get(change.number) else {
            return;
        };
        let (prediction, learned) = (kept.prediction.clone(), kept.learned.clone());
        let (place, version) = (prediction.announced.place, prediction.version);
        let knowledge = &mut self.knowledge;
        if let Some(before) = &change.before {
            knowledge
                .evaluation
                .remove(version, before, &prediction.predicted);
            knowledge.recent.retain(|labelled| labelled.place != place);
        }
        if let Some(after) = &change.after {
            knowledge
                .evaluation
                .add(version, after, &prediction.predicted);
            knowledge.recent.push_back(Labelled {
                place,
                features: prediction.features.clone(),
                label: after.clone(),
            });
            while knowledge.recent.len() > self.settings.recent_records {
                knowledge.recent.pop_front();
            }
            if change.before.is_none() {
                self.compare(&prediction, after);
            }
            let is_known_feedback = prediction.own_label.as_ref() == Some(after);
            if *after != prediction.predicted && !is_known_feedback {
                self.feedback
                    .push(prediction.announced_with(&self.schema, after));
            }
        }
        let lesson = change.after.as_ref().filter(|after| {
            **after != prediction.predicted
                || is_drawn(
                    [
                        place.partition.unsigned_abs().into(),
                        place.offset.unsigned_abs(),
                    ],
                    self.settings.correct_sample_ratio,
                )
        });
        self.learn(change.number, &prediction, learned, lesson.cloned());
    }

    /// Counts a new answer for and against the models.
    fn compare(&mut self, prediction: &Prediction, label: &str) {
        let features = &prediction.features;
        let champion = &self.models.champion.model;
        let mut has_drifted = false;
        if prediction.version == Some(champion.version()) {
            let (delta, threshold) = (self.settings.drift_delta, self.settings.drift_threshold);
            let is_error = prediction.predicted != label;
            if let Some(rise) = self.knowledge.errors.take(is_error, delta, threshold) {
                self.drifts.push(Drift::Errors { rise });
                has_drifted = true;
            }
        }
        if let (Some(probation), Some(predecessor)) =
            (&mut self.knowledge.probation, &self.models.predecessor)
        {
            let right = |model| i64::from(is_right(model, features, label));
            probation.answers += 1;
            probation.lead += right(&predecessor.model) - right(champion);
            let needed = self.settings.probation_records as u64;
            if probation.answers >= needed && !is_too_far_behind(probation, &self.settings) {
                self.knowledge.probation = None;
                self.models.predecessor = None;
            }
        }
        if let (Some(shadow), Some(challenger)) = (&mut self.knowledge.shadow, &self.models.shadow)
            && is_drawn(
                prediction.id.bytes().map(u64::from),
                self.settings.shadow_sample_ratio,
            )
        {
            shadow.answers += 1;
            shadow.challenger_right += u64::from(is_right(&challenger.model, features, label));
            shadow.champion_right += u64::from(is_right(champion, features, label));
        }
        if has_drifted {
            self.retrain_on_drift();
        }
    }

    /// Notes that a prediction is to be learned under a label, or not at all, after it was learned as `learned`.
    fn learn(
        &mut self,
        number: u64,
        prediction: &Prediction,
        learned: Option<String>,
        label: Option<String>,
    ) {
        if learned == label {
            return;
        }
        let place = prediction.announced.place;
        let lesson = |label: String, is_withdrawn| Lesson {
            place,
            features: prediction.features.clone(),
            label,
            is_withdrawn,
        };
        let knowledge = &mut self.knowledge;
        if let Some(learned) = learned {
            let is_it = |lesson: &Lesson| lesson.place == place && !lesson.is_withdrawn;
            match knowledge.lessons.iter().position(is_it) {
                Some(pending) => drop(knowledge.lessons.remove(pending)),
                None => knowledge.lessons.push(lesson(learned, true)),
            }
        }
        if let Some(label) = label.clone() {
            knowledge.lessons.push(lesson(label, false));
        }
        knowledge.lessons_since = match knowledge.lessons_since {
            _ if knowledge.lessons.is_empty() => None,
            None => Some(knowledge.now),
            since => since,
        };
        self.join.note_learned(number, label);
    }

    fn retrain_on_drift(&mut self) {
        self.knowledge.is_retraining_due |= self.settings.on_drift == OnDrift::Retrain;
    }

    fn has_counted_bins(&self) -> bool {
        let bins = &self.knowledge.bins;
        bins.len() == self.spreads.len()
            && iter::zip(bins, &self.spreads).all(|(bins, spread)| bins.len() == spread.bins())
    }

    fn forget_bins(&mut self) {
        self.knowledge.bins = self
            .spreads
            .iter()
            .map(|spread| vec![0; spread.bins()])
            .collect();
    }

    fn count_features(&mut self, features: &[f64]) {
        let mut counted = 0;
        for ((bins, spread), &value) in
            iter::zip(&mut self.knowledge.bins, &self.spreads).zip(features)
        {
            bins[spread.bin(value)] += 1;
            counted = bins.iter().sum();
        }
        if counted < self.settings.psi_records {
            return;
        }
        let mut has_drifted = false;
        for (name, index) in self.stability_indices() {
            if index >= self.settings.psi_threshold {
                has_drifted = true;
                self.drifts.push(Drift::Feature { name, index });
            }
        }
        if has_drifted {
            self.retrain_on_drift();
        }
        self.forget_bins();
    }

    /// The population stability index of each feature, over the predictions since it was last looked at.
    pub fn stability_indices(&self) -> Vec<(String, f64)> {
        let indices = iter::zip(&self.spreads, &self.knowledge.bins)
            .map(|(spread, bins)| spread.stability_index(bins));
        self.schema.features.iter().cloned().zip(indices).collect()
    }

    /// What is to be decided, if anything is. `is_end`: nothing more is awaited, and what there is to learn is learned.
    #[must_use]
    pub fn due(&self, is_end: bool) -> Option<Due> {
        let Knowledge {
            lessons,
            lessons_since,
            now,
            is_retraining_due,
            probation,
            shadow,
            ..
        } = &self.knowledge;
        if let Some(probation) = probation
            && is_too_far_behind(probation, &self.settings)
        {
            return Some(Due::RollBack);
        }
        if let Some(shadow) = shadow {
            let is_enough = shadow.answers >= self.settings.shadow_records as u64;
            return is_enough.then_some(Due::Shadow);
        }
        let to_learn = lessons.iter().filter(|lesson| !lesson.is_withdrawn).count();
        let age = lessons_since.map_or(0, |since| now.saturating_sub(since));
        if to_learn >= self.settings.retrain_after_rows {
            Some(Due::Training("enough rows to learn"))
        } else if to_learn > 0 && *is_retraining_due {
            Some(Due::Training("drift"))
        } else if !lessons.is_empty() && is_end {
            Some(Due::Training("there is nothing more to come"))
        } else if !lessons.is_empty() && age.unsigned_abs() >= self.settings.retrain_after_ms {
            Some(Due::Training("enough time has passed"))
        } else {
            None
        }
    }

    /// Trains a challenger on what there is to learn. `None` if it would be the champion again.
    ///
    /// # Errors
    /// [`FitError`] if too few rows are left.
    pub fn challenger(
        &self,
        sources: &BTreeMap<String, BTreeMap<i32, i64>>,
    ) -> Result<Option<Artefact>, FitError> {
        let room = Room {
            policy: self.settings.policy,
            learned_rows: self.settings.max_learned_rows,
            window_rows: self.settings.window_rows,
        };
        train(
            &self.models.champion,
            &self.knowledge.lessons,
            room,
            sources,
        )
    }

    /// Judges a challenger by the rows held out, and by recent records other than those that it has just learned.
    #[must_use]
    pub fn judge(&self, challenger: &Model, holdout: &[Row]) -> Verdict {
        let champion = &self.models.champion.model;
        let compare = |rows: &[(&[f64], &str)]| Comparison::of(challenger, champion, rows);
        let holdout: Vec<_> = holdout
            .iter()
            .map(|(features, label)| (&features[..], label.as_str()))
            .collect();
        let lessons = &self.knowledge.lessons;
        let is_new = |labelled: &&Labelled| lessons.iter().all(|l| l.place != labelled.place);
        let recent: Vec<_> = self
            .knowledge
            .recent
            .iter()
            .filter(is_new)
            .map(|labelled| (&labelled.features[..], labelled.label.as_str()))
            .collect();
        judge(
            compare(&holdout),
            compare(&recent),
            self.settings.promotion_margin,
        )
    }

    /// Lets go of what there was to learn: a challenger was trained on it.
    pub fn has_trained(&mut self) {
        self.knowledge.lessons.clear();
        self.knowledge.lessons_since = None;
        self.knowledge.is_retraining_due = false;
    }

    /// Has a challenger, which has passed the gate with these figures, answer in the champion's shadow.
    pub fn shadow(&mut self, challenger: Arc<Artefact>, figures: BTreeMap<String, f64>) {
        self.knowledge.shadow = Some(Shadow {
            version: challenger.model.version(),
            answers: 0,
            challenger_right: 0,
            champion_right: 0,
            figures,
        });
        self.models.shadow = Some(challenger);
    }

    /// Judges the challenger in the champion's shadow, which leaves it. `None` if there is none.
    pub fn judge_shadow(&mut self) -> Option<(Arc<Artefact>, Verdict)> {
        let challenger = self.models.shadow.take()?;
        let shadow = self.knowledge.shadow.take()?;
        let answers = shadow.answers.max(1) as f64;
        let (challenger_right, champion_right) = (
            shadow.challenger_right as f64 / answers,
            shadow.champion_right as f64 / answers,
        );
        let mut figures = shadow.figures;
        figures.insert("shadow_records".to_owned(), shadow.answers as f64);
        figures.insert("shadow_accuracy".to_owned(), challenger_right);
        figures.insert("champion_shadow_accuracy".to_owned(), champion_right);
        let is_passed = champion_right - challenger_right <= self.settings.promotion_margin + 1e-9;
        let verdict = Verdict {
            is_passed,
            reason: format!(
                "{}accuracy {challenger_right:.4} on {} records in the champion's shadow (champion {champion_right:.4})",
                if is_passed { "" } else { "worse in shadow: " },
                shadow.answers
            ),
            figures,
        };
        Some((challenger, verdict))
    }

    /// The figures of a probation.
    #[must_use]
    pub fn probation(&self) -> BTreeMap<String, f64> {
        let probation = self.knowledge.probation.as_ref();
        probation.map_or_else(BTreeMap::new, |probation| {
            [
                ("probation_records".to_owned(), probation.answers as f64),
                ("predecessor_lead".to_owned(), probation.lead as f64),
            ]
            .into()
        })
    }

    /// Goes on under another champion, made by the decision of this number.
    pub fn follow(
        &mut self,
        decision: u64,
        action: Action,
        champion: Arc<Artefact>,
        predecessor: Option<Arc<Artefact>>,
    ) {
        let is_promoted = action == Action::Promoted && self.settings.probation_records > 0;
        let predecessor = predecessor.filter(|_| is_promoted);
        self.knowledge.probation = predecessor.as_ref().map(|predecessor| Probation {
            predecessor: predecessor.model.version(),
            answers: 0,
            lead: 0,
        });
        self.knowledge.decision = decision;
        self.knowledge.shadow = None;
        self.knowledge.errors = PageHinkley::default();
        self.spreads = spreads(&champion.model);
        self.forget_bins();
        self.models = Models {
            champion,
            predecessor,
            shadow: None,
        };
    }

    /// The number of the decision that made the champion, as far as it is known here.
    #[must_use]
    pub fn decision(&self) -> u64 {
        self.knowledge.decision
    }

    /// The champion.
    #[must_use]
    pub fn champion(&self) -> &Arc<Artefact> {
        &self.models.champion
    }

    /// How good the answers of each version were.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.knowledge.evaluation
    }

    /// What left before it was joined.
    #[must_use]
    pub fn expired(&self) -> Expired {
        self.join.expired()
    }

    /// The feedback that is to be written since this was last asked: mispredicted records whose label came by itself, as
    /// they were announced, but with that label.
    pub fn take_feedback(&mut self) -> Vec<Announced> {
        std::mem::take(&mut self.feedback)
    }

    /// How much feedback is to be written.
    #[must_use]
    pub fn feedback_len(&self) -> usize {
        self.feedback.len()
    }

    /// The drift found since this was last asked.
    pub fn take_drifts(&mut self) -> Vec<Drift> {
        std::mem::take(&mut self.drifts)
    }
}

fn is_too_far_behind(probation: &Probation, settings: &TrainerSettings) -> bool {
    probation.lead as f64 > settings.rollback_margin * settings.probation_records as f64
}

fn is_right(model: &Model, features: &[f64], label: &str) -> bool {
    model.accuracy(iter::once((features, label))) == Some(1.0)
}

/// The distribution of each feature over a model's training rows.
fn spreads(model: &Model) -> Vec<Spread> {
    let rows = model.training_set();
    let width = rows.schema().features.len();
    let values = |feature| rows.features().iter().skip(feature).step_by(width).copied();
    (0..width)
        .map(|feature| Spread::of(values(feature).collect()))
        .collect()
}

/// Whether something is in a random share of all things, always the same one (splitmix64's finaliser, by Stafford).
fn is_drawn(identity: impl IntoIterator<Item = u64>, share: f64) -> bool {
    let mix = |state: u64, word: u64| {
        let mut bits = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    let bits = identity.into_iter().fold(0, mix);
    ((bits >> 11) as f64) < share * (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{learner, model, predict, say, schema};

    #[test]
    fn mispredictions_are_learned_and_a_challenger_is_due() {
        let mut learner = learner(|_| ());
        for (offset, x) in [(0, 1.0), (1, 2.0), (2, -1.0), (3, 1.5)] {
            predict(&mut learner, offset, x, Some("a"));
        }
        assert_eq!(
            learner.due(false),
            Some(Due::Training("enough rows to learn"))
        );
        let challenger = learner.challenger(&BTreeMap::new()).unwrap().unwrap();
        assert_eq!(challenger.model.training_set().len(), 7);
        assert!(is_right(&challenger.model, &[1.2], "a"));
        learner.has_trained();
        assert_eq!(learner.due(true), None);
    }

    #[test]
    fn a_challenger_is_due_by_time_and_at_the_end() {
        let mut learner = learner(|settings| settings.retrain_after_ms = 100);
        predict(&mut learner, 0, 1.0, Some("a"));
        predict(&mut learner, 99, -1.0, Some("a"));
        assert_eq!(learner.due(false), None);
        assert!(learner.due(true).is_some());
        predict(&mut learner, 100, -1.0, Some("a"));
        assert!(learner.due(false).is_some());
    }

    #[test]
    fn a_correction_takes_a_lesson_back_before_and_after_it_was_learned() {
        let mut learner = learner(|_| ());
        predict(&mut learner, 0, 1.0, Some("a"));
        say(&mut learner, 0, Some("b"), 1);
        assert_eq!(learner.due(true), None, "it was right after all");
        say(&mut learner, 0, None, 2);
        let challenger = learner.challenger(&BTreeMap::new()).unwrap().unwrap();
        learner.has_trained();
        learner.follow(1, Action::Promoted, Arc::new(challenger), None);
        say(&mut learner, 0, Some("b"), 3);
        let again = learner.challenger(&BTreeMap::new()).unwrap().unwrap();
        assert_eq!(again.model.version(), model(0.0).model.version());
    }

    #[test]
    fn late_mispredictions_become_feedback_once() {
        let mut learner = learner(|_| ());
        predict(&mut learner, 0, 1.0, None);
        predict(&mut learner, 1, 1.0, Some("a"));
        say(&mut learner, 1, Some("a"), 2);
        assert_eq!(learner.take_feedback(), [], "the classifier has written it");
        say(&mut learner, 0, Some("a"), 3);
        say(&mut learner, 0, Some("a"), 4);
        let feedback = learner.take_feedback();
        assert_eq!(feedback.len(), 1);
        assert_eq!(
            feedback[0].value,
            r#"{"Id":0,"x":1,"Species":"a","PredictedSpecies":"b"}"#
        );
        say(&mut learner, 0, Some("b"), 5);
        assert_eq!(learner.take_feedback(), []);
    }

    #[test]
    fn a_champion_that_does_worse_than_the_one_before_is_rolled_back() {
        let mut learner = learner(|settings| {
            settings.probation_records = 20;
            settings.rollback_margin = 0.1;
        });
        learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
        for offset in 0..2 {
            predict(&mut learner, offset, 0.5, Some("b"));
        }
        assert_eq!(learner.due(false), None);
        predict(&mut learner, 2, 0.5, Some("b"));
        assert_eq!(learner.due(false), Some(Due::RollBack));
        learner.follow(3, Action::RolledBack, model(0.0), Some(model(1.0)));
        learner.has_trained();
        assert_eq!(learner.due(true), None);
    }

    #[test]
    fn a_probation_that_is_passed_ends() {
        let mut learner = learner(|settings| settings.probation_records = 5);
        learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
        for offset in 0..5 {
            predict(&mut learner, offset, 5.0, Some("b"));
        }
        assert_eq!(learner.probation(), BTreeMap::new());
    }

    #[test]
    fn a_challenger_in_shadow_is_judged_by_its_answers() {
        let mut learner = learner(|settings| {
            settings.shadow_records = 4;
            settings.shadow_sample_ratio = 1.0;
        });
        for (threshold, is_passed) in [(1.0, false), (-1.0, true)] {
            learner.shadow(model(threshold), BTreeMap::new());
            for offset in 0..4 {
                assert_eq!(learner.due(true), None);
                predict(&mut learner, offset, 0.5, Some("b"));
            }
            assert_eq!(learner.due(false), Some(Due::Shadow));
            let (_, verdict) = learner.judge_shadow().unwrap();
            assert_eq!(verdict.is_passed, is_passed, "{}", verdict.reason);
            learner.has_trained();
        }
    }

    #[test]
    fn drift_is_found_in_errors_and_in_features() {
        let mut learner = learner(|settings| {
            settings.psi_records = 50;
            settings.on_drift = OnDrift::Retrain;
            settings.retrain_after_rows = 1_000;
        });
        for offset in 0..40 {
            let x = if offset % 2 == 0 { -2.0 } else { 2.0 };
            let label = if x < 0.0 { "a" } else { "b" };
            predict(&mut learner, offset, x, Some(label));
        }
        assert_eq!(learner.take_drifts(), []);
        for offset in 40..60 {
            predict(&mut learner, offset, 9.0, Some("a"));
        }
        let drifts = learner.take_drifts();
        let is_of_errors = |drift: &Drift| matches!(drift, Drift::Errors { .. });
        assert!(drifts.iter().any(is_of_errors), "{drifts:?}");
        assert!(!drifts.iter().all(is_of_errors), "{drifts:?}");
        assert_eq!(learner.due(false), Some(Due::Training("drift")));
    }

    #[test]
    fn a_probation_or_a_shadow_whose_model_is_gone_is_given_up_and_learning_goes_on() {
        let mut learner = learner(|settings| settings.shadow_records = 4);
        learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
        learner.shadow(model(2.0), BTreeMap::new());
        assert!(!learner.probation().is_empty());
        let models = Models {
            champion: model(1.0),
            predecessor: None,
            shadow: None,
        };
        let (settings, stored) = (learner.settings.clone(), learner.store());
        let mut learner = Learner::restore(settings, schema(), stored, models);
        assert_eq!(needed(&learner.store()), (None, None));
        assert!(learner.probation().is_empty());
        for offset in 0..3 {
            predict(&mut learner, offset, 2.0, Some("a"));
        }
        let due = Due::Training("enough rows to learn");
        assert_eq!(learner.due(false), Some(due));
    }

    /// Killed and restored at any record, the same decisions follow.
    #[test]
    fn a_state_that_was_stored_decides_as_the_one_that_was_not() {
        let mut random = fastrand::Rng::with_seed(7);
        let events: Vec<(f64, bool, bool)> = (0..400)
            .map(|_| (random.f64() * 6.0 - 3.0, random.bool(), random.u8(..8) == 0))
            .collect();
        let run = |is_killed: &mut dyn FnMut() -> bool| {
            let mut learner = learner(|settings| {
                settings.correct_sample_ratio = 0.3;
                settings.recent_records = 30;
                settings.max_join_records = 50;
            });
            let mut decisions = Vec::new();
            for (offset, &(x, has_label, is_flipped)) in (0..).zip(&events) {
                let label = if (x < 0.5) ^ is_flipped { "a" } else { "b" };
                predict(&mut learner, offset, x, has_label.then_some(label));
                if !has_label && offset % 3 == 0 {
                    say(&mut learner, offset - 9, Some(label), offset);
                }
                if learner.due(false).is_some() {
                    if let Some(challenger) = learner.challenger(&BTreeMap::new()).unwrap() {
                        let verdict = learner.judge(&challenger.model, &[]);
                        decisions.push((challenger.model.version(), verdict.is_passed));
                        learner.has_trained();
                        if verdict.is_passed {
                            let before = Arc::clone(learner.champion());
                            let number = decisions.len() as u64;
                            let challenger = Arc::new(challenger);
                            learner.follow(number, Action::Promoted, challenger, Some(before));
                        }
                    } else {
                        learner.has_trained();
                    }
                }
                if is_killed() {
                    let json = serde_json::to_string(&learner.store()).unwrap();
                    let stored: Stored = serde_json::from_str(&json).unwrap();
                    let Learner {
                        settings,
                        schema,
                        models,
                        ..
                    } = learner;
                    learner = Learner::restore(settings, schema, stored, models);
                }
            }
            decisions
        };
        let undisturbed = run(&mut || false);
        assert!(undisturbed.iter().any(|(_, is_passed)| *is_passed));
        let mut random = fastrand::Rng::with_seed(8);
        assert_eq!(run(&mut || random.u8(..4) == 0), undisturbed);
    }
}
