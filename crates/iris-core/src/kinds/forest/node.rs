//! A node of a tree, as predictions use it.

/// A node of a tree. The left side of a node follows it. A leaf has itself on the right, and no value goes to its left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// The largest value that goes to the left.
    pub(super) threshold: f64,
    /// The place of the right side.
    pub(super) right: u32,
    /// The feature that is compared.
    pub(super) feature: u16,
    /// The class of a leaf.
    pub(super) class: u16,
}

impl Node {
    /// Returns a node that splits, whose right side is not known yet.
    pub(super) fn split(feature: u16, threshold: f64) -> Self {
        Self {
            threshold,
            right: 0,
            feature,
            class: 0,
        }
    }

    /// Returns the leaf at a place.
    pub(super) fn leaf(class: u16, place: u32) -> Self {
        Self {
            threshold: f64::NAN,
            right: place,
            feature: 0,
            class,
        }
    }

    /// Returns the place of the next node, which for a leaf is its own.
    #[inline]
    pub(super) fn next(&self, place: u32, features: &[f64]) -> u32 {
        if features[usize::from(self.feature)] <= self.threshold {
            place + 1
        } else {
            self.right
        }
    }
}

/// A node of a tree as others read it. Places are counted from the root.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TreeNode {
    /// A leaf.
    Leaf {
        /// Its class.
        class: usize,
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
