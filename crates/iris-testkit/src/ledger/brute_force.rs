//! K-nearest neighbours by definition, for models that scikit-learn has not seen.

use anyhow::Context;

use super::outcomes::ExpectedPrediction;
use super::reference::Reference;
use super::row::Row;

/// The number of neighbours that vote in the paper's model.
const NEIGHBORS: usize = 5;

/// A model that computes the distance to every training row; the nearest rows vote for their class.
///
/// Among rows at the same distance, the first in the training set is the nearest. A tied vote goes to the class that sorts
/// first.
#[derive(Clone, Debug)]
pub struct BruteForce {
    classes: Vec<String>,
    rows: Vec<([f64; 4], usize)>,
}

impl BruteForce {
    /// Returns the paper's model.
    ///
    /// # Errors
    /// If the dataset or the reference's split cannot be read.
    pub fn of_the_paper() -> anyhow::Result<Self> {
        let Reference { train, classes, .. } = Reference::read()?;
        let rows = Row::iris()?;
        let training_row = |id: &String| {
            let row = rows.iter().find(|row| row.id == *id)?;
            let class = classes
                .iter()
                .position(|class| Some(class) == row.label.as_ref())?;
            Some((row.features, class))
        };
        let found: Option<Vec<_>> = train.iter().map(training_row).collect();
        Ok(Self {
            rows: found.context("the reference file has other rows")?,
            classes,
        })
    }

    /// Returns the model with one more training row, of the class that sorts first.
    #[must_use]
    pub fn with_one_more_row(mut self, features: [f64; 4]) -> Self {
        self.rows.push((features, 0));
        self
    }

    /// Returns the training rows, each with its class.
    #[must_use]
    pub fn training_rows(&self) -> Vec<([f64; 4], String)> {
        let row = |&(features, class): &([f64; 4], usize)| (features, self.classes[class].clone());
        self.rows.iter().map(row).collect()
    }

    /// Returns the prediction for a row.
    #[must_use]
    pub fn predict(&self, row: &Row) -> ExpectedPrediction {
        let distance = |features: &[f64; 4]| -> f64 {
            let differences = features.iter().zip(&row.features).map(|(a, b)| a - b);
            differences.map(|difference| difference * difference).sum()
        };
        let mut nearest: Vec<(f64, usize)> = self
            .rows
            .iter()
            .map(|(features, class)| (distance(features), *class))
            .collect();
        // The sort is stable: rows at the same distance keep their order.
        nearest.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut votes = vec![0; self.classes.len()];
        for (_, class) in nearest.into_iter().take(NEIGHBORS) {
            votes[class] += 1;
        }
        let most = votes.iter().max();
        let class = votes.iter().position(|count| Some(count) == most);
        ExpectedPrediction::of(row, &self.classes[class.unwrap_or_default()], &votes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcomes::{ExpectedOutcome, ExpectedOutcomes, PAPER_MODEL};
    use super::*;

    #[test]
    fn brute_force_predicts_as_scikit_learn_does() {
        let rows = Row::iris().unwrap();
        let outcomes = ExpectedOutcomes::of_the_paper(&rows).unwrap();
        let model = BruteForce::of_the_paper().unwrap();
        for row in &rows {
            let expected = [(PAPER_MODEL.to_owned(), model.predict(row))].into();
            let expected = ExpectedOutcome::Predictions(expected);
            assert_eq!(outcomes.of(Some(&row.value)), Some(&expected));
        }
    }

    #[test]
    fn a_tied_vote_goes_to_the_class_that_sorts_first() {
        let model = BruteForce {
            classes: vec!["a".to_owned(), "b".to_owned()],
            rows: vec![([1.0; 4], 1), ([2.0; 4], 0)],
        };
        let row = Row {
            id: String::new(),
            value: b"{}".to_vec(),
            features: [0.0; 4],
            label: None,
        };
        let prediction = model.predict(&row);
        assert_eq!(prediction.votes, "1.1");
        assert_eq!(prediction.value, b"{,\"PredictedSpecies\":\"a\"}");
    }
}
