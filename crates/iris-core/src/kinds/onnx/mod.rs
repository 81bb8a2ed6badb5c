//! Models in the ONNX format, which were trained elsewhere and imported.
//!
//! The predicted class is the model's label, or without one, the class with the largest score. The scores are kept with each
//! prediction if they are probabilities. A model has no rows, and does not depend on any.

#[cfg(not(feature = "onnx"))]
mod absent;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

#[cfg(not(feature = "onnx"))]
use absent::{Classifier, OnnxError};
#[cfg(feature = "onnx")]
use iris_onnx::{Classifier, OnnxError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::buffers::Buffers;
use super::error::FitError;
use super::votes::thousandths;
use crate::content_hash::{update_number, update_text};
use crate::schema::Schema;
use crate::training_set::TrainingSet;

/// The largest difference between 1 and the sum of probabilities.
const SUM_TOLERANCE: f32 = 1e-3;

/// A thousand thousandths.
const ONE: u32 = 1_000;

/// All that a model's predictions depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnnxContent {
    /// The names of the classes, in the order of the model's scores.
    scores: Vec<String>,
    /// The model's file.
    #[serde(skip)]
    bytes: Arc<[u8]>,
}

impl OnnxContent {
    /// Reads a model's file. `names` are the names of its classes in the order of its scores, if they are not its labels. Returns
    /// the content, with an empty training set that has the classes.
    ///
    /// # Errors
    /// [`FitError`] if it is not a classifier of rows of the schema's features.
    pub fn read(
        bytes: Vec<u8>,
        names: Option<&[String]>,
        schema: Schema,
    ) -> Result<(Self, TrainingSet), FitError> {
        let classifier = Classifier::read(&bytes, names)?;
        let content = Self {
            scores: classifier.classes().to_vec(),
            bytes: bytes.into(),
        };
        let mut classes = content.scores.clone();
        classes.sort_unstable();
        Ok((content, TrainingSet::without_rows(schema, classes)))
    }

    /// Returns the model's file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the content without the model's file.
    pub(super) fn without_bytes(&self) -> Self {
        Self {
            scores: self.scores.clone(),
            bytes: Arc::default(),
        }
    }

    /// Returns the content with the model's file.
    pub(super) fn with_bytes(self, bytes: Vec<u8>) -> Self {
        Self {
            bytes: bytes.into(),
            ..self
        }
    }

    /// Hashes the content.
    pub(super) fn hash(&self, hash: &mut Sha256) {
        hash.update(b"iris onnx 1");
        update_number(hash, self.bytes.len());
        hash.update(&self.bytes);
        update_number(hash, self.scores.len());
        for name in &self.scores {
            update_text(hash, name);
        }
    }
}

/// A model that is ready to predict.
#[derive(Clone, Debug)]
pub(crate) struct FittedOnnx {
    content: OnnxContent,
    classifier: Classifier,
    /// The class of each score, as a position in the training set's classes.
    classes: Vec<usize>,
}

impl FittedOnnx {
    /// Reads the model's file.
    pub(super) fn new(content: OnnxContent, set: &TrainingSet) -> Result<Self, FitError> {
        let classifier = Classifier::read(&content.bytes, Some(&content.scores))?;
        let features = &set.schema().features;
        if classifier.features() != features.len() {
            return Err(FitError::OtherFeatures {
                found: classifier.features(),
                wanted: features.clone(),
            });
        }
        let class = |name| set.classes().binary_search(name).ok();
        let classes: Vec<usize> = content.scores.iter().filter_map(class).collect();
        if classes.len() != content.scores.len() || classes.len() != set.classes().len() {
            return Err(FitError::OtherClasses {
                found: content.scores,
                wanted: set.classes().to_vec(),
            });
        }
        Ok(Self {
            content,
            classifier,
            classes,
        })
    }

    /// Returns the content.
    pub(super) fn content(&self) -> &OnnxContent {
        &self.content
    }

    /// Predicts the class of one row, and writes the probabilities in thousandths; 1,000 for the predicted class if the scores are
    /// not probabilities. A row that the model cannot classify gets the first class and no thousandths, and the buffers say why.
    #[inline(never)]
    pub(super) fn predict(
        &self,
        features: &[f64],
        buffers: &mut Buffers,
        votes: &mut Vec<u32>,
    ) -> usize {
        let scores = &mut buffers.scores;
        votes.clear();
        let predicted = match self.classifier.predict(features, scores) {
            Ok(predicted) => predicted,
            Err(error) => {
                buffers.failure = error.to_string();
                return 0;
            }
        };
        votes.resize(self.classes.len(), 0);
        if are_probabilities(scores) {
            for (&class, &score) in self.classes.iter().zip(&*scores) {
                votes[class] = thousandths(score.into());
            }
        } else {
            votes[self.classes[predicted]] = ONE;
        }
        self.classes[predicted]
    }
}

impl FittedOnnx {
    /// Predicts the classes of rows, which the model does not depend on.
    pub(super) fn predict_rows(&self, set: &TrainingSet, rows: Range<usize>) -> Vec<usize> {
        let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
        let wanted = set.rows().skip(rows.start).take(rows.len());
        wanted
            .map(|(features, _)| self.predict(features, &mut buffers, &mut votes))
            .collect()
    }
}

impl From<OnnxError> for FitError {
    fn from(error: OnnxError) -> Self {
        #[cfg(not(feature = "onnx"))]
        return error.into_fit_error();
        #[cfg(feature = "onnx")]
        Self::Onnx(error.to_string())
    }
}

/// Whether scores are probabilities: none is negative, and their sum is 1.
fn are_probabilities(scores: &[f32]) -> bool {
    let sum: f32 = scores.iter().sum();
    scores.iter().all(|&score| score >= 0.0) && (sum - 1.0).abs() <= SUM_TOLERANCE
}
