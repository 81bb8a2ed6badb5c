use proptest::prelude::*;

use super::*;
use crate::property;
use crate::schema::Schema;
use crate::training_set::TrainingSet;

/// A training set of numbered classes.
fn set(width: usize, features: &[f64], classes: &[u8]) -> TrainingSet {
    let schema = Schema {
        features: (0..width).map(|n| format!("f{n}")).collect(),
        ..Schema::default()
    };
    let labels: Vec<String> = classes.iter().map(|class| format!("{class}")).collect();
    let labels = labels.iter().map(String::as_str);
    TrainingSet::new(schema, features.chunks(width).zip(labels))
}

/// Rows of up to four classes on a coarse grid mixed with fine values, so that there are equal values and equal rows.
fn rows() -> impl Strategy<Value = (usize, Vec<f64>, Vec<u8>)> {
    (1_usize..6, 1_usize..60).prop_flat_map(|(width, rows)| {
        let value = prop_oneof![(0_u8..4).prop_map(f64::from), -5.0..5.0];
        (
            Just(width),
            proptest::collection::vec(value, rows * width),
            proptest::collection::vec(0_u8..4, rows),
        )
    })
}

fn kinds() -> impl Strategy<Value = ForestKind> {
    let depth = proptest::option::of(0_usize..6);
    let features = proptest::option::of(1_usize..8);
    (
        1_usize..20,
        depth,
        1_usize..4,
        2_usize..8,
        features,
        0_u32..9,
    )
        .prop_map(
            |(trees, max_depth, min_samples_leaf, min_samples_split, max_features, seed)| {
                ForestKind {
                    trees,
                    max_depth,
                    min_samples_leaf,
                    min_samples_split,
                    max_features,
                    seed,
                }
            },
        )
}

/// The class in the leaf that a row falls into.
fn class_in(nodes: &[TreeNode], features: &[f64]) -> usize {
    let mut place = 0;
    loop {
        match nodes[place] {
            TreeNode::Leaf { class } => return class,
            TreeNode::Split {
                feature,
                threshold,
                left,
                right,
            } => {
                place = if features[feature] <= threshold {
                    left
                } else {
                    right
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(property::config(10))]

    #[test]
    fn a_prediction_is_the_vote_of_the_trees(
        (width, features, classes) in rows(),
        kind in kinds(),
        query in proptest::collection::vec(prop_oneof![(0_u8..4).prop_map(f64::from), -6.0..6.0], 6),
    ) {
        let set = set(width, &features, &classes);
        let fitted = FittedForest::new(kind.fit(&set), &set).unwrap();
        let trees: Vec<Vec<TreeNode>> = fitted.trees().collect();
        prop_assert_eq!(trees.len(), kind.trees);
        for query in features.chunks(width).chain([&query[..width]]) {
            let mut expected = vec![0_u32; set.classes().len()];
            for tree in &trees {
                expected[class_in(tree, query)] += 1;
            }
            let most = expected.iter().max();
            let mut votes = Vec::new();
            let class = fitted.predict(&set, query, &mut votes);
            prop_assert_eq!(Some(class), expected.iter().position(|count| Some(count) == most));
            for (share, count) in votes.iter().zip(&expected) {
                let exact = 1_000.0 * f64::from(*count) / kind.trees as f64;
                prop_assert!((f64::from(*share) - exact).abs() <= 0.5);
            }
        }
    }

    #[test]
    fn nodes_keep_to_the_settings((width, features, classes) in rows(), kind in kinds()) {
        let set = set(width, &features, &classes);
        let fitted = FittedForest::new(kind.fit(&set), &set).unwrap();
        for (tree, nodes) in fitted.trees().enumerate() {
            let mut counts = Vec::new();
            bootstrap::Random::of_tree(kind.seed, tree).draw(set.len(), &mut counts);
            let drawn = (0..set.len()).filter(|&row| counts[row] > 0).collect();
            check_node(&set, kind, &nodes, (0, drawn, 0), &counts);
        }
    }
}

/// Checks a node and those below it: the depth, the number of rows, and the class of a leaf.
fn check_node(
    set: &TrainingSet,
    kind: ForestKind,
    nodes: &[TreeNode],
    (place, rows, depth): (usize, Vec<usize>, usize),
    counts: &[u32],
) {
    let width = set.schema().features.len();
    assert!(kind.max_depth.is_none_or(|limit| depth <= limit));
    assert!(
        rows.len()
            >= kind
                .min_samples_leaf
                .min(if place == 0 { 1 } else { usize::MAX })
    );
    match nodes[place] {
        TreeNode::Leaf { class } => {
            let mut of_class = vec![0; set.classes().len()];
            for &row in &rows {
                of_class[set.class_of_row()[row]] += counts[row];
            }
            let most = of_class.iter().max();
            assert_eq!(
                Some(class),
                of_class.iter().position(|count| Some(count) == most)
            );
        }
        TreeNode::Split {
            feature,
            threshold,
            left,
            right,
        } => {
            assert!(rows.len() >= kind.min_samples_split);
            let is_left = |&row: &usize| set.features()[row * width + feature] <= threshold;
            let (to_left, to_right) = rows.into_iter().partition(is_left);
            check_node(set, kind, nodes, (left, to_left, depth + 1), counts);
            check_node(set, kind, nodes, (right, to_right, depth + 1), counts);
        }
    }
}
