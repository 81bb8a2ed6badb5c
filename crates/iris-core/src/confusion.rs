//! The confusion matrix: counts predictions by true and predicted class.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts by true and predicted class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion {
    /// By ground truth, then by prediction.
    counts: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Confusion {
    /// Counts a prediction.
    pub fn add(&mut self, truth: &str, predicted: &str) {
        self.add_many(truth, predicted, 1);
    }

    /// Counts several equal predictions.
    pub fn add_many(&mut self, truth: &str, predicted: &str, count: u64) {
        if count > 0 {
            let row = self.counts.entry(truth.to_owned()).or_default();
            *row.entry(predicted.to_owned()).or_default() += count;
        }
    }

    /// Adds all counts of another matrix.
    pub fn add_all(&mut self, other: &Self) {
        for (truth, predicted, count) in other.cells() {
            self.add_many(truth, predicted, count);
        }
    }

    /// Removes a prediction that was counted.
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

    /// Returns the nonzero counts as (true class, predicted class, count).
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.counts.iter().flat_map(|(truth, row)| {
            row.iter()
                .map(move |(predicted, &count)| (truth.as_str(), predicted.as_str(), count))
        })
    }

    /// Returns the count of one cell.
    #[must_use]
    pub fn count(&self, truth: &str, predicted: &str) -> u64 {
        let row = self.counts.get(truth);
        row.and_then(|row| row.get(predicted))
            .copied()
            .unwrap_or_default()
    }

    /// Returns the number of predictions counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.cells().map(|(_, _, count)| count).sum()
    }

    /// Returns the number of correct predictions.
    #[must_use]
    pub fn right(&self) -> u64 {
        let right = self
            .cells()
            .filter(|(truth, predicted, _)| truth == predicted);
        right.map(|(_, _, count)| count).sum()
    }

    /// Returns the share of correct predictions; `None` without predictions.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.right() as f64 / total as f64)
    }

    /// Returns Cohen's kappa, the agreement beyond that expected by chance from the same marginals (Cohen, 1960). `None` where
    /// it is undefined: without predictions or with a single class.
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

    /// Returns the mean, over the classes that occur as ground truth, of the share of their records that are predicted
    /// correctly. `None` without predictions.
    #[must_use]
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let recall = |(truth, row): (&String, &BTreeMap<String, u64>)| {
            let right = row.get(truth).copied().unwrap_or_default();
            right as f64 / row.values().sum::<u64>() as f64
        };
        let recalls: f64 = self.counts.iter().map(recall).sum();
        (!self.counts.is_empty()).then(|| recalls / self.counts.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A textbook example: 35 of 50 agree, 25 are expected by chance.
    #[test]
    fn kappa_measures_agreement_beyond_chance() {
        let mut confusion = Confusion::default();
        for (truth, predicted, count) in [
            ("a", "a", 20),
            ("a", "b", 5),
            ("b", "a", 10),
            ("b", "b", 15),
        ] {
            confusion.add_many(truth, predicted, count);
        }
        assert_eq!(confusion.accuracy(), Some(0.7));
        let kappa = confusion.kappa().unwrap();
        assert!((kappa - 0.4).abs() < 1e-12, "{kappa}");
    }

    #[test]
    fn removing_all_predictions_leaves_an_empty_matrix() {
        let mut confusion = Confusion::default();
        confusion.add("a", "b");
        confusion.add("a", "a");
        confusion.remove("a", "b");
        confusion.remove("a", "a");
        confusion.remove("never", "seen");
        assert_eq!(confusion, Confusion::default());
        assert_eq!((confusion.accuracy(), confusion.kappa()), (None, None));
        assert_eq!(confusion.balanced_accuracy(), None);
    }

    /// Returns the matrix with these counts; rows are true classes, columns predicted classes.
    fn matrix(counts: &[&[u64]]) -> Confusion {
        let mut confusion = Confusion::default();
        for (truth, row) in counts.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                confusion.add_many(&truth.to_string(), &predicted.to_string(), count);
            }
        }
        confusion
    }

    /// The numbers of scikit-learn 1.x: `accuracy_score`, `cohen_kappa_score` and `balanced_accuracy_score`. The first matrix
    /// is also computed by hand: 146 of 150 agree, a third by chance, and the recalls are 1, 0.94 and 0.98. In the second
    /// one, the last class is predicted but never true.
    #[test]
    fn scores_equal_those_of_scikit_learn() {
        let balanced: &[&[u64]] = &[&[50, 0, 0], &[0, 47, 3], &[0, 1, 49]];
        let unbalanced: &[&[u64]] = &[&[90, 4, 0, 1], &[8, 30, 2, 0], &[0, 3, 5, 2]];
        for (counts, expected) in [
            (balanced, [146.0 / 150.0, 0.96, 2.92 / 3.0]),
            (
                unbalanced,
                [
                    0.862_068_965_517_241_3,
                    0.714_707_329_070_339_4,
                    0.732_456_140_350_877_1,
                ],
            ),
        ] {
            let matrix = matrix(counts);
            let scores = [
                matrix.accuracy(),
                matrix.kappa(),
                matrix.balanced_accuracy(),
            ];
            for (score, expected) in scores.into_iter().zip(expected) {
                assert!((score.unwrap() - expected).abs() < 1e-12, "{score:?}");
            }
        }
    }

    #[test]
    fn matrices_add_up_and_serialize_as_rows() {
        let (mut confusion, mut other) = (Confusion::default(), Confusion::default());
        confusion.add("a", "b");
        other.add_many("a", "b", 2);
        other.add_many("b", "b", 3);
        other.add_many("b", "a", 0);
        confusion.add_all(&other);
        assert_eq!((confusion.total(), confusion.right()), (6, 3));
        assert_eq!(
            (confusion.count("a", "b"), confusion.count("b", "a")),
            (3, 0)
        );
        let json = serde_json::to_string(&confusion).unwrap();
        assert_eq!(json, r#"{"a":{"b":3},"b":{"b":3}}"#);
        assert_eq!(serde_json::from_str::<Confusion>(&json).unwrap(), confusion);
    }

    #[test]
    fn kappa_is_undefined_for_a_single_class() {
        let mut confusion = Confusion::default();
        confusion.add("a", "a");
        assert_eq!(confusion.accuracy(), Some(1.0));
        assert_eq!(confusion.kappa(), None);
    }
}
