//! The kinds of models, each in a module of its own.
//!
//! A kind has three forms: how it is fitted ([`ModelKind`]), all that its predictions depend on besides the rows, which is stored
//! ([`ModelContent`]), and the model that is ready to predict. Another kind needs its module and a variant of the three `enum`s
//! here. Each prediction is one `match`, without a call through a pointer.

mod buffers;
mod error;
mod forest;
mod neighbors;
mod onnx;
mod votes;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::Sha256;

pub use buffers::Buffers;
pub use error::FitError;
pub(crate) use forest::{FittedForest, TreeNode};
pub use forest::{ForestContent, ForestKind};
pub(crate) use neighbors::FittedNeighbors;
pub use neighbors::{NeighborsContent, NeighborsKind, Scale, Weights};
pub(crate) use onnx::FittedOnnx;
pub use onnx::OnnxContent;

use crate::training_set::TrainingSet;

/// The numbers that a model gives with each prediction, one for each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Votes.
    Votes,
    /// Shares in thousandths, each rounded.
    Thousandths,
}

/// How a model is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelKind {
    /// The nearest training rows vote.
    Neighbors(NeighborsKind),
    /// The trees of a random forest vote.
    Forest(ForestKind),
    /// It is imported, in the ONNX format.
    Onnx,
}

impl ModelKind {
    /// Returns the content of the model that is fitted to these rows.
    ///
    /// # Errors
    /// [`FitError::Imported`] if models of this kind are not fitted.
    pub fn fit(&self, set: &TrainingSet) -> Result<ModelContent, FitError> {
        match self {
            Self::Neighbors(kind) => Ok(ModelContent::Neighbors(kind.fit(set))),
            Self::Forest(kind) => Ok(ModelContent::Forest(kind.fit(set))),
            Self::Onnx => Err(FitError::Imported),
        }
    }

    /// Whether models of this kind are imported, and not fitted to rows.
    #[must_use]
    pub fn is_imported(&self) -> bool {
        match self {
            Self::Neighbors(_) | Self::Forest(_) => false,
            Self::Onnx => true,
        }
    }

    /// Returns the smallest number of rows that a model can be fitted to.
    #[must_use]
    pub fn min_rows(&self) -> usize {
        match self {
            Self::Neighbors(kind) => kind.neighbors,
            Self::Forest(_) => 1,
            Self::Onnx => 0,
        }
    }

    /// Returns whether the time to fit a model is much longer than the time to copy its rows.
    #[must_use]
    pub fn is_slow_to_fit(&self) -> bool {
        match self {
            Self::Neighbors(_) | Self::Onnx => false,
            Self::Forest(_) => true,
        }
    }

    /// Returns the numbers that its models give with each prediction.
    #[must_use]
    pub fn tally(&self) -> Tally {
        match self {
            Self::Neighbors(kind) => match kind.weights {
                Weights::Uniform => Tally::Votes,
                Weights::Distance => Tally::Thousandths,
            },
            Self::Forest(_) | Self::Onnx => Tally::Thousandths,
        }
    }
}

/// This number of neighbours, with the default settings.
impl From<usize> for ModelKind {
    fn from(neighbors: usize) -> Self {
        Self::Neighbors(neighbors.into())
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neighbors(kind) => kind.fmt(f),
            Self::Forest(kind) => kind.fmt(f),
            Self::Onnx => f.write_str("ONNX"),
        }
    }
}

/// This number of neighbours, with the default settings, as in formats up to 3.
impl From<usize> for ModelContent {
    fn from(neighbors: usize) -> Self {
        Self::Neighbors(neighbors.into())
    }
}

/// All that a model's predictions depend on, besides its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelContent {
    /// Of k nearest neighbours.
    Neighbors(NeighborsContent),
    /// Of a random forest.
    Forest(ForestContent),
    /// Of a model in the ONNX format.
    Onnx(OnnxContent),
}

impl ModelContent {
    /// Returns how the model was fitted.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        match self {
            Self::Neighbors(content) => ModelKind::Neighbors(content.kind()),
            Self::Forest(content) => ModelKind::Forest(content.kind()),
            Self::Onnx(_) => ModelKind::Onnx,
        }
    }

    /// Returns the number of neighbours if the content is nothing else: formats up to 3 have no other models.
    pub(crate) fn plain_neighbors(&self) -> Option<usize> {
        match self {
            Self::Neighbors(content) => content.plain(),
            Self::Forest(_) | Self::Onnx(_) => None,
        }
    }

    /// Whether the content has bytes that are stored in blocks, because they do not fit in a description.
    pub(crate) fn has_bytes(&self) -> bool {
        match self {
            Self::Neighbors(_) => false,
            Self::Forest(_) | Self::Onnx(_) => true,
        }
    }

    /// Returns the content, which was read from a description, with the bytes of its blocks.
    #[must_use]
    pub(crate) fn with_bytes(self, bytes: Vec<u8>) -> Self {
        match self {
            Self::Neighbors(_) => self,
            Self::Forest(content) => Self::Forest(content.with_bytes(bytes)),
            Self::Onnx(content) => Self::Onnx(content.with_bytes(bytes)),
        }
    }

    /// Hashes the content, beginning with its kind.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        match self {
            Self::Neighbors(content) => content.hash(hash),
            Self::Forest(content) => content.hash(hash),
            Self::Onnx(content) => content.hash(hash),
        }
    }

    /// Makes the model ready to predict.
    pub(crate) fn assemble(self, set: &TrainingSet) -> Result<Fitted, FitError> {
        match self {
            Self::Neighbors(content) => FittedNeighbors::new(content, set).map(Fitted::Neighbors),
            Self::Forest(content) => FittedForest::new(content, set).map(Fitted::Forest),
            Self::Onnx(content) => FittedOnnx::new(content, set).map(Fitted::Onnx),
        }
    }
}

/// A model that is ready to predict.
#[derive(Clone, Debug)]
pub(crate) enum Fitted {
    /// Of k nearest neighbours.
    Neighbors(FittedNeighbors),
    /// Of a random forest.
    Forest(FittedForest),
    /// In the ONNX format.
    Onnx(FittedOnnx),
}

impl Fitted {
    /// Returns its content, without the bytes that are stored in blocks.
    pub(crate) fn content(&self) -> ModelContent {
        match self {
            Self::Neighbors(fitted) => ModelContent::Neighbors(fitted.content().clone()),
            Self::Forest(fitted) => ModelContent::Forest(ForestContent::empty(fitted.kind())),
            Self::Onnx(fitted) => ModelContent::Onnx(fitted.content().without_bytes()),
        }
    }

    /// Returns the bytes of its content that are stored in blocks; none for most kinds.
    pub(crate) fn content_bytes(&self) -> &[u8] {
        match self {
            Self::Neighbors(_) => &[],
            Self::Forest(fitted) => fitted.content().bytes(),
            Self::Onnx(fitted) => fitted.content().bytes(),
        }
    }

    /// Returns how it was fitted.
    pub(crate) fn kind(&self) -> ModelKind {
        match self {
            Self::Neighbors(fitted) => ModelKind::Neighbors(fitted.kind()),
            Self::Forest(fitted) => ModelKind::Forest(fitted.kind()),
            Self::Onnx(_) => ModelKind::Onnx,
        }
    }

    /// Predicts the class of one row of features.
    #[inline]
    pub(crate) fn predict(
        &self,
        set: &TrainingSet,
        features: &[f64],
        buffers: &mut Buffers,
        votes: &mut Vec<u32>,
    ) -> usize {
        match self {
            Self::Neighbors(fitted) => fitted.predict(set, features, buffers, votes),
            Self::Forest(fitted) => fitted.predict(set, features, votes),
            Self::Onnx(fitted) => fitted.predict(features, buffers, votes),
        }
    }

    /// Predicts the classes of some of the training rows, each without that row.
    pub(crate) fn predict_left_out(&self, set: &TrainingSet, rows: Range<usize>) -> Vec<usize> {
        match self {
            Self::Neighbors(fitted) => fitted.predict_left_out(set, rows),
            Self::Forest(fitted) => fitted.predict_left_out(set, rows),
            Self::Onnx(fitted) => fitted.predict_rows(set, rows),
        }
    }
}
