//! Ensembles of trees, the operator `TreeEnsembleClassifier`.
//!
//! tract uses the numbers of nodes and classes in a file without checking them, so an ensemble is checked before tract sees it. A
//! model that is nothing but an ensemble is evaluated here: tract takes a time in proportion to the number of all leaves.

use tract_onnx::pb::{GraphProto, NodeProto};

use crate::error::OnnxError;

/// The operator.
const ENSEMBLE: &str = "TreeEnsembleClassifier";

/// How a feature is compared with the value of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    NotEqual,
}

impl Comparison {
    fn of(mode: &[u8]) -> Option<Self> {
        Some(match mode {
            b"BRANCH_LEQ" => Self::AtMost,
            b"BRANCH_LT" => Self::Below,
            b"BRANCH_GTE" => Self::AtLeast,
            b"BRANCH_GT" => Self::Above,
            b"BRANCH_EQ" => Self::Equal,
            b"BRANCH_NEQ" => Self::NotEqual,
            _ => return None,
        })
    }

    #[expect(clippy::float_cmp, reason = "the format has this comparison")]
    fn holds(self, feature: f32, value: f32) -> bool {
        match self {
            Self::AtMost => feature <= value,
            Self::Below => feature < value,
            Self::AtLeast => feature >= value,
            Self::Above => feature > value,
            Self::Equal => feature == value,
            Self::NotEqual => feature != value,
        }
    }
}

/// A node. Nodes of all trees are in one list, each before its children.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Node {
    Branch {
        comparison: Comparison,
        feature: usize,
        value: f32,
        /// The next node if the comparison holds, and if it does not.
        next: [usize; 2],
    },
    /// The weights from one position to another.
    Leaf(usize, usize),
}

/// How scores are made of the sums of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transform {
    None,
    Softmax,
    Logistic,
}

/// An ensemble of trees.
#[derive(Debug, PartialEq)]
pub(crate) struct Trees {
    roots: Vec<usize>,
    nodes: Vec<Node>,
    /// The classes of leaves, with their weights.
    weights: Vec<(usize, f32)>,
    base: Vec<f32>,
    transform: Transform,
}

/// Checks the ensembles of a graph.
///
/// # Errors
/// [`OnnxError::Trees`] if one of them has a node or a class that does not exist.
pub(crate) fn check(graph: &GraphProto) -> Result<(), OnnxError> {
    let ensembles = graph.node.iter().filter(|node| node.op_type == ENSEMBLE);
    for node in ensembles {
        Trees::read(node)?;
    }
    Ok(())
}

impl Trees {
    /// Returns the ensemble of a graph that has nothing else. `None` if it has, or if its two classes share one score.
    pub(crate) fn of(graph: &GraphProto, features: usize) -> Option<Self> {
        let is_ensemble = |node: &&NodeProto| node.op_type == ENSEMBLE;
        let node = graph.node.iter().find(is_ensemble)?;
        let others = graph.node.iter().filter(|node| !is_ensemble(node));
        let [label, scores] = &node.output[..] else {
            return None;
        };
        // Identities of the label and of the scores.
        let (mut labels, mut all_scores) = (vec![label], vec![scores]);
        for other in others {
            let (input, output) = (other.input.first()?, other.output.first()?);
            match () {
                () if other.op_type != "Identity" => return None,
                () if labels.contains(&input) => labels.push(output),
                () if all_scores.contains(&input) => all_scores.push(output),
                () => return None,
            }
        }
        let is_known = |name| labels.contains(&name) || all_scores.contains(&name);
        let trees = Self::read(node).ok()?;
        let is_whole = graph.output.iter().all(|output| is_known(&output.name))
            && graph
                .input
                .iter()
                .any(|it| node.input.first() == Some(&it.name));
        let is_within = |node: &Node| match node {
            Node::Branch { feature, .. } => *feature < features,
            Node::Leaf(..) => true,
        };
        let share_a_score =
            trees.base.len() < 3 && trees.weights.iter().all(|&(class, _)| class == 0);
        (is_whole && trees.nodes.iter().all(is_within) && !share_a_score).then_some(trees)
    }

    /// Writes the score of each class, and returns the class with the largest sum of weights, of several the first.
    pub(crate) fn predict(&self, row: &[f32], scores: &mut Vec<f32>) -> usize {
        scores.clear();
        scores.resize(self.base.len(), 0.0);
        for &root in &self.roots {
            let mut node = &self.nodes[root];
            loop {
                match *node {
                    Node::Branch {
                        comparison,
                        feature,
                        value,
                        next: [yes, no],
                    } => {
                        let holds = comparison.holds(row[feature], value);
                        node = &self.nodes[if holds { yes } else { no }];
                    }
                    Node::Leaf(start, end) => {
                        for &(class, weight) in &self.weights[start..end] {
                            scores[class] += weight;
                        }
                        break;
                    }
                }
            }
        }
        for (score, base) in scores.iter_mut().zip(&self.base) {
            *score += base;
        }
        let class = first_largest(scores);
        match self.transform {
            Transform::None => {}
            Transform::Logistic => {
                for score in scores.iter_mut() {
                    *score = 1.0 / (1.0 + (-*score).exp());
                }
            }
            Transform::Softmax => {
                let largest = scores[class];
                for score in scores.iter_mut() {
                    *score = (*score - largest).exp();
                }
                let sum: f32 = scores.iter().sum();
                scores.iter_mut().for_each(|score| *score /= sum);
            }
        }
        class
    }

    /// Reads the attributes of an ensemble.
    fn read(node: &NodeProto) -> Result<Self, OnnxError> {
        Attributes(node).trees().map_err(OnnxError::Trees)
    }
}

/// Returns the position of the largest score, of several the first.
pub(crate) fn first_largest(scores: &[f32]) -> usize {
    let mut largest = 0;
    for (position, score) in scores.iter().enumerate() {
        if *score > scores[largest] {
            largest = position;
        }
    }
    largest
}

/// The attributes of an ensemble.
struct Attributes<'a>(&'a NodeProto);

impl Attributes<'_> {
    fn numbers(&self, name: &str) -> Result<Vec<usize>, String> {
        let attribute = self.0.attribute.iter().find(|it| it.name == name);
        let numbers = attribute.map_or(&[][..], |it| &it.ints[..]).iter();
        let numbers: Result<_, _> = numbers.map(|&number| usize::try_from(number)).collect();
        numbers.map_err(|_| format!("`{name}` has a negative number"))
    }

    fn floats(&self, name: &str) -> &[f32] {
        let attribute = self.0.attribute.iter().find(|it| it.name == name);
        attribute.map_or(&[], |it| &it.floats)
    }

    fn texts(&self, name: &str) -> &[Vec<u8>] {
        let attribute = self.0.attribute.iter().find(|it| it.name == name);
        attribute.map_or(&[], |it| &it.strings)
    }

    fn transform(&self) -> Result<Transform, String> {
        let attribute = self
            .0
            .attribute
            .iter()
            .find(|it| it.name == "post_transform");
        match attribute.map_or(&b"NONE"[..], |it| &it.s) {
            b"NONE" => Ok(Transform::None),
            b"SOFTMAX" => Ok(Transform::Softmax),
            b"LOGISTIC" => Ok(Transform::Logistic),
            other => Err(format!(
                "`post_transform` is {}: allowed are NONE, SOFTMAX and LOGISTIC",
                String::from_utf8_lossy(other)
            )),
        }
    }

    /// Returns the trees.
    ///
    /// # Errors
    /// What is wrong with them.
    fn trees(&self) -> Result<Trees, String> {
        let classes = self.numbers("classlabels_int64s")?.len();
        let classes = classes.max(self.texts("classlabels_strings").len());
        let nodes = self.nodes()?;
        let mut leaves = self.leaves(classes)?.into_iter().peekable();
        let mut read = Trees {
            roots: Vec::new(),
            nodes: Vec::with_capacity(nodes.len()),
            weights: Vec::new(),
            base: match self.floats("base_values") {
                [] => vec![0.0; classes],
                base if base.len() == classes => base.to_vec(),
                _ => return Err("`base_values` does not have a value for each class".to_owned()),
            },
            transform: self.transform()?,
        };
        for tree in nodes.chunk_by(|one, next| one.tree == next.tree) {
            let root = read.nodes.len();
            for (position, node) in tree.iter().enumerate() {
                if (node.tree, node.id) != (read.roots.len(), position) {
                    return Err(
                        "its trees and nodes are not numbered in their order from 0".to_owned()
                    );
                }
                read.nodes.push(if node.mode == b"LEAF" {
                    let start = read.weights.len();
                    let is_here = |weight: &Weight| weight.place == (node.tree, node.id);
                    while let Some(weight) = leaves.next_if(is_here) {
                        read.weights.push((weight.class, weight.value));
                    }
                    Node::Leaf(start, read.weights.len())
                } else {
                    node.branch(root, tree.len())?
                });
            }
            read.roots.push(root);
        }
        match leaves.next() {
            None => Ok(read),
            Some(Weight { place, .. }) => Err(format!(
                "it has a weight for node {} of tree {}, which is not a leaf",
                place.1, place.0
            )),
        }
    }

    /// Returns the nodes in the order of the file.
    fn nodes(&self) -> Result<Vec<FileNode<'_>>, String> {
        let [trees, ids, features, yes, no] = [
            "nodes_treeids",
            "nodes_nodeids",
            "nodes_featureids",
            "nodes_truenodeids",
            "nodes_falsenodeids",
        ]
        .map(|name| self.numbers(name));
        let (trees, ids, features, yes, no) = (trees?, ids?, features?, yes?, no?);
        let (modes, values) = (self.texts("nodes_modes"), self.floats("nodes_values"));
        let lengths = [ids.len(), features.len(), yes.len(), no.len(), modes.len()];
        if trees.is_empty() || lengths != [trees.len(); 5] {
            return Err("its lists of nodes have different lengths, or are empty".to_owned());
        }
        if values.len() != trees.len() {
            return Err("its nodes have no values of 32 bits".to_owned());
        }
        let node = |position: usize| FileNode {
            tree: trees[position],
            id: ids[position],
            mode: &modes[position],
            feature: features[position],
            value: values[position],
            next: [yes[position], no[position]],
        };
        Ok((0..trees.len()).map(node).collect())
    }

    /// Returns the weights of leaves, in the order of their nodes.
    fn leaves(&self, classes: usize) -> Result<Vec<Weight>, String> {
        let [trees, nodes, ids] =
            ["class_treeids", "class_nodeids", "class_ids"].map(|name| self.numbers(name));
        let (trees, nodes, ids) = (trees?, nodes?, ids?);
        let weights = self.floats("class_weights");
        if [nodes.len(), ids.len(), weights.len()] != [trees.len(); 3] {
            return Err("its lists of weights have different lengths".to_owned());
        }
        if let Some(class) = ids.iter().find(|&&class| class >= classes) {
            return Err(format!("it has a weight of class {class} of {classes}"));
        }
        let places = trees.into_iter().zip(nodes).zip(ids);
        let mut leaves: Vec<Weight> = places
            .zip(weights)
            .map(|((place, class), &value)| Weight {
                place,
                class,
                value,
            })
            .collect();
        leaves.sort_by_key(|weight| weight.place);
        Ok(leaves)
    }
}

/// A weight of a leaf.
struct Weight {
    /// The tree and the node.
    place: (usize, usize),
    class: usize,
    value: f32,
}

/// A node as the file has it.
struct FileNode<'a> {
    tree: usize,
    id: usize,
    mode: &'a [u8],
    feature: usize,
    value: f32,
    /// The ids of the next node within the tree.
    next: [usize; 2],
}

impl FileNode<'_> {
    /// Returns the node as a branch of a tree of this `size`, whose nodes begin at `root`.
    fn branch(&self, root: usize, size: usize) -> Result<Node, String> {
        // A child after its parent: no path is endless.
        if self.next.iter().any(|&id| id <= self.id || id >= size) {
            return Err(format!(
                "node {} of tree {} does not have two nodes after it",
                self.id, self.tree
            ));
        }
        let comparison = Comparison::of(self.mode);
        Ok(Node::Branch {
            comparison: comparison.ok_or("it has a node of an unknown mode")?,
            feature: self.feature,
            value: self.value,
            next: self.next.map(|id| id + root),
        })
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::{AttributeProto, ValueInfoProto};

    use super::*;

    fn numbers(name: &str, ints: &[i64]) -> AttributeProto {
        AttributeProto {
            name: name.to_owned(),
            ints: ints.to_vec(),
            ..AttributeProto::default()
        }
    }

    fn floats(name: &str, floats: &[f32]) -> AttributeProto {
        AttributeProto {
            name: name.to_owned(),
            floats: floats.to_vec(),
            ..AttributeProto::default()
        }
    }

    fn value(name: &str) -> ValueInfoProto {
        ValueInfoProto {
            name: name.to_owned(),
            ..ValueInfoProto::default()
        }
    }

    /// Two trees: values of at most 0 are of class 0, others of class 1; and class 1 has a weight of 0.25 more.
    fn graph() -> GraphProto {
        let modes = ["BRANCH_LEQ", "LEAF", "LEAF", "LEAF"];
        let modes = modes.map(|mode| mode.as_bytes().to_vec());
        let node = NodeProto {
            op_type: ENSEMBLE.to_owned(),
            input: vec!["x".to_owned()],
            output: vec!["label".to_owned(), "scores".to_owned()],
            attribute: vec![
                numbers("classlabels_int64s", &[0, 1]),
                numbers("nodes_treeids", &[0, 0, 0, 1]),
                numbers("nodes_nodeids", &[0, 1, 2, 0]),
                numbers("nodes_featureids", &[0, 0, 0, 0]),
                numbers("nodes_truenodeids", &[1, 0, 0, 0]),
                numbers("nodes_falsenodeids", &[2, 0, 0, 0]),
                floats("nodes_values", &[0.0; 4]),
                AttributeProto {
                    name: "nodes_modes".to_owned(),
                    strings: modes.to_vec(),
                    ..AttributeProto::default()
                },
                numbers("class_treeids", &[0, 0, 1]),
                numbers("class_nodeids", &[1, 2, 0]),
                numbers("class_ids", &[0, 1, 1]),
                floats("class_weights", &[1.0, 1.0, 0.25]),
            ],
            ..NodeProto::default()
        };
        GraphProto {
            node: vec![node],
            input: vec![value("x")],
            output: vec![value("label"), value("scores")],
            ..GraphProto::default()
        }
    }

    #[test]
    fn the_weights_of_the_leaves_are_added() {
        let trees = Trees::of(&graph(), 1).unwrap();
        let mut scores = Vec::new();
        assert_eq!(trees.predict(&[0.0], &mut scores), 0);
        assert_eq!(scores, [1.0, 0.25]);
        assert_eq!(trees.predict(&[0.5], &mut scores), 1);
        assert_eq!(scores, [0.0, 1.25]);
        assert_eq!(Trees::of(&graph(), 0), None, "the feature does not exist");
    }

    #[test]
    fn trees_with_nodes_or_classes_that_do_not_exist_are_refused() {
        let refusal = |name: &str, position: usize, number: i64| {
            let mut graph = graph();
            let attributes = graph.node[0].attribute.iter_mut();
            let attribute = attributes.into_iter().find(|it| it.name == name).unwrap();
            attribute.ints[position] = number;
            check(&graph).unwrap_err().to_string()
        };
        for (name, position, number) in [
            ("nodes_truenodeids", 0, 0),
            ("nodes_truenodeids", 0, 3),
            ("nodes_falsenodeids", 0, 1 << 40),
            ("nodes_falsenodeids", 0, -1),
            ("nodes_nodeids", 2, 1),
            ("nodes_treeids", 3, 2),
            ("class_ids", 0, 2),
            ("class_nodeids", 0, 0),
            ("class_nodeids", 2, 1),
        ] {
            let refused = refusal(name, position, number);
            assert!(
                refused.starts_with("its trees cannot be used: "),
                "{refused}"
            );
        }
        let mut shorter = graph();
        shorter.node[0].attribute.pop();
        assert!(check(&shorter).is_err());
        assert_eq!(check(&graph()), Ok(()));
    }

    #[test]
    fn a_graph_that_has_other_operators_is_not_evaluated_here() {
        let mut with_identity = graph();
        with_identity.node.push(NodeProto {
            op_type: "Identity".to_owned(),
            input: vec!["scores".to_owned()],
            output: vec!["probabilities".to_owned()],
            ..NodeProto::default()
        });
        with_identity.output[1] = value("probabilities");
        assert!(Trees::of(&with_identity, 1).is_some());
        with_identity.node[1].op_type = "Neg".to_owned();
        assert_eq!(Trees::of(&with_identity, 1), None);
    }
}
