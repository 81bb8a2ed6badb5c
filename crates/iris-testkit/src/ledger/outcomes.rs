//! What each record has to become, recorded without the code under test.
//!
//! The predictions for the iris dataset are scikit-learn's, from the file that iris-core's own tests compare with; those
//! of a model that scikit-learn has not seen come from [`BruteForce`], the definition of k-nearest neighbours in a few
//! lines. Whoever breaks a record knows the reason that its dead letter must give.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::fixture::dataset;
use crate::local::workspace;

/// The version of the model that the paper's split and settings give.
pub const PAPER_MODEL: &str = "e01454b61de2d075";

/// The neighbours that vote in the paper's model.
const NEIGHBORS: usize = 5;

/// What a record becomes if one model classifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The value of the prediction, and of its feedback.
    pub value: Vec<u8>,
    /// The votes of the classes, in class order, with dots in between.
    pub votes: String,
    /// Whether there must be feedback.
    pub is_mispredicted: bool,
}

/// What a record has to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A prediction, by the version of the model that made it.
    Predictions(BTreeMap<String, Prediction>),
    /// A dead letter with this reason.
    DeadLetter(&'static str),
}

/// The outcomes of all values that a test sends.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    by_value: HashMap<Vec<u8>, Outcome>,
    /// That of records without a value.
    of_no_value: Option<Outcome>,
}

impl Outcomes {
    /// Records what a model of this version has to answer to a value.
    pub fn predict(&mut self, version: &str, value: &[u8], prediction: Prediction) {
        let none = || Outcome::Predictions(BTreeMap::new());
        let outcome = self.by_value.entry(value.to_vec()).or_insert_with(none);
        if let Outcome::Predictions(predictions) = outcome {
            predictions.insert(version.to_owned(), prediction);
        }
    }

    /// Records that a value, or none, cannot be classified.
    pub fn reject(&mut self, value: Option<&[u8]>, reason: &'static str) {
        let outcome = Outcome::DeadLetter(reason);
        match value {
            Some(value) => drop(self.by_value.insert(value.to_vec(), outcome)),
            None => self.of_no_value = Some(outcome),
        }
    }

    /// What a value, or none, has to become; `None` if nobody has recorded it.
    #[must_use]
    pub fn of(&self, value: Option<&[u8]>) -> Option<&Outcome> {
        match value {
            Some(value) => self.by_value.get(value),
            None => self.of_no_value.as_ref(),
        }
    }

    /// Scikit-learn's answers to the 150 rows of the iris dataset.
    ///
    /// # Errors
    /// If the dataset or the reference cannot be read, or they do not belong together.
    pub fn of_the_paper(rows: &[Row]) -> anyhow::Result<Self> {
        let reference = Reference::read()?;
        ensure!(
            rows.len() == reference.predictions.len(),
            "the reference is of other rows"
        );
        let mut outcomes = Self::default();
        for (row, answer) in rows.iter().zip(&reference.predictions) {
            ensure!(row.id == answer.id, "the reference is of other rows");
            let prediction = row.prediction(&answer.predicted, &answer.votes);
            outcomes.predict(PAPER_MODEL, &row.value, prediction);
        }
        Ok(outcomes)
    }
}

/// A row of the iris dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// The record that is sent: one JSON object, numbers as the file has them.
    pub value: Vec<u8>,
    /// Its measurements.
    pub features: [f64; 4],
    /// Its class, if the record has it.
    pub label: Option<String>,
}

impl Row {
    /// The iris dataset, in the file's order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn iris() -> anyhow::Result<Vec<Self>> {
        let path = dataset("iris.csv");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().context("no header")?.split(',').collect();
        lines.map(|line| Self::parse(&names, line)).collect()
    }

    fn parse(names: &[&str], line: &str) -> anyhow::Result<Self> {
        let cells: Vec<&str> = line.split(',').collect();
        let &[id, first, second, third, fourth, label] = cells.as_slice() else {
            anyhow::bail!("not a row of iris: {line}");
        };
        let mut features = [0.0; 4];
        for (feature, cell) in features.iter_mut().zip([first, second, third, fourth]) {
            *feature = cell.parse()?;
        }
        let members: Vec<String> = names
            .iter()
            .zip(&cells)
            .map(|(name, cell)| {
                if *cell == label {
                    format!("\"{name}\":\"{cell}\"")
                } else {
                    format!("\"{name}\":{cell}")
                }
            })
            .collect();
        Ok(Self {
            id: id.to_owned(),
            value: format!("{{{}}}", members.join(",")).into_bytes(),
            features,
            label: Some(label.to_owned()),
        })
    }

    /// The same row as a record that has no label.
    #[must_use]
    pub fn without_label(mut self) -> Self {
        let label = self.value.iter().rposition(|&byte| byte == b',');
        self.value.truncate(label.unwrap_or_default());
        self.value.push(b'}');
        self.label = None;
        self
    }

    /// What the row becomes if a model answers so.
    fn prediction(&self, class: &str, votes: &[u32]) -> Prediction {
        let mut value = self.value.clone();
        value.pop();
        value.extend(format!(",\"PredictedSpecies\":\"{class}\"}}").bytes());
        let votes: Vec<String> = votes.iter().map(u32::to_string).collect();
        Prediction {
            value,
            votes: votes.join("."),
            is_mispredicted: self.label.as_ref().is_some_and(|label| label != class),
        }
    }
}

/// What scikit-learn answered.
#[derive(Deserialize)]
struct Reference {
    /// The ids of the training rows, in the order of the split.
    train: Vec<String>,
    classes: Vec<String>,
    predictions: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    predicted: String,
    votes: Vec<u32>,
}

impl Reference {
    fn read() -> anyhow::Result<Self> {
        let path = workspace().join("crates/iris-core/tests/reference/iris.json");
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// K-nearest neighbours by the definition: every training row's distance is computed, the nearest vote, and the class
/// with the most votes wins.
///
/// Of rows equally far away the first in the training set comes first, and a tied vote goes to the class that sorts first.
#[derive(Clone, Debug)]
pub struct BruteForce {
    classes: Vec<String>,
    rows: Vec<([f64; 4], usize)>,
}

impl BruteForce {
    /// The paper's model.
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
            rows: found.context("the reference is of other rows")?,
            classes,
        })
    }

    /// The same model with one training row more, of the class that sorts first.
    #[must_use]
    pub fn with_one_row_more(mut self, features: [f64; 4]) -> Self {
        self.rows.push((features, 0));
        self
    }

    /// Its training rows, each with its class.
    #[must_use]
    pub fn training_rows(&self) -> Vec<([f64; 4], String)> {
        let row = |&(features, class): &([f64; 4], usize)| (features, self.classes[class].clone());
        self.rows.iter().map(row).collect()
    }

    /// What this model makes of a row.
    #[must_use]
    pub fn predict(&self, row: &Row) -> Prediction {
        let distance = |features: &[f64; 4]| -> f64 {
            let differences = features.iter().zip(&row.features).map(|(a, b)| a - b);
            differences.map(|difference| difference * difference).sum()
        };
        let mut nearest: Vec<(f64, usize)> = self
            .rows
            .iter()
            .map(|(features, class)| (distance(features), *class))
            .collect();
        // Stable: rows equally far away stay in their order.
        nearest.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut votes = vec![0; self.classes.len()];
        for (_, class) in nearest.into_iter().take(NEIGHBORS) {
            votes[class] += 1;
        }
        let most = votes.iter().max();
        let class = votes.iter().position(|count| Some(count) == most);
        row.prediction(&self.classes[class.unwrap_or_default()], &votes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_answers_have_the_papers_four_mispredictions() {
        let rows = Row::iris().unwrap();
        let outcomes = Outcomes::of_the_paper(&rows).unwrap();
        let is_mispredicted = |row: &&Row| match outcomes.of(Some(&row.value)) {
            Some(Outcome::Predictions(answers)) => answers[PAPER_MODEL].is_mispredicted,
            other => panic!("{other:?}"),
        };
        let mispredicted = rows.iter().filter(is_mispredicted);
        let ids: Vec<&str> = mispredicted.map(|row| row.id.as_str()).collect();
        assert_eq!(ids, ["71", "73", "84", "107"]);
    }

    #[test]
    fn a_recorded_answer_is_the_row_its_prediction_and_its_votes() {
        let rows = Row::iris().unwrap();
        let outcomes = Outcomes::of_the_paper(&rows).unwrap();
        let row = br#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor"}"#;
        let value = br#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor","PredictedSpecies":"Iris-virginica"}"#;
        let prediction = Prediction {
            value: value.to_vec(),
            votes: "0.2.3".to_owned(),
            is_mispredicted: true,
        };
        let expected = Outcome::Predictions([(PAPER_MODEL.to_owned(), prediction)].into());
        assert_eq!(outcomes.of(Some(row)), Some(&expected));
        assert_eq!(outcomes.of(Some(b"{}")), None);
    }

    #[test]
    fn brute_force_answers_as_scikit_learn_does() {
        let rows = Row::iris().unwrap();
        let outcomes = Outcomes::of_the_paper(&rows).unwrap();
        let model = BruteForce::of_the_paper().unwrap();
        for row in &rows {
            let expected = [(PAPER_MODEL.to_owned(), model.predict(row))].into();
            let expected = Outcome::Predictions(expected);
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
