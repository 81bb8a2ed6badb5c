//! The evaluation of the loop: its predictions over all model versions and by version, beside two baselines on the same
//! labelled records, since the state began and over the newest ones.
//!
//! Each record is predicted before a model can learn from its label ("prequential"). A corrected label changes the counts of
//! its record, also those of the baselines; so the answers to each record are kept as long as its label may change.

mod answers;
mod classes;
mod paired;
mod stored;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::VecDeque;

use iris_contract::loop_figures::NeverLearning;
use iris_contract::{BaselineScores, LoopFigures, Scores, SpanFigures};
use iris_core::{Confusion, ModelVersion};

use crate::baselines::FirstChampion;
use crate::blocks::{Block, List, cut};
use crate::observation::Prediction;
use crate::settings::TrainerSettings;

use answers::Answers;
use classes::Classes;
use paired::Paired;
use versions::VersionCounts;

pub use stored::StoredEvaluation;

/// The evaluation of the loop.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    window_records: usize,
    sample_ratio: f64,
    first_champion: FirstChampion,
    classes: Classes,
    versions: VersionCounts,
    /// In the order in which their records were labelled: the newest, and those whose label may change.
    answers: VecDeque<Answers>,
    /// The number of answers that were dropped before these.
    dropped: u64,
    /// The model that the counts of never learning belong to.
    never_learning_model: Option<ModelVersion>,
    never_learning: Paired,
    no_change: Paired,
}

impl Evaluation {
    /// Continues from a stored state. The model that never learns is not known until it is [set](Self::compare_with).
    pub(crate) fn restore(stored: StoredEvaluation, settings: &TrainerSettings) -> Self {
        let StoredEvaluation {
            versions,
            mut classes,
            answers,
            dropped,
            never_learning_model,
            never_learning,
            no_change,
        } = stored;
        // An earlier version of the program counted any number of classes by name.
        let versions = if classes.is_empty() {
            versions.renamed(|truth, predicted| {
                let (truth, predicted) = (classes.class(truth), classes.class(predicted));
                let (truth, predicted) = classes.cell(&truth, &predicted);
                (truth.to_owned(), predicted.to_owned())
            })
        } else {
            versions
        };
        Self {
            window_records: settings.evaluation_window_records,
            sample_ratio: settings.never_learning_sample_ratio,
            first_champion: FirstChampion::default(),
            classes,
            versions,
            answers,
            dropped,
            never_learning_model,
            never_learning,
            no_change,
        }
    }

    /// Returns the state to store, without the answers, which are stored in blocks.
    pub(crate) fn store(&self) -> StoredEvaluation {
        StoredEvaluation {
            versions: self.versions.clone(),
            classes: self.classes.clone(),
            answers: VecDeque::new(),
            dropped: self.dropped,
            never_learning_model: self.never_learning_model,
            never_learning: self.never_learning.clone(),
            no_change: self.no_change.clone(),
        }
    }

    /// Returns the state to store with the answers.
    #[cfg(test)]
    pub(crate) fn store_whole(&self) -> StoredEvaluation {
        StoredEvaluation {
            answers: self.answers.clone(),
            ..self.store()
        }
    }

    /// Returns the blocks of the answers.
    pub(crate) fn blocks(&mut self) -> Vec<Block> {
        let dropped = self.dropped;
        cut(
            List::Answers,
            self.answers.make_contiguous(),
            |position, _| dropped + position as u64,
        )
    }

    /// Sets the model that never learns. The counts of another one are removed.
    pub(crate) fn compare_with(&mut self, first_champion: FirstChampion) {
        if let Some(version) = first_champion.version()
            && self.never_learning_model != Some(version)
        {
            self.never_learning_model = Some(version);
            self.never_learning = Paired::default();
            for answers in &mut self.answers {
                answers.never_learning = None;
            }
        }
        self.first_champion = first_champion;
    }

    /// Returns the version of the model that never learns, if it is known.
    pub(crate) fn never_learning_model(&self) -> Option<ModelVersion> {
        self.never_learning_model
    }

    /// Changes the ground truth of the prediction that the join keeps under a number; `None`: it is not known.
    pub fn change(
        &mut self,
        number: u64,
        prediction: &Prediction,
        before: Option<&str>,
        after: Option<&str>,
    ) {
        let served = self.classes.class(&prediction.predicted);
        if let Some(before) = before {
            let truth = self.classes.class(before);
            let cell = self.classes.cell(&truth, &served);
            self.versions.remove(prediction.version, cell);
        }
        let truth = after.map(|after| self.classes.class(after));
        if let Some(truth) = &truth {
            let cell = self.classes.cell(truth, &served);
            self.versions.add(prediction.version, cell);
        }
        match (before, truth) {
            (None, None) => {}
            (None, Some(truth)) => {
                let answers = Answers {
                    number,
                    never_learning: self
                        .first_champion
                        .predict(prediction, self.sample_ratio)
                        .map(|class| self.classes.class(class)),
                    no_change: self.answers.back().map(|previous| previous.truth.clone()),
                    truth,
                    served,
                };
                self.count(&answers);
                self.answers.push_back(answers);
            }
            (Some(_), truth) => self.correct(number, truth),
        }
    }

    /// Changes the ground truth of a record that was labelled before. The answers to one that was labelled under an earlier
    /// version of the program are not known.
    fn correct(&mut self, number: u64, truth: Option<classes::Class>) {
        let Some(position) = self
            .answers
            .iter()
            .rposition(|answers| answers.number == number)
        else {
            return;
        };
        let Some(mut answers) = self.answers.remove(position) else {
            return;
        };
        self.discount(&answers);
        if let Some(truth) = truth {
            answers.truth = truth;
            self.count(&answers);
            self.answers.insert(position, answers);
        }
    }

    fn count(&mut self, answers: &Answers) {
        let classes = &self.classes;
        self.never_learning
            .add(classes, answers, answers.never_learning.as_ref());
        self.no_change
            .add(classes, answers, answers.no_change.as_ref());
    }

    fn discount(&mut self, answers: &Answers) {
        let classes = &self.classes;
        self.never_learning
            .remove(classes, answers, answers.never_learning.as_ref());
        self.no_change
            .remove(classes, answers, answers.no_change.as_ref());
    }

    /// Drops the oldest answers outside the window whose label cannot change any more. `may_change`: whether the join still
    /// keeps the prediction with this number.
    pub fn forget(&mut self, may_change: impl Fn(u64) -> bool) {
        while self.answers.len() > self.window_records
            && self
                .answers
                .front()
                .is_some_and(|oldest| !may_change(oldest.number))
        {
            self.answers.pop_front();
            self.dropped += 1;
        }
    }

    /// Iterates over the newest model versions and their matrices.
    pub fn versions(&self) -> impl Iterator<Item = (Option<ModelVersion>, &Confusion)> {
        self.versions.iter()
    }

    /// Returns the matrix of all earlier versions together; empty if there are none.
    #[must_use]
    pub fn earlier_versions(&self) -> &Confusion {
        self.versions.earlier()
    }

    /// Returns the figures.
    #[must_use]
    pub fn figures(&self) -> LoopFigures {
        let problem = self.first_champion.problem();
        let never_learning = |paired: &Paired| paired.scores().filter(|_| problem.is_none());
        LoopFigures {
            window_records: self.window_records as u64,
            never_learning: NeverLearning {
                model_version: self.never_learning_model,
                sample_ratio: self.sample_ratio,
                problem: problem.clone(),
            },
            total: SpanFigures {
                scores: Scores::from(&self.versions.total()),
                never_learning: never_learning(&self.never_learning),
                no_change: self.no_change.scores(),
            },
            window: self.window(never_learning),
        }
    }

    fn window(&self, scores: impl Fn(&Paired) -> Option<BaselineScores>) -> SpanFigures {
        let classes = &self.classes;
        let (mut served, mut never_learning, mut no_change) =
            (Confusion::default(), Paired::default(), Paired::default());
        for answers in self.answers.iter().rev().take(self.window_records) {
            let (truth, predicted) = classes.cell(&answers.truth, &answers.served);
            served.add(truth, predicted);
            never_learning.add(classes, answers, answers.never_learning.as_ref());
            no_change.add(classes, answers, answers.no_change.as_ref());
        }
        SpanFigures {
            scores: Scores::from(&served),
            never_learning: scores(&never_learning),
            no_change: no_change.scores(),
        }
    }
}
