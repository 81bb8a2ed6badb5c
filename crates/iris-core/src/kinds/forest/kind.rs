//! How a forest is fitted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a forest is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForestKind {
    /// The number of trees.
    pub trees: usize,
    /// The maximum number of splits between the root and a leaf; none for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<usize>,
    /// The minimum number of sampled rows in a leaf.
    pub min_samples_leaf: usize,
    /// The minimum number of sampled rows in a node that is split.
    pub min_samples_split: usize,
    /// The number of features to choose each split from; none for the binary logarithm of their number, rounded down,
    /// plus 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_features: Option<usize>,
    /// The seed of the samples of rows and features.
    pub seed: u32,
}

impl ForestKind {
    /// Returns the number of features to choose a split from.
    pub(super) fn features_per_split(self, width: usize) -> usize {
        let wanted = self
            .max_features
            .unwrap_or(width.max(1).ilog2() as usize + 1);
        wanted.clamp(1, width.max(1))
    }
}

impl Default for ForestKind {
    /// The defaults of scikit-learn, but leaves of two rows, which learn fewer wrong labels, and as many features per split as in
    /// the original paper.
    fn default() -> Self {
        Self {
            trees: 100,
            max_depth: None,
            min_samples_leaf: 2,
            min_samples_split: 2,
            max_features: None,
            seed: 42,
        }
    }
}

/// This number of trees, with the default settings.
impl From<usize> for ForestKind {
    fn from(trees: usize) -> Self {
        Self {
            trees,
            ..Self::default()
        }
    }
}

/// For example "100 trees" or "100 trees (depth at most 8, at least 3 rows in a leaf)".
impl fmt::Display for ForestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let differences = [
            self.max_depth.map(|depth| format!("depth at most {depth}")),
            (self.min_samples_leaf != usual.min_samples_leaf)
                .then(|| format!("at least {} rows in a leaf", self.min_samples_leaf)),
            (self.min_samples_split != usual.min_samples_split)
                .then(|| format!("at least {} rows in a split", self.min_samples_split)),
            self.max_features
                .map(|features| format!("{features} features per split")),
        ];
        let differences: Vec<String> = differences.into_iter().flatten().collect();
        match self.trees {
            1 => write!(f, "1 tree")?,
            trees => write!(f, "{trees} trees")?,
        }
        match &differences[..] {
            [] => Ok(()),
            differences => write!(f, " ({})", differences.join(", ")),
        }
    }
}
