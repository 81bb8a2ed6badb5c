//! The stored form of a forest.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kind::ForestKind;
use super::node::Node;
use crate::content_hash::update_number;
use crate::kinds::error::FitError;

/// All that a forest's predictions depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestContent {
    #[serde(flatten)]
    kind: ForestKind,
    /// The nodes, tree by tree, each before its left side, and this before its right side.
    ///
    /// A node begins with two bytes, the more significant first: 2 times the feature of a split, or 2 times the class of a leaf,
    /// plus 1. A split continues with eight bytes, the bits of the largest value that goes to the left.
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl ForestContent {
    /// Returns a forest without trees.
    pub(crate) fn empty(kind: ForestKind) -> Self {
        Self {
            kind,
            bytes: Vec::new(),
        }
    }

    /// Adds a leaf.
    pub(super) fn push_leaf(&mut self, class: usize) {
        self.push_number(class, 1);
    }

    /// Adds a split.
    pub(super) fn push_split(&mut self, feature: usize, threshold: f64) {
        self.push_number(feature, 0);
        self.bytes.extend(threshold.to_bits().to_be_bytes());
    }

    /// Adds the number of a feature or class. The largest stands for one that is too large, and is refused.
    fn push_number(&mut self, number: usize, is_leaf: u16) {
        let number = u16::try_from(number).unwrap_or(u16::MAX).min(u16::MAX / 2);
        self.bytes.extend((2 * number + is_leaf).to_be_bytes());
    }

    /// Returns how the forest was fitted.
    pub(crate) fn kind(&self) -> ForestKind {
        self.kind
    }

    /// Returns the nodes as they are stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns a forest with these nodes.
    #[must_use]
    pub(crate) fn with_bytes(self, bytes: Vec<u8>) -> Self {
        Self { bytes, ..self }
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
            max_depth.map_or(0, |depth| depth.saturating_add(1)),
            min_samples_leaf,
            min_samples_split,
            max_features.map_or(0, |features| features.saturating_add(1)),
            seed as usize,
            self.bytes.len(),
        ] {
            update_number(hash, value);
        }
        hash.update(&self.bytes);
    }

    /// Returns the nodes for predictions and the root of each tree, and checks them.
    pub(super) fn unpack(
        &self,
        features: usize,
        classes: usize,
    ) -> Result<(Vec<Node>, Vec<u32>), FitError> {
        let (mut nodes, mut roots) = (Vec::new(), Vec::new());
        // The splits whose right side is still to come.
        let mut open: Vec<usize> = Vec::new();
        let mut is_root = true;
        let mut rest = &self.bytes[..];
        while let Some((number, after)) = rest.split_first_chunk() {
            rest = after;
            let number = u16::from_be_bytes(*number);
            let place = u32::try_from(nodes.len()).map_err(|_| FitError::InvalidTrees)?;
            if is_root {
                roots.push(place);
            }
            let (is_leaf, number) = (number & 1 == 1, number / 2);
            let limit = if is_leaf { classes } else { features };
            if usize::from(number) >= limit {
                return Err(FitError::InvalidTrees);
            }
            is_root = is_leaf && open.is_empty();
            if is_leaf {
                nodes.push(Node::leaf(number, place));
                if let Some(split) = open.pop() {
                    nodes[split].right = place + 1;
                }
            } else {
                let (threshold, after) = rest.split_first_chunk().ok_or(FitError::InvalidTrees)?;
                rest = after;
                let threshold = f64::from_bits(u64::from_be_bytes(*threshold));
                if !threshold.is_finite() {
                    return Err(FitError::InvalidTrees);
                }
                open.push(nodes.len());
                nodes.push(Node::split(number, threshold));
            }
        }
        if rest.is_empty() && is_root && roots.len() == self.kind.trees {
            Ok((nodes, roots))
        } else {
            Err(FitError::InvalidTrees)
        }
    }
}
