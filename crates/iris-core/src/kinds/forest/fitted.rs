//! A forest that is ready to predict.

use std::ops::Range;

use super::bootstrap::Random;
use super::content::ForestContent;
use super::kind::ForestKind;
use super::node::TreeNode;
use super::shares::{self, GROUP};
use super::trees::Trees;
use crate::kinds::error::FitError;
use crate::kinds::votes::{first_largest, thousandths};
use crate::training_set::TrainingSet;

/// The number of trees that are walked at the same time, so that the processor does not wait for one node after the other.
const LANES: usize = 8;

/// A forest that is ready to predict.
#[derive(Clone, Debug)]
pub(crate) struct FittedForest {
    content: ForestContent,
    trees: Trees,
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
        let trees = content.unpack(features, classes);
        let trees = trees.ok_or(FitError::InvalidTrees)?;
        Ok(Self { content, trees })
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
        let Trees { nodes, roots, .. } = &self.trees;
        let ends = roots.iter().skip(1).map(|&end| end as usize);
        let ends = ends.chain([nodes.len()]);
        roots.iter().zip(ends).map(|(&root, end)| {
            let nodes = nodes[root as usize..end].iter();
            let nodes = (root..).zip(nodes);
            nodes.map(|(place, node)| node.read(place, root)).collect()
        })
    }

    /// Returns the shares of the classes at a place; more than there are classes are 0.
    pub(crate) fn shares(&self, place: u32) -> &[u32] {
        self.trees.shares.at(place).as_flattened()
    }

    /// Predicts the class of one row, and writes the share of each class in thousandths.
    #[inline]
    pub(crate) fn predict(
        &self,
        set: &TrainingSet,
        features: &[f64],
        votes: &mut Vec<u32>,
    ) -> usize {
        let width = set.schema().features.len();
        assert_eq!(features.len(), width, "one value for each feature");
        let classes = set.classes().len();
        votes.clear();
        votes.resize(classes.next_multiple_of(GROUP), 0);
        let sums = votes.as_chunks_mut().0;
        for roots in self.trees.roots.chunks(LANES) {
            let mut places = [roots[0]; LANES];
            places[..roots.len()].copy_from_slice(roots);
            self.trees.walk(features, &mut places);
            for &place in &places[..roots.len()] {
                shares::add(sums, self.trees.shares_of(place));
            }
        }
        votes.truncate(classes);
        let class = first_largest(votes);
        let all = f64::from(votes.iter().sum::<u32>());
        for vote in votes {
            *vote = thousandths(f64::from(*vote) / all);
        }
        class
    }

    /// Predicts the classes of some of the training rows, each by the trees that were fitted without that row. If there is none,
    /// the class of most other rows is predicted.
    pub(crate) fn predict_left_out(&self, set: &TrainingSet, rows: Range<usize>) -> Vec<usize> {
        let (width, classes) = (set.schema().features.len(), set.classes().len());
        let groups = classes.div_ceil(GROUP);
        let mut votes = vec![[0_u32; GROUP]; rows.len() * groups];
        let mut counts = Vec::new();
        for (tree, &root) in self.trees.roots.iter().enumerate() {
            // A tree begins with its draws, so they are the same again.
            Random::of_tree(self.kind().seed, tree).draw(set.len(), &mut counts);
            for (row, votes) in rows.clone().zip(votes.chunks_exact_mut(groups)) {
                if counts[row] == 0 {
                    let features = &set.features()[row * width..(row + 1) * width];
                    let mut places = [root];
                    self.trees.walk(features, &mut places);
                    shares::add(votes, self.trees.shares_of(places[0]));
                }
            }
        }
        let predict = |(row, votes): (usize, &mut [[u32; GROUP]])| {
            let votes = votes.as_flattened_mut();
            if votes.iter().all(|&vote| vote == 0) {
                let others = set.class_of_row().iter().enumerate();
                for (_, &class) in others.filter(|(other, _)| *other != row) {
                    votes[class] += 1;
                }
            }
            first_largest(votes)
        };
        rows.zip(votes.chunks_exact_mut(groups))
            .map(predict)
            .collect()
    }
}
