//! How good answers were: confusion matrices that can be taken back, a record at a time.

use std::collections::BTreeMap;

use iris_core::ModelVersion;
use serde::{Deserialize, Serialize};

/// The model versions that are told apart; the one that was seen first makes room.
const MOST_VERSIONS: usize = 20;

/// How often each class was predicted for each true one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// By ground truth, then by prediction.
    counts: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Confusion {
    /// Counts an answer.
    pub fn add(&mut self, truth: &str, predicted: &str) {
        let row = self.counts.entry(truth.to_owned()).or_default();
        *row.entry(predicted.to_owned()).or_default() += 1;
    }

    /// Takes an answer back that was counted.
    pub fn remove(&mut self, truth: &str, predicted: &str) {
        let Some(row) = self.counts.get_mut(truth) else {
            return;
        };
        if let Some(count) = row.get_mut(predicted) {
            *count = count.saturating_sub(1);
        }
        row.retain(|_, count| *count > 0);
        if row.is_empty() {
            self.counts.remove(truth);
        }
    }

    /// The counts that are not 0: ground truth, prediction, and how often.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.counts.iter().flat_map(|(truth, row)| {
            row.iter()
                .map(move |(predicted, &count)| (truth.as_str(), predicted.as_str(), count))
        })
    }

    /// The answers counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cells().map(|(_, _, count)| count).sum()
    }

    /// The share of right answers; `None` without answers.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = self
            .cells()
            .filter(|(truth, predicted, _)| truth == predicted)
            .map(|(_, _, count)| count)
            .sum();
        let total = self.total();
        (total > 0).then(|| right as f64 / total as f64)
    }

    /// Cohen's kappa: how far the answers are better than chance agreement of the same marginals (Cohen, 1960). `None` where
    /// it is not defined: without answers, or with one class only.
    #[must_use]
    pub fn kappa(&self) -> Option<f64> {
        let accuracy = self.accuracy()?;
        let total = self.total() as f64;
        let mut predicted: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, class, count) in self.cells() {
            *predicted.entry(class).or_default() += count;
        }
        let by_chance: f64 = self
            .counts
            .iter()
            .map(|(truth, row)| {
                let true_share = row.values().sum::<u64>() as f64 / total;
                let predicted_share =
                    predicted.get(truth.as_str()).copied().unwrap_or(0) as f64 / total;
                true_share * predicted_share
            })
            .sum();
        (by_chance < 1.0).then(|| (accuracy - by_chance) / (1.0 - by_chance))
    }
}

/// A confusion matrix for each model version, in the order in which the versions were first seen. Answers that do not say
/// which version gave them have a matrix of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    versions: Vec<(Option<ModelVersion>, Confusion)>,
}

impl Evaluation {
    /// Counts an answer.
    pub fn add(&mut self, version: Option<ModelVersion>, truth: &str, predicted: &str) {
        let known = self
            .versions
            .iter()
            .position(|(known, _)| *known == version);
        let position = known.unwrap_or_else(|| {
            if self.versions.len() == MOST_VERSIONS {
                self.versions.remove(0);
            }
            self.versions.push((version, Confusion::default()));
            self.versions.len() - 1
        });
        self.versions[position].1.add(truth, predicted);
    }

    /// Takes an answer back that was counted.
    pub fn remove(&mut self, version: Option<ModelVersion>, truth: &str, predicted: &str) {
        let known = |(known, _): &&mut (Option<ModelVersion>, Confusion)| *known == version;
        if let Some((_, confusion)) = self.versions.iter_mut().find(known) {
            confusion.remove(truth, predicted);
        }
    }

    /// The matrices.
    pub fn versions(&self) -> impl Iterator<Item = (Option<ModelVersion>, &Confusion)> {
        self.versions
            .iter()
            .map(|(version, confusion)| (*version, confusion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cohen's own example of agreement: 70 of 100, of which 52 by chance.
    #[test]
    fn kappa_is_agreement_beyond_chance() {
        let mut confusion = Confusion::default();
        for (truth, predicted, count) in [
            ("a", "a", 20),
            ("a", "b", 5),
            ("b", "a", 10),
            ("b", "b", 15),
        ] {
            for _ in 0..count {
                confusion.add(truth, predicted);
            }
        }
        assert_eq!(confusion.accuracy(), Some(0.7));
        let kappa = confusion.kappa().unwrap();
        assert!((kappa - 0.4).abs() < 1e-12, "{kappa}");
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut confusion = Confusion::default();
        confusion.add("a", "b");
        confusion.add("a", "a");
        confusion.remove("a", "b");
        confusion.remove("a", "a");
        confusion.remove("never", "seen");
        assert_eq!(confusion, Confusion::default());
        assert_eq!((confusion.accuracy(), confusion.kappa()), (None, None));
    }

    #[test]
    fn one_class_alone_has_no_kappa() {
        let mut confusion = Confusion::default();
        confusion.add("a", "a");
        assert_eq!(confusion.accuracy(), Some(1.0));
        assert_eq!(confusion.kappa(), None);
    }

    #[test]
    fn the_versions_told_apart_are_bounded() {
        let mut evaluation = Evaluation::default();
        for number in 0..MOST_VERSIONS as u64 + 5 {
            let version = format!("{number:016x}").parse().unwrap();
            evaluation.add(Some(version), "a", "a");
        }
        assert_eq!(evaluation.versions().count(), MOST_VERSIONS);
        let first = evaluation.versions().next().unwrap().0.unwrap();
        assert_eq!(first.to_string(), "0000000000000005");
    }
}
