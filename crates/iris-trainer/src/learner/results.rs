//! The results of the champion on the rows that challengers are judged by, so that it predicts each row once and not once for
//! each challenger.

use std::collections::BTreeMap;

use iris_core::{Model, ModelVersion};
use iris_kafka::PartitionOffset;

use super::trial::Labelled;
use crate::challenger::TrainingExample;

/// A row of features with its label.
pub type Row = (Vec<f64>, String);

/// Whether a model classifies each row correctly.
#[derive(Clone, Debug, Default)]
struct Results {
    version: Option<ModelVersion>,
    /// For each of the dataset's holdout rows.
    dataset: Vec<bool>,
    /// For each record that is held out, by the place of its prediction.
    recent: BTreeMap<PartitionOffset, bool>,
}

impl Results {
    /// Has the model classify the rows that it has not classified yet.
    fn complete(&mut self, model: &Model, dataset: &[Row], recent: &[&TrainingExample]) {
        let version = Some(model.version());
        if self.version != version || self.dataset.len() != dataset.len() {
            *self = Self {
                version,
                dataset: dataset
                    .iter()
                    .map(|(features, label)| model.predict_label(features) == label)
                    .collect(),
                recent: BTreeMap::new(),
            };
        }
        let known = std::mem::take(&mut self.recent);
        self.recent = recent
            .iter()
            .map(|example| {
                let known = known.get(&example.place).copied();
                let result = known.unwrap_or_else(|| Labelled::from(*example).is_correct(model));
                (example.place, result)
            })
            .collect();
    }
}

/// The results of the champion and of the challenger that was judged last.
#[derive(Clone, Debug, Default)]
pub(super) struct JudgedResults {
    champion: Results,
    challenger: Results,
}

impl JudgedResults {
    /// Has both models classify the rows.
    pub(super) fn of(
        &mut self,
        champion: &Model,
        challenger: &Model,
        dataset: &[Row],
        recent: &[&TrainingExample],
    ) {
        if self.challenger.version == Some(champion.version()) {
            self.champion = std::mem::take(&mut self.challenger);
        }
        self.champion.complete(champion, dataset, recent);
        self.challenger.complete(challenger, dataset, recent);
    }

    /// Iterates over the dataset's holdout rows: whether the champion is correct, and whether the challenger is.
    pub(super) fn dataset(&self) -> impl Iterator<Item = (bool, bool)> {
        let champion = self.champion.dataset.iter().copied();
        champion.zip(self.challenger.dataset.iter().copied())
    }

    /// Returns whether the champion is correct on a record that is held out, and whether the challenger is.
    pub(super) fn recent(&self, place: PartitionOffset) -> Option<(bool, bool)> {
        let champion = self.champion.recent.get(&place).copied();
        champion.zip(self.challenger.recent.get(&place).copied())
    }

    /// Forgets the results on a record whose label has changed.
    pub(super) fn forget(&mut self, place: PartitionOffset) {
        self.champion.recent.remove(&place);
        self.challenger.recent.remove(&place);
    }
}
