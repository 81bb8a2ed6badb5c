//! The k-nearest-neighbours model: fitted to a training set and identified by the hash of its content.
//!
//! The predicted class is that of most of the `k` nearest training rows (Euclidean distance, uniform votes). A tied vote
//! goes to the class that sorts first. Among rows at the same distance in the k-th place, the first in the training set
//! votes. Where scikit-learn has a rule, it is the same.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::content_hash::{self, update_number, update_text};
use crate::neighbors::{NeighborIndex, Neighbors};
use crate::schema::Schema;

/// Labelled rows for fitting a model.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingSet {
    schema: Schema,
    classes: Vec<String>,
    features: Vec<f64>,
    class_of_row: Vec<usize>,
}

impl TrainingSet {
    /// Collects rows of features and labels. Classes are the distinct labels, sorted.
    #[must_use]
    pub fn new<'a>(
        schema: Schema,
        rows: impl Iterator<Item = (&'a [f64], &'a str)> + Clone,
    ) -> Self {
        let mut classes: Vec<String> = rows.clone().map(|(_, label)| label.to_owned()).collect();
        classes.sort_unstable();
        classes.dedup();
        let features = rows
            .clone()
            .flat_map(|(features, _)| features.iter().copied())
            .collect();
        let class_of_row = rows
            .filter_map(|(_, label)| {
                classes
                    .binary_search_by(|class| class.as_str().cmp(label))
                    .ok()
            })
            .collect();
        Self {
            schema,
            classes,
            features,
            class_of_row,
        }
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.class_of_row.len()
    }

    /// Returns whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.class_of_row.is_empty()
    }

    /// Returns the values of all rows, row-major, one for each feature of the schema.
    #[must_use]
    pub fn features(&self) -> &[f64] {
        &self.features
    }

    /// Returns the class of each row, as an index into [`classes`](Self::classes).
    #[must_use]
    pub fn class_of_row(&self) -> &[usize] {
        &self.class_of_row
    }

    /// The distinct labels, sorted.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Iterates over the rows: the features and the label of each.
    pub fn rows(&self) -> impl Iterator<Item = (&[f64], &str)> + Clone {
        let label = |&class: &usize| self.classes[class].as_str();
        self.features
            .chunks_exact(self.schema.features.len())
            .zip(self.class_of_row.iter().map(label))
    }

    /// Returns the meaning of the columns.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

/// A model that cannot be fitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The number of neighbours is 0.
    #[error("neighbors is 0: at least one neighbour has to vote")]
    NoNeighbors,
    /// There are fewer rows than neighbours to vote.
    #[error("neighbors is {neighbors}, but there are only {rows} training rows")]
    TooFewRows {
        /// The number of neighbours.
        neighbors: usize,
        /// The number of training rows.
        rows: usize,
    },
}

/// The identity of a model: the first 64 bits of the SHA-256 of its content, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelVersion(u64);

impl fmt::Display for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ModelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelVersion({self})")
    }
}

impl FromStr for ModelVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        content_hash::parse(text).map(Self).ok_or(())
    }
}

impl Serialize for ModelVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ModelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let wanted = "a model version, 16 hexadecimal digits";
        text.parse()
            .map_err(|()| de::Error::invalid_value(de::Unexpected::Str(&text), &wanted))
    }
}

/// The class with the most votes. [`Model::predict`] writes the votes to its `votes` argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The class, as an index into [`Model::classes`].
    pub class: usize,
}

/// A fitted model.
#[derive(Clone, Debug)]
pub struct Model {
    version: ModelVersion,
    neighbors: usize,
    training_set: TrainingSet,
    index: NeighborIndex,
}

impl Model {
    /// Fits a model in which the `neighbors` nearest rows of the training set vote.
    ///
    /// # Errors
    /// [`FitError`] if `neighbors` is 0 or exceeds the number of rows.
    pub fn fit(training_set: TrainingSet, neighbors: usize) -> Result<Self, FitError> {
        let rows = training_set.len();
        match neighbors {
            0 => return Err(FitError::NoNeighbors),
            _ if neighbors > rows => return Err(FitError::TooFewRows { neighbors, rows }),
            _ => {}
        }
        let version = version(&training_set, neighbors);
        let index = NeighborIndex::new(&training_set.features, training_set.schema.features.len());
        Ok(Self {
            version,
            neighbors,
            training_set,
            index,
        })
    }

    /// Predicts the class of one row of features.
    ///
    /// `found` and `votes` are buffers for reuse. On return, `found` holds the neighbours and `votes` the number of votes of
    /// each class.
    ///
    /// # Panics
    /// If `features` does not have exactly one value for each feature of the schema.
    pub fn predict(
        &self,
        features: &[f64],
        found: &mut Neighbors,
        votes: &mut Vec<u32>,
    ) -> Prediction {
        self.index.nearest(features, self.neighbors, found);
        votes.clear();
        votes.resize(self.training_set.classes.len(), 0);
        for neighbor in found.as_slice() {
            votes[self.training_set.class_of_row[neighbor.row as usize]] += 1;
        }
        let mut class = 0;
        for (other, &count) in votes.iter().enumerate() {
            if count > votes[class] {
                class = other;
            }
        }
        Prediction { class }
    }

    /// Returns the identity of this model.
    #[must_use]
    pub fn version(&self) -> ModelVersion {
        self.version
    }

    /// Returns the number of neighbours that vote.
    #[must_use]
    pub fn neighbors(&self) -> usize {
        self.neighbors
    }

    /// Returns the distinct labels, sorted; a prediction's class is an index into them.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.training_set.classes
    }

    /// Returns the rows that the model was fitted to.
    #[must_use]
    pub fn training_set(&self) -> &TrainingSet {
        &self.training_set
    }

    /// Predicts the label of one row of features, with buffers of its own.
    ///
    /// # Panics
    /// As [`predict`](Self::predict).
    #[must_use]
    pub fn predict_label(&self, features: &[f64]) -> &str {
        let prediction = self.predict(features, &mut Neighbors::default(), &mut Vec::new());
        &self.classes()[prediction.class]
    }

    /// Returns the share of correct predictions for the given labelled rows; `None` if there are no rows.
    #[must_use]
    pub fn accuracy<'a>(&self, rows: impl Iterator<Item = (&'a [f64], &'a str)>) -> Option<f64> {
        let (mut found, mut votes) = (Neighbors::default(), Vec::new());
        let (mut right, mut all) = (0_u32, 0_u32);
        for (features, label) in rows {
            let prediction = self.predict(features, &mut found, &mut votes);
            right += u32::from(self.classes()[prediction.class] == label);
            all += 1;
        }
        (all > 0).then(|| f64::from(right) / f64::from(all))
    }
}

/// Hashes everything that a prediction depends on. Strings are hashed with their length, so different contents never have the
/// same input.
fn version(training_set: &TrainingSet, neighbors: usize) -> ModelVersion {
    let mut hash = Sha256::new();
    hash.update(b"iris knn 1");
    update_number(&mut hash, neighbors);
    let schema = &training_set.schema;
    update_number(&mut hash, schema.features.len());
    for text in schema
        .features
        .iter()
        .chain([&schema.label])
        .chain(&training_set.classes)
    {
        update_text(&mut hash, text);
    }
    update_number(&mut hash, training_set.len());
    for &class in &training_set.class_of_row {
        update_number(&mut hash, class);
    }
    for value in &training_set.features {
        hash.update(value.to_bits().to_be_bytes());
    }
    ModelVersion(content_hash::finish(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training_set(rows: &[(&[f64], &str)]) -> TrainingSet {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        TrainingSet::new(schema, rows.iter().copied())
    }

    fn predict(model: &Model, features: &[f64]) -> (String, Vec<u32>) {
        let mut votes = Vec::new();
        let prediction = model.predict(features, &mut Neighbors::default(), &mut votes);
        (model.classes()[prediction.class].clone(), votes)
    }

    #[test]
    fn a_tied_vote_goes_to_the_class_that_sorts_first() {
        let rows: [(&[f64], &str); 4] =
            [(&[1.0], "b"), (&[2.0], "a"), (&[-1.0], "b"), (&[-2.0], "a")];
        let model = Model::fit(training_set(&rows), 4).unwrap();
        assert_eq!(predict(&model, &[0.0]), ("a".into(), vec![2, 2]));
    }

    #[test]
    fn among_equally_distant_rows_in_the_last_place_the_first_votes() {
        let rows: [(&[f64], &str); 3] = [(&[1.0], "z"), (&[-1.0], "a"), (&[5.0], "a")];
        let model = Model::fit(training_set(&rows), 1).unwrap();
        assert_eq!(predict(&model, &[0.0]).0, "z");
    }

    #[test]
    fn the_version_depends_on_the_content_alone() {
        let rows: [(&[f64], &str); 2] = [(&[1.0], "a"), (&[2.0], "b")];
        let version =
            |rows: &[(&[f64], &str)], k| Model::fit(training_set(rows), k).unwrap().version();
        assert_eq!(version(&rows, 1), version(&rows, 1));
        assert_ne!(version(&rows, 1), version(&rows, 2));
        assert_ne!(version(&rows, 1), version(&[rows[1], rows[0]], 1));
        let text = version(&rows, 1).to_string();
        assert_eq!(text.parse::<ModelVersion>(), Ok(version(&rows, 1)));
        assert_eq!("0123".parse::<ModelVersion>(), Err(()));
        assert_eq!("+123456789abcdef".parse::<ModelVersion>(), Err(()));
    }

    #[test]
    fn invalid_numbers_of_neighbours_are_rejected() {
        let rows: [(&[f64], &str); 1] = [(&[1.0], "a")];
        assert_eq!(
            Model::fit(training_set(&rows), 0).unwrap_err(),
            FitError::NoNeighbors
        );
        assert_eq!(
            Model::fit(training_set(&rows), 5).unwrap_err().to_string(),
            "neighbors is 5, but there are only 1 training rows"
        );
    }
}
