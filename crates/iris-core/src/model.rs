//! A fitted model: its training set, its content, and its identity, which is the hash of both.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::content_hash::{self, update_number, update_text};
use crate::kinds::{Buffers, FitError, Fitted, ModelContent, ModelKind, OnnxContent};
use crate::schema::Schema;
use crate::training_set::TrainingSet;

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
    training_set: TrainingSet,
    fitted: Fitted,
}

impl Model {
    /// Fits a model. A number stands for that many neighbours with the default settings.
    ///
    /// # Errors
    /// [`FitError`] if the kind does not suit the training set.
    pub fn fit(training_set: TrainingSet, kind: impl Into<ModelKind>) -> Result<Self, FitError> {
        let content = kind.into().fit(&training_set)?;
        Self::assemble(training_set, content)
    }

    /// Imports a model in the ONNX format. `names` are the names of its classes in the order of its scores, if they are not its
    /// labels.
    ///
    /// # Errors
    /// [`FitError`] if it is not a classifier of rows of the schema's features, or this program cannot run it.
    pub fn import_onnx(
        bytes: Vec<u8>,
        names: Option<&[String]>,
        schema: Schema,
    ) -> Result<Self, FitError> {
        let (content, training_set) = OnnxContent::read(bytes, names, schema)?;
        Self::assemble(training_set, ModelContent::Onnx(content))
    }

    /// Rebuilds a model from its training set and its content.
    ///
    /// # Errors
    /// [`FitError`] if the content does not suit the training set.
    pub fn assemble(training_set: TrainingSet, content: ModelContent) -> Result<Self, FitError> {
        let version = version(&training_set, &content);
        Ok(Self {
            version,
            fitted: content.assemble(&training_set)?,
            training_set,
        })
    }

    /// Predicts the class of one row of features.
    ///
    /// `buffers` and `votes` are for reuse. On return, `votes` holds one number for each class; [`ModelKind::tally`] says which. It is
    /// empty if the model, an imported one, cannot classify the row: then the class is the first, and [`Buffers::failure`] says why.
    ///
    /// # Panics
    /// If `features` does not have exactly one value for each feature of the schema.
    pub fn predict(
        &self,
        features: &[f64],
        buffers: &mut Buffers,
        votes: &mut Vec<u32>,
    ) -> Prediction {
        let class = self
            .fitted
            .predict(&self.training_set, features, buffers, votes);
        Prediction { class }
    }

    /// Returns for some of the training rows whether a model without that row predicts it correctly.
    ///
    /// # Panics
    /// If there are fewer rows.
    #[must_use]
    pub fn correct_left_out(&self, rows: Range<usize>) -> Vec<bool> {
        let classes = &self.training_set.class_of_row()[rows.clone()];
        let predicted = self.fitted.predict_left_out(&self.training_set, rows);
        let results = predicted.iter().zip(classes);
        results
            .map(|(predicted, class)| predicted == class)
            .collect()
    }

    /// Returns the identity of this model.
    #[must_use]
    pub fn version(&self) -> ModelVersion {
        self.version
    }

    /// Returns how the model was fitted.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        self.fitted.kind()
    }

    /// Returns all that predictions depend on, besides the rows and the bytes of the content that are stored in blocks.
    #[must_use]
    pub fn content(&self) -> ModelContent {
        self.fitted.content()
    }

    /// Returns the bytes of the content that are stored in blocks.
    pub(crate) fn content_bytes(&self) -> &[u8] {
        self.fitted.content_bytes()
    }

    /// Returns the model that is ready to predict.
    pub(crate) fn fitted(&self) -> &Fitted {
        &self.fitted
    }

    /// Returns the distinct labels, sorted; a prediction's class is an index into them.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        self.training_set.classes()
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
        let prediction = self.predict(features, &mut Buffers::default(), &mut Vec::new());
        &self.classes()[prediction.class]
    }

    /// Returns the share of correct predictions for the given labelled rows; `None` if there are no rows.
    #[must_use]
    pub fn accuracy<'a>(&self, rows: impl Iterator<Item = (&'a [f64], &'a str)>) -> Option<f64> {
        let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
        let (mut right, mut all) = (0_u32, 0_u32);
        for (features, label) in rows {
            let prediction = self.predict(features, &mut buffers, &mut votes);
            right += u32::from(self.classes()[prediction.class] == label);
            all += 1;
        }
        (all > 0).then(|| f64::from(right) / f64::from(all))
    }
}

/// Hashes everything that a prediction depends on. Strings are hashed with their length, so different contents never have the
/// same input.
fn version(training_set: &TrainingSet, content: &ModelContent) -> ModelVersion {
    let mut hash = Sha256::new();
    content.hash(&mut hash);
    let schema = training_set.schema();
    update_number(&mut hash, schema.features.len());
    for text in schema
        .features
        .iter()
        .chain([&schema.label])
        .chain(training_set.classes())
    {
        update_text(&mut hash, text);
    }
    update_number(&mut hash, training_set.len());
    for &class in training_set.class_of_row() {
        update_number(&mut hash, class);
    }
    for value in training_set.features() {
        hash.update(value.to_bits().to_be_bytes());
    }
    ModelVersion(content_hash::finish(hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    fn training_set(rows: &[(&[f64], &str)]) -> TrainingSet {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        TrainingSet::new(schema, rows.iter().copied())
    }

    fn predict(model: &Model, features: &[f64]) -> (String, Vec<u32>) {
        let mut votes = Vec::new();
        let prediction = model.predict(features, &mut Buffers::default(), &mut votes);
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
