//! The stored form of a forest.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kind::ForestKind;
use super::node::Node;
use crate::content_hash::update_number;
use crate::kinds::error::FitError;

/// All that a forest's predictions depend on.
///
/// Nodes are listed tree by tree, each node before its left side, and this before its right side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestContent {
    #[serde(flatten)]
    kind: ForestKind,
    /// For each node that splits, 2 times the feature; for each leaf, 2 times the class, plus 1.
    nodes: Vec<u32>,
    /// For each node that splits, the largest value that goes to the left.
    thresholds: Vec<f64>,
}

impl ForestContent {
    /// Returns a forest without trees.
    pub(super) fn empty(kind: ForestKind) -> Self {
        Self {
            kind,
            nodes: Vec::new(),
            thresholds: Vec::new(),
        }
    }

    /// Adds a leaf.
    pub(super) fn push_leaf(&mut self, class: usize) {
        self.nodes.push(number(class).saturating_mul(2) | 1);
    }

    /// Adds a node that splits.
    pub(super) fn push_split(&mut self, feature: usize, threshold: f64) {
        self.nodes.push(number(feature).saturating_mul(2));
        self.thresholds.push(threshold);
    }

    /// Returns how the forest was fitted.
    pub(crate) fn kind(&self) -> ForestKind {
        self.kind
    }

    /// Hashes the content.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        hash.update(b"iris forest 1");
        let ForestKind {
            trees,
            max_depth,
            min_samples_leaf,
            min_samples_split,
            max_features,
            seed,
        } = self.kind;
        // 0 stands for none.
        for value in [
            trees,
            max_depth.map_or(0, |depth| depth + 1),
            min_samples_leaf,
            min_samples_split,
            max_features.map_or(0, |features| features + 1),
            seed as usize,
            self.nodes.len(),
        ] {
            update_number(hash, value);
        }
        for node in &self.nodes {
            hash.update(node.to_be_bytes());
        }
        update_number(hash, self.thresholds.len());
        for threshold in &self.thresholds {
            hash.update(threshold.to_bits().to_be_bytes());
        }
    }

    /// Returns the nodes for predictions and the root of each tree, and checks them.
    pub(super) fn unpack(
        &self,
        features: usize,
        classes: usize,
    ) -> Result<(Vec<Node>, Vec<u32>), FitError> {
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        let mut roots = Vec::with_capacity(self.kind.trees);
        let mut thresholds = self.thresholds.iter();
        // The nodes whose right side is still to come.
        let mut open: Vec<usize> = Vec::new();
        let mut is_root = true;
        for (position, &code) in self.nodes.iter().enumerate() {
            let place = u32::try_from(position).map_err(|_| FitError::InvalidTrees)?;
            if is_root {
                roots.push(place);
            }
            let limit = if code & 1 == 0 { features } else { classes };
            let number = u16::try_from(code / 2)
                .ok()
                .filter(|&number| usize::from(number) < limit)
                .ok_or(FitError::InvalidTrees)?;
            is_root = false;
            if code & 1 == 0 {
                let threshold = thresholds.next().filter(|threshold| threshold.is_finite());
                nodes.push(Node::split(
                    number,
                    *threshold.ok_or(FitError::InvalidTrees)?,
                ));
                open.push(position);
            } else {
                nodes.push(Node::leaf(number, place));
                match open.pop() {
                    Some(split) => nodes[split].right = place + 1,
                    None => is_root = true,
                }
            }
        }
        let is_complete = is_root && thresholds.next().is_none();
        if !is_complete || roots.len() != self.kind.trees {
            return Err(FitError::InvalidTrees);
        }
        Ok((nodes, roots))
    }
}

/// Returns a number as it is stored. One that is too large is refused when the forest is used.
fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
