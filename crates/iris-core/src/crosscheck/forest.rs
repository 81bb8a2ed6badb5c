//! Checks the predictions of a forest against those of smartcore's trees with the same splits.
//!
//! smartcore's trees are read from the form in which it serializes them. Their votes are counted here.

use serde::Serialize;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_classifier::DecisionTreeClassifier;

use super::error::CrossCheckError;
use crate::kinds::{Buffers, FittedForest, TreeNode};
use crate::model::Model;

/// smartcore's tree for numbers of classes.
type Reference = DecisionTreeClassifier<f64, i64, DenseMatrix<f64>, Vec<i64>>;

/// A tree as smartcore serializes it.
#[derive(Serialize)]
struct Tree {
    nodes: Vec<Node>,
    parameters: Option<()>,
    num_classes: usize,
    classes: Vec<i64>,
    depth: u16,
    num_features: usize,
    _phantom_tx: (),
    _phantom_x: (),
    _phantom_y: (),
}

/// A node as smartcore serializes it.
#[derive(Default, Serialize)]
struct Node {
    output: usize,
    n_node_samples: usize,
    split_feature: usize,
    split_value: Option<f64>,
    split_score: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
    impurity: Option<f64>,
}

/// Compares all `rows`.
pub(super) fn check<'a>(
    model: &Model,
    fitted: &FittedForest,
    rows: impl Iterator<Item = &'a [f64]>,
) -> Result<usize, CrossCheckError> {
    let rows: Vec<&[f64]> = rows.collect();
    let (classes, width) = (
        model.classes().len(),
        model.training_set().schema().features.len(),
    );
    if rows.is_empty() {
        return Ok(0);
    }
    let matrix = DenseMatrix::new(rows.len(), width, rows.concat(), false)?;
    let mut votes = vec![0_u32; rows.len() * classes];
    for nodes in fitted.trees() {
        let tree = reference(&nodes, classes, width)?;
        for (row, class) in tree.predict(&matrix)?.into_iter().enumerate() {
            let class = usize::try_from(class).ok().filter(|class| *class < classes);
            let class = class.ok_or_else(|| CrossCheckError::Refused("an unknown class".into()))?;
            votes[row * classes + class] += 1;
        }
    }
    let (mut buffers, mut shares) = (Buffers::default(), Vec::new());
    for (features, votes) in rows.iter().zip(votes.chunks_exact(classes)) {
        let ours = model.predict(features, &mut buffers, &mut shares).class;
        let most = votes.iter().max();
        let theirs = votes.iter().position(|count| Some(count) == most);
        if theirs != Some(ours) {
            let classes = model.classes();
            return Err(CrossCheckError::disagreement(
                features, classes, ours, theirs,
            ));
        }
    }
    Ok(rows.len())
}

/// Returns smartcore's tree with these nodes.
fn reference(
    nodes: &[TreeNode],
    classes: usize,
    width: usize,
) -> Result<Reference, CrossCheckError> {
    let node = |node: &TreeNode| match *node {
        TreeNode::Leaf { class } => Node {
            output: class,
            ..Node::default()
        },
        TreeNode::Split {
            feature,
            threshold,
            left,
            right,
        } => Node {
            split_feature: feature,
            split_value: Some(threshold),
            true_child: Some(left),
            false_child: Some(right),
            ..Node::default()
        },
    };
    let tree = Tree {
        nodes: nodes.iter().map(node).collect(),
        parameters: None,
        num_classes: classes,
        classes: (0..).take(classes).collect(),
        depth: 0,
        num_features: width,
        _phantom_tx: (),
        _phantom_x: (),
        _phantom_y: (),
    };
    serde_json::to_value(&tree)
        .and_then(serde_json::from_value)
        .map_err(|error| CrossCheckError::Refused(error.to_string()))
}
