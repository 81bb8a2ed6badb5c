use proptest::prelude::*;

use super::*;
use crate::kinds::{Buffers, FitError, ModelKind, Tally};
use crate::model::Model;
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

/// The place of the shares of the leaf that a row falls into.
fn shares_of(nodes: &[TreeNode], features: &[f64]) -> u32 {
    let mut place = 0;
    loop {
        match nodes[place] {
            TreeNode::Leaf { shares } => return shares,
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

fn fit(set: &TrainingSet, kind: ForestKind) -> Model {
    Model::fit(set.clone(), ModelKind::Forest(kind)).unwrap()
}

/// Rows of two classes that a threshold of one feature divides; one label in ten is wrong.
fn noisy_rows() -> TrainingSet {
    let features: Vec<f64> = (0..600).map(|n| f64::from(n * 7919 % 9973)).collect();
    let is_wrong = |row: usize| row % 10 == 3;
    let class = |(row, x): (usize, &[f64])| u8::from((x[0] > 4000.0) ^ is_wrong(row));
    let classes: Vec<u8> = features.chunks(2).enumerate().map(class).collect();
    set(2, &features, &classes)
}

/// Predicts the classes of some of the training rows, each by the trees that were fitted without that row.
fn left_out(model: &Model, rows: std::ops::Range<usize>) -> Vec<usize> {
    let set = model.training_set();
    model.fitted().predict_left_out(set, rows)
}

proptest! {
    #![proptest_config(property::config(10))]

    #[test]
    fn smartcores_trees_give_the_same_votes((width, features, classes) in rows(), kind in kinds()) {
        let model = fit(&set(width, &features, &classes), kind);
        let compared = crate::cross_check(&model, features.chunks(width));
        prop_assert_eq!(compared, Ok(classes.len()));
    }

    #[test]
    fn the_same_rows_and_kind_give_the_same_forest((width, features, classes) in rows(), kind in kinds()) {
        let set = set(width, &features, &classes);
        let forests = [(); 2].map(|()| fit(&set, kind));
        prop_assert_eq!(forests[0].version(), forests[1].version());
        let other = fit(&set, ForestKind { seed: kind.seed + 1, ..kind });
        prop_assert_ne!(forests[0].version(), other.version());
    }

    #[test]
    fn any_bytes_are_refused_or_predict(bytes in proptest::collection::vec(any::<u8>(), 0..60), kind in kinds()) {
        let set = set(2, &[1.0, 2.0, 3.0, 4.0], &[0, 1]);
        let content = ForestContent::empty(kind).with_bytes(bytes);
        if let Ok(fitted) = FittedForest::new(content, &set) {
            fitted.predict(&set, &[0.0, 0.0], &mut Vec::new());
        }
    }

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
                let shares = fitted.shares(shares_of(tree, query));
                for (sum, &share) in expected.iter_mut().zip(shares) {
                    *sum += share;
                }
            }
            let most = expected.iter().max();
            let mut votes = Vec::new();
            let class = fitted.predict(&set, query, &mut votes);
            prop_assert_eq!(Some(class), expected.iter().position(|count| Some(count) == most));
            let all = f64::from(expected.iter().sum::<u32>());
            for (share, sum) in votes.iter().zip(&expected) {
                let exact = 1_000.0 * f64::from(*sum) / all;
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
            check_node((&set, &fitted), kind, &nodes, (0, drawn, 0), &counts);
        }
    }
}

/// Checks a node and those below it: the depth, the number of rows, and the shares of a leaf.
fn check_node(
    (set, fitted): (&TrainingSet, &FittedForest),
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
        TreeNode::Leaf { shares } => {
            let mut of_class = vec![0; set.classes().len()];
            for &row in &rows {
                of_class[set.class_of_row()[row]] += counts[row];
            }
            let all = f64::from(of_class.iter().sum::<u32>());
            for (&share, &count) in fitted.shares(shares).iter().zip(&of_class) {
                let exact = f64::from(shares::WHOLE) * f64::from(count) / all;
                assert!((f64::from(share) - exact).abs() <= 0.5);
            }
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
            check_node(
                (set, fitted),
                kind,
                nodes,
                (left, to_left, depth + 1),
                counts,
            );
            check_node(
                (set, fitted),
                kind,
                nodes,
                (right, to_right, depth + 1),
                counts,
            );
        }
    }
}

#[test]
fn a_forest_of_one_class_predicts_it() {
    let model = fit(&set(1, &[1.0, 2.0, 3.0], &[7, 7, 7]), ForestKind::from(3));
    let mut votes = Vec::new();
    let predicted = model.predict(&[9.0], &mut Buffers::default(), &mut votes);
    assert_eq!((predicted.class, &votes[..]), (0, &[1_000][..]));
    assert_eq!(left_out(&model, 0..3), [0, 0, 0]);
    assert_eq!(model.content_bytes(), [0, 1, 0, 1, 0, 1]);
}

#[test]
fn votes_are_thousandths_and_a_tie_goes_to_the_class_that_sorts_first() {
    let set = set(1, &[1.0, 2.0, 3.0], &[0, 1, 2]);
    let leaf = |class: u16| (2 * class + 1).to_be_bytes();
    let bytes = [2, 1, 1, 2, 0].map(leaf).concat();
    let content = ForestContent::empty(ForestKind::from(5)).with_bytes(bytes);
    let fitted = FittedForest::new(content, &set).unwrap();
    let mut votes = Vec::new();
    assert_eq!(fitted.predict(&set, &[0.0], &mut votes), 1);
    assert_eq!(votes, [200, 400, 400]);
    assert_eq!(ModelKind::Forest(5.into()).tally(), Tally::Thousandths);
}

#[test]
fn a_leaf_of_several_classes_divides_its_vote() {
    let kind = ForestKind {
        min_samples_leaf: 100,
        ..ForestKind::from(50)
    };
    let set = set(1, &[1.0; 8], &[0, 0, 0, 1, 1, 1, 1, 1]);
    let model = fit(&set, kind);
    let mut votes = Vec::new();
    let predicted = model.predict(&[9.0], &mut Buffers::default(), &mut votes);
    assert_eq!(predicted.class, 1);
    assert!((330..420).contains(&votes[0]), "{votes:?}");
    assert!(votes[0].abs_diff(1_000 - votes[1]) <= 1, "{votes:?}");
}

#[test]
fn the_threshold_is_between_two_values_and_the_lower_one_goes_to_the_left() {
    for (below, above) in [
        (1.0, 1.0_f64.next_up()),
        (-f64::MAX, f64::MAX),
        (5e-324, 1e-323),
        (-0.0, 5e-324),
    ] {
        let features: Vec<f64> = (0..40)
            .map(|n| if n < 20 { below } else { above })
            .collect();
        let classes: Vec<u8> = (0..40).map(|n| u8::from(n >= 20)).collect();
        let model = fit(&set(1, &features, &classes), ForestKind::from(9));
        for (value, class) in [(below, "0"), (above, "1")] {
            assert_eq!(model.predict_label(&[value]), class, "{below} {above}");
        }
    }
}

#[test]
fn a_row_that_is_left_out_does_not_vote() {
    let set = noisy_rows();
    let kind = ForestKind {
        min_samples_leaf: 1,
        ..ForestKind::from(60)
    };
    let model = fit(&set, kind);
    let is_wrong = |row: usize| row % 10 == 3;
    let correct = |predicted: &[usize]| {
        let rows = predicted.iter().zip(set.class_of_row()).enumerate();
        let rows = rows.filter(|(row, _)| is_wrong(*row));
        rows.filter(|(_, (predicted, class))| predicted == class)
            .count()
    };
    let mut votes = Vec::new();
    let with_themselves: Vec<usize> = set
        .rows()
        .map(|(row, _)| model.predict(row, &mut Buffers::default(), &mut votes))
        .map(|prediction| prediction.class)
        .collect();
    let without = left_out(&model, 0..set.len());
    // A wrong label is learned, but not predicted without its row.
    assert!(correct(&with_themselves) > 20, "{with_themselves:?}");
    assert!(correct(&without) < 6, "{without:?}");
    assert_eq!(without[100..120], left_out(&model, 100..120));
}

#[test]
fn without_a_tree_that_lacks_it_a_row_is_predicted_by_the_classes_of_the_others() {
    let set = set(1, &[1.0, 2.0, 3.0], &[0, 1, 1]);
    let kind = (0..)
        .map(|seed| ForestKind {
            seed,
            ..ForestKind::from(1)
        })
        .find(|kind| {
            let mut counts = Vec::new();
            bootstrap::Random::of_tree(kind.seed, 0).draw(3, &mut counts);
            counts == [1, 1, 1]
        });
    let model = fit(&set, kind.unwrap());
    assert_eq!(left_out(&model, 0..3), [1, 0, 0]);
}

#[test]
fn content_that_is_not_a_forest_is_refused() {
    let two = set(1, &[1.0, 2.0], &[0, 1]);
    let refused = |kind: ForestKind, set: &TrainingSet, bytes: &[u8]| {
        let content = ForestContent::empty(kind).with_bytes(bytes.to_vec());
        FittedForest::new(content, set).unwrap_err()
    };
    let empty = set(1, &[], &[]);
    assert_eq!(refused(0.into(), &two, &[]), FitError::NoTrees);
    assert_eq!(refused(1.into(), &empty, &[]), FitError::NoRows);
    let threshold = |value: f64| value.to_bits().to_be_bytes();
    let split = |value: f64, rest: &[u8]| [&[0, 0], &threshold(value)[..], rest].concat();
    for bytes in [
        vec![],
        vec![0],
        vec![0, 1, 0, 1],
        vec![0, 5],
        [&[255, 255, 0, 2][..], &[0, 0, 0, 9, 0, 0, 0, 9]].concat(),
        [&[255, 255, 0, 2][..], &[0, 0, 0, 9, 0, 2, 0, 9]].concat(),
        [&[255, 255, 0, 2][..], &[0, 0, 0, 9, 0, 1, 0, 0]].concat(),
        [&[255, 255, 0, 2][..], &[0, 0, 0, 9, 0, 1, 255, 255]].concat(),
        [&[255, 255, 0, 1][..], &[0, 0, 0, 9]].concat(),
        vec![255, 255, 0, 0],
        split(1.0, &[]),
        split(1.0, &[0, 1]),
        split(f64::NAN, &[0, 1, 0, 3]),
        split(1.0, &[0, 1, 0, 3, 0, 1]),
        vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1],
    ] {
        assert_eq!(refused(1.into(), &two, &bytes), FitError::InvalidTrees);
    }
    let content = ForestContent::empty(1.into()).with_bytes(split(1.0, &[0, 1, 0, 3]));
    assert!(FittedForest::new(content, &two).is_ok());
}

#[test]
fn the_text_of_a_kind_names_all_that_is_not_a_default() {
    let kind = ForestKind {
        max_depth: Some(8),
        min_samples_leaf: 3,
        ..ForestKind::from(30)
    };
    assert_eq!(ForestKind::from(1).to_string(), "1 tree");
    assert_eq!(
        kind.to_string(),
        "30 trees (depth at most 8, at least 3 rows in a leaf)"
    );
}
