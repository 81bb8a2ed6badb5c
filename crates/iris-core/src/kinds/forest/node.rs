//! A node of a tree, as predictions use it.

/// The bits of a number that no value is at most as large as.
const NAN: u64 = f64::NAN.to_bits() & !(u32::MAX as u64);

/// A node of a tree. The left side of a node follows it. A leaf has itself on the right, and no value goes to its left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The bits of the largest value that goes to the left. For a leaf, those of a NaN with the place of its shares.
    threshold: u64,
    /// The place of the right side.
    pub(super) right: u32,
    /// The feature that is compared.
    feature: u32,
}

impl Node {
    /// Returns a node that splits, whose right side is not known yet.
    pub(super) fn split(feature: u32, threshold: f64) -> Self {
        Self {
            threshold: threshold.to_bits(),
            right: 0,
            feature,
        }
    }

    /// Returns the leaf at a place, with the place of its shares.
    pub(super) fn leaf(shares: u32, place: u32) -> Self {
        Self {
            threshold: NAN | u64::from(shares),
            right: place,
            feature: 0,
        }
    }

    /// Returns the place of the next node, which for a leaf is its own.
    #[inline]
    pub(super) fn next(&self, place: u32, features: &[f64]) -> u32 {
        if features[self.feature as usize] <= f64::from_bits(self.threshold) {
            place + 1
        } else {
            self.right
        }
    }

    /// Returns the place of a leaf's shares.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "these are the lower bits")]
    pub(super) fn shares(&self) -> u32 {
        self.threshold as u32
    }

    /// Returns the node as others read it, with places from the root at `root`.
    pub(super) fn read(&self, place: u32, root: u32) -> TreeNode {
        if self.right == place {
            TreeNode::Leaf {
                shares: self.shares(),
            }
        } else {
            TreeNode::Split {
                feature: self.feature as usize,
                threshold: f64::from_bits(self.threshold),
                left: (place + 1 - root) as usize,
                right: (self.right - root) as usize,
            }
        }
    }
}

/// A node of a tree as others read it. Places are counted from the root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TreeNode {
    /// A leaf.
    Leaf {
        /// The place of its shares.
        shares: u32,
    },
    /// A node that splits.
    Split {
        /// The feature that is compared.
        feature: usize,
        /// The largest value that goes to the left.
        threshold: f64,
        /// The place of the left side.
        left: usize,
        /// The place of the right side.
        right: usize,
    },
}
