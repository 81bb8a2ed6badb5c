//! Why a model cannot be fitted.

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
    /// The stored scaling is not one of these features.
    #[error("its scaling does not have a finite mean and a positive deviation for each feature")]
    InvalidScaling,
    /// The number of trees is 0.
    #[error("trees is 0: at least one tree has to vote")]
    NoTrees,
    /// A forest needs a row.
    #[error("there are no training rows")]
    NoRows,
    /// The stored trees are not those of these features and classes.
    #[error("its trees are incomplete, or name a feature or a class that does not exist")]
    InvalidTrees,
    /// Models of this kind are not fitted.
    #[error("an ONNX model is imported, and cannot be trained")]
    Imported,
    /// The program was built without the library that runs these models.
    #[error("it is an ONNX model, and this program was built without the cargo feature `onnx`")]
    WithoutOnnx,
    /// A model in the ONNX format cannot be used.
    #[error("{0}")]
    Onnx(String),
    /// An imported model has another number of features.
    #[error("its number of features is {found}, and that of the schema is {}: {}", .wanted.len(), .wanted.join(", "))]
    OtherFeatures {
        /// The number of its features.
        found: usize,
        /// The features of the schema.
        wanted: Vec<String>,
    },
    /// An imported model has other classes.
    #[error("its classes are {}, and those of its description are {}", .found.join(", "), .wanted.join(", "))]
    OtherClasses {
        /// Its classes.
        found: Vec<String>,
        /// The classes of its description.
        wanted: Vec<String>,
    },
}

impl FitError {
    /// Returns the setting of the model that does not fit the rows, if there is one.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::NoNeighbors | Self::TooFewRows { .. } => Some("neighbors"),
            Self::NoTrees => Some("trees"),
            Self::InvalidScaling
            | Self::NoRows
            | Self::InvalidTrees
            | Self::Imported
            | Self::WithoutOnnx
            | Self::Onnx(_)
            | Self::OtherFeatures { .. }
            | Self::OtherClasses { .. } => None,
        }
    }
}
