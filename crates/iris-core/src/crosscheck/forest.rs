//! Checks the predictions of a forest against those of smartcore's trees with the same splits.
//!
//! smartcore's trees are read from the form in which it serializes them. The class that they give for a row is the number of the
//! leaf's shares. The sums of the shares are compared.

use serde::Serialize;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::tree::decision_tree_classifier::DecisionTreeClassifier;

use super::error::CrossCheckError;
use crate::kinds::{Buffers, FittedForest, TreeNode};
use crate::model::Model;

/// smartcore's tree for numbers as classes.
type Reference = DecisionTreeClassifier<f64, u32, DenseMatrix<f64>, Vec<u32>>;

/// A tree as smartcore serializes it.
#[derive(Serialize)]
struct Tree {
    nodes: Vec<Node>,
    parameters: Option<()>,
    num_classes: usize,
    classes: Vec<u32>,
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
        let tree = reference(&nodes, width)?;
        let found = tree.predict(&matrix)?.into_iter();
        for (place, votes) in found.zip(votes.chunks_exact_mut(classes)) {
            for (vote, &share) in votes.iter_mut().zip(fitted.shares(place)) {
                *vote += share;
            }
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
fn reference(nodes: &[TreeNode], width: usize) -> Result<Reference, CrossCheckError> {
    let mut classes = Vec::new();
    let node = |node: &TreeNode| match *node {
        TreeNode::Leaf { shares } => {
            classes.push(shares);
            Node {
                output: classes.len() - 1,
                ..Node::default()
            }
        }
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
    let nodes = nodes.iter().map(node).collect();
    let tree = Tree {
        nodes,
        parameters: None,
        num_classes: classes.len(),
        classes,
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
