//! Random forests: decision trees that each see a random sample of the rows, and at each split a random choice of features.
//!
//! The method is that of L. Breiman, "Random Forests", Machine Learning 45 (2001), with the trees of L. Breiman, J. Friedman,
//! R. Olshen and C. Stone, "Classification and Regression Trees" (1984). A tree's vote are the
//! shares of the classes in the leaf that the row falls into. The predicted class is that of the largest sum. A tie goes to the
//! class that sorts first. Equal rows in equal order and an equal kind give the same forest on every machine.

mod bootstrap;
mod content;
mod fitted;
mod grow;
mod kind;
mod node;
mod shares;
mod split;
mod trees;

pub use content::ForestContent;
pub(crate) use fitted::FittedForest;
pub use kind::ForestKind;
pub(crate) use node::TreeNode;

#[cfg(test)]
mod tests;
