//! The expected outcome of each record, recorded without the code under test.
//!
//! The predictions for the iris dataset are scikit-learn's. The predictions of other models come from
//! [`BruteForce`](super::BruteForce). A test that sends an invalid record states the reason that its dead letter must have.

use std::collections::{BTreeMap, HashMap};

use anyhow::ensure;

use super::reference::Reference;
use super::row::Row;

/// The version of the model that the paper's split and settings give.
pub const PAPER_MODEL: &str = "e01454b61de2d075";

/// The expected prediction of one model for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedPrediction {
    /// The value of the prediction, and of its feedback.
    pub value: Vec<u8>,
    /// The votes of the classes, in class order, separated by dots.
    pub votes: String,
    /// Whether there must be feedback.
    pub is_mispredicted: bool,
}

impl ExpectedPrediction {
    /// Returns the prediction of `class` for a row.
    #[must_use]
    pub fn of(row: &Row, class: &str, votes: &[u32]) -> Self {
        let mut value = row.value.clone();
        value.pop();
        value.extend(format!(",\"PredictedSpecies\":\"{class}\"}}").bytes());
        let votes: Vec<String> = votes.iter().map(u32::to_string).collect();
        Self {
            value,
            votes: votes.join("."),
            is_mispredicted: row.label.as_ref().is_some_and(|label| label != class),
        }
    }
}

/// The expected outcome of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedOutcome {
    /// A prediction, by the version of the model that makes it.
    Predictions(BTreeMap<String, ExpectedPrediction>),
    /// A dead letter with this reason.
    DeadLetter(&'static str),
}

/// The expected outcomes of all values that a test sends.
#[derive(Clone, Debug, Default)]
pub struct ExpectedOutcomes {
    by_value: HashMap<Vec<u8>, ExpectedOutcome>,
    /// The outcome of records without a value.
    of_no_value: Option<ExpectedOutcome>,
}

impl ExpectedOutcomes {
    /// Sets the prediction of a value by a model of this version.
    pub fn expect_prediction(
        &mut self,
        version: &str,
        value: &[u8],
        prediction: ExpectedPrediction,
    ) {
        let none = || ExpectedOutcome::Predictions(BTreeMap::new());
        let outcome = self.by_value.entry(value.to_vec()).or_insert_with(none);
        if let ExpectedOutcome::Predictions(predictions) = outcome {
            predictions.insert(version.to_owned(), prediction);
        }
    }

    /// Sets the reason of the dead letter of a value, or of records without a value.
    pub fn expect_dead_letter(&mut self, value: Option<&[u8]>, reason: &'static str) {
        let outcome = ExpectedOutcome::DeadLetter(reason);
        match value {
            Some(value) => drop(self.by_value.insert(value.to_vec(), outcome)),
            None => self.of_no_value = Some(outcome),
        }
    }

    /// Returns the expected outcome of a value, or of no value; `None` if it is not set.
    #[must_use]
    pub fn of(&self, value: Option<&[u8]>) -> Option<&ExpectedOutcome> {
        match value {
            Some(value) => self.by_value.get(value),
            None => self.of_no_value.as_ref(),
        }
    }

    /// Returns scikit-learn's predictions for the 150 rows of the iris dataset.
    ///
    /// # Errors
    /// If the dataset or the reference file cannot be read, or they have different rows.
    pub fn of_the_paper(rows: &[Row]) -> anyhow::Result<Self> {
        let reference = Reference::read()?;
        ensure!(
            rows.len() == reference.predictions.len(),
            "the reference file has other rows"
        );
        let mut outcomes = Self::default();
        for (row, reference) in rows.iter().zip(&reference.predictions) {
            ensure!(row.id == reference.id, "the reference file has other rows");
            let prediction = ExpectedPrediction::of(row, &reference.predicted, &reference.votes);
            outcomes.expect_prediction(PAPER_MODEL, &row.value, prediction);
        }
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_rows_of_the_paper_are_mispredicted() {
        let rows = Row::iris().unwrap();
        let outcomes = ExpectedOutcomes::of_the_paper(&rows).unwrap();
        let is_mispredicted = |row: &&Row| match outcomes.of(Some(&row.value)) {
            Some(ExpectedOutcome::Predictions(by_model)) => by_model[PAPER_MODEL].is_mispredicted,
            other => panic!("{other:?}"),
        };
        let mispredicted = rows.iter().filter(is_mispredicted);
        let ids: Vec<&str> = mispredicted.map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["71", "73", "84", "107"]);
    }

    #[test]
    fn an_expected_prediction_has_the_row_the_class_and_the_votes() {
        let rows = Row::iris().unwrap();
        let outcomes = ExpectedOutcomes::of_the_paper(&rows).unwrap();
        let row = br#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor"}"#;
        let value = br#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor","PredictedSpecies":"Iris-virginica"}"#;
        let prediction = ExpectedPrediction {
            value: value.to_vec(),
            votes: "0.2.3".to_owned(),
            is_mispredicted: true,
        };
        let expected = ExpectedOutcome::Predictions([(PAPER_MODEL.to_owned(), prediction)].into());
        assert_eq!(outcomes.of(Some(row)), Some(&expected));
        assert_eq!(outcomes.of(Some(b"{}")), None);
    }
}
