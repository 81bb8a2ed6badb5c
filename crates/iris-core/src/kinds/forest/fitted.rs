//! A forest that is ready to predict.

use std::ops::Range;

use super::bootstrap::Random;
use super::content::ForestContent;
use super::kind::ForestKind;
use super::node::{Node, TreeNode};
use crate::kinds::error::FitError;
use crate::kinds::votes::{first_largest, thousandths};
use crate::training_set::TrainingSet;

/// The number of trees that are walked at the same time, so that the processor does not wait for one node after the other.
const LANES: usize = 8;

/// A forest that is ready to predict.
#[derive(Clone, Debug)]
pub(crate) struct FittedForest {
    content: ForestContent,
    nodes: Vec<Node>,
    roots: Vec<u32>,
}

impl FittedForest {
    /// Prepares a forest.
    pub(crate) fn new(content: ForestContent, set: &TrainingSet) -> Result<Self, FitError> {
        let kind = content.kind();
        if kind.trees == 0 {
            return Err(FitError::NoTrees);
        }
        if set.is_empty() {
            return Err(FitError::NoRows);
        }
        let (features, classes) = (set.schema().features.len(), set.classes().len());
        let (nodes, roots) = content.unpack(features, classes)?;
        Ok(Self {
            content,
            nodes,
            roots,
        })
    }

    /// Returns the content.
    pub(crate) fn content(&self) -> &ForestContent {
        &self.content
    }

    /// Returns how the forest was fitted.
    pub(crate) fn kind(&self) -> ForestKind {
        self.content.kind()
    }

    /// Returns the nodes of each tree.
    pub(crate) fn trees(&self) -> impl Iterator<Item = Vec<TreeNode>> {
        let ends = self.roots.iter().skip(1).copied();
        let ends = ends.map(|end| end as usize).chain([self.nodes.len()]);
        self.roots.iter().zip(ends).map(|(&root, end)| {
            let root = root as usize;
            let node = |(place, node): (usize, &Node)| match node.right as usize - root {
                right if right == place => TreeNode::Leaf {
                    class: usize::from(node.class),
                },
                right => TreeNode::Split {
                    feature: usize::from(node.feature),
                    threshold: node.threshold,
                    left: place + 1,
                    right,
                },
            };
            self.nodes[root..end].iter().enumerate().map(node).collect()
        })
    }

    /// Predicts the class of one row, and writes the share of trees of each class in thousandths.
    #[inline]
    pub(crate) fn predict(
        &self,
        set: &TrainingSet,
        features: &[f64],
        votes: &mut Vec<u32>,
    ) -> usize {
        let width = set.schema().features.len();
        assert_eq!(features.len(), width, "one value for each feature");
        votes.clear();
        votes.resize(set.classes().len(), 0);
        let mut groups = self.roots.chunks_exact(LANES);
        for group in &mut groups {
            let mut places = [0; LANES];
            places.copy_from_slice(group);
            self.walk(features, &mut places);
            for place in places {
                votes[usize::from(self.nodes[place as usize].class)] += 1;
            }
        }
        for &root in groups.remainder() {
            votes[self.class_in(root, features)] += 1;
        }
        shares(votes)
    }

    /// Walks several trees, each from its place to a leaf.
    #[inline]
    fn walk(&self, features: &[f64], places: &mut [u32; LANES]) {
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

    /// Returns the class that one tree gives.
    fn class_in(&self, root: u32, features: &[f64]) -> usize {
        let mut place = root;
        loop {
            let node = &self.nodes[place as usize];
            let next = node.next(place, features);
            if next == place {
                return usize::from(node.class);
            }
            place = next;
        }
    }

    /// Predicts the classes of some of the training rows, each by the trees that were fitted without that row. If there is none,
    /// the class of most other rows is predicted.
    pub(crate) fn predict_left_out(&self, set: &TrainingSet, rows: Range<usize>) -> Vec<usize> {
        let (width, classes) = (set.schema().features.len(), set.classes().len());
        let mut votes = vec![0_u32; rows.len() * classes];
        let mut counts = Vec::new();
        for (tree, &root) in self.roots.iter().enumerate() {
            // A tree begins with its draws, so they are the same again.
            Random::of_tree(self.kind().seed, tree).draw(set.len(), &mut counts);
            for (row, votes) in rows.clone().zip(votes.chunks_exact_mut(classes)) {
                if counts[row] == 0 {
                    let features = &set.features()[row * width..(row + 1) * width];
                    votes[self.class_in(root, features)] += 1;
                }
            }
        }
        let predict = |(row, votes): (usize, &mut [u32])| {
            if votes.iter().all(|&count| count == 0) {
                let others = set.class_of_row().iter().enumerate();
                for (_, &class) in others.filter(|(other, _)| *other != row) {
                    votes[class] += 1;
                }
            }
            first_largest(votes)
        };
        rows.zip(votes.chunks_exact_mut(classes))
            .map(predict)
            .collect()
    }
}

/// Turns votes into thousandths of their sum, and returns the class with the most votes, of several the first.
#[inline]
fn shares(votes: &mut [u32]) -> usize {
    let class = first_largest(votes);
    let all = f64::from(votes.iter().sum::<u32>());
    for count in votes {
        *count = thousandths(f64::from(*count) / all);
    }
    class
}
