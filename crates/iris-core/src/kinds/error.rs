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
}

impl FitError {
    /// Returns the setting of the model that does not fit the rows, if there is one.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::NoNeighbors | Self::TooFewRows { .. } => Some("neighbors"),
            Self::NoTrees => Some("trees"),
            Self::InvalidScaling | Self::NoRows | Self::InvalidTrees => None,
        }
    }
}
