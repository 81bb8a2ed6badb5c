//! The trees of a forest, as predictions use them.

use super::node::Node;
use super::shares::{GROUP, ShareTable};

/// The trees of a forest.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    /// The nodes of all trees.
    pub(super) nodes: Vec<Node>,
    /// The places of the roots.
    pub(super) roots: Vec<u32>,
    /// The shares of the leaves.
    pub(super) shares: ShareTable,
}

impl Trees {
    /// Walks several trees at the same time, each from its place to a leaf.
    #[inline]
    pub(super) fn walk<const N: usize>(&self, features: &[f64], places: &mut [u32; N]) {
        loop {
            let mut moved = 0;
            for place in places.iter_mut() {
                let next = self.nodes[*place as usize].next(*place, features);
                moved |= next ^ *place;
                *place = next;
            }
            if moved == 0 {
                return;
            }
        }
    }

    /// Returns the shares of the leaf at a place.
    #[inline]
    pub(super) fn shares_of(&self, place: u32) -> &[[u32; GROUP]] {
        self.shares.at(self.nodes[place as usize].shares())
    }
}
