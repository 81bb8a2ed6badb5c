//! Checks a model of nearest neighbours against smartcore's k-nearest-neighbours classifier.
//!
//! The two must agree on every given row whose prediction is determined, that is, whose k-th and next neighbour are at different
//! distances, and with weights, whose two best classes have different sums. (smartcore compares square roots, so it treats
//! distances that differ in the last bits as equal.) smartcore gets the scaled features.

use smartcore::algorithm::neighbour::KNNAlgorithmName;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::metrics::distance::Distance;
use smartcore::metrics::distance::euclidian::Euclidian;
use smartcore::metrics::distance::manhattan::Manhattan;
use smartcore::neighbors::KNNWeightFunction;
use smartcore::neighbors::knn_classifier::{KNNClassifier, KNNClassifierParameters};

use super::error::CrossCheckError;
use crate::kinds::{Buffers, FittedNeighbors, Weights};
use crate::model::Model;
use crate::neighbors::Metric;

/// The relative difference below which two distances count as equal.
const RELATIVE_TOLERANCE: f64 = 1e-9;

/// Fits smartcore's classifier to the model's training set and compares the two. Returns the number of rows compared.
pub(super) fn check<'a>(
    model: &Model,
    fitted: &FittedNeighbors,
    rows: impl Iterator<Item = &'a [f64]>,
) -> Result<usize, CrossCheckError> {
    match fitted.kind().metric {
        Metric::Euclidean => check_with(model, fitted, Euclidian::new(), rows),
        Metric::Manhattan => check_with(model, fitted, Manhattan::new(), rows),
    }
}

fn check_with<'a>(
    model: &Model,
    fitted: &FittedNeighbors,
    distance: impl Distance<Vec<f64>>,
    rows: impl Iterator<Item = &'a [f64]>,
) -> Result<usize, CrossCheckError> {
    let training_set = model.training_set();
    let width = training_set.schema().features.len();
    let mut buffer = Vec::new();
    let mut matrix = |values: &[f64]| {
        let rows = values.chunks_exact(width);
        let scaled: Vec<f64> = rows
            .flat_map(|row| fitted.scaled(row, &mut buffer).to_vec())
            .collect();
        DenseMatrix::new(values.len() / width, width, scaled, false)
    };
    let x = matrix(training_set.features())?;
    let y: Vec<i64> = training_set
        .class_of_row()
        .iter()
        .map(|&class| i64::try_from(class).unwrap_or(i64::MAX))
        .collect();
    let parameters = KNNClassifierParameters::default()
        .with_k(fitted.kind().neighbors)
        .with_algorithm(KNNAlgorithmName::LinearSearch)
        .with_weight(match fitted.kind().weights {
            Weights::Uniform => KNNWeightFunction::Uniform,
            Weights::Distance => KNNWeightFunction::Distance,
        })
        .with_distance(distance);
    let smartcore = KNNClassifier::fit(&x, &y, parameters)?;

    let (mut buffers, mut votes) = (Buffers::default(), Vec::new());
    let mut compared = 0;
    for features in rows {
        if !is_determined(fitted, features, &mut buffers) {
            continue;
        }
        let ours = model.predict(features, &mut buffers, &mut votes).class;
        if fitted.kind().weights == Weights::Distance && !has_one_best(&buffers.weights) {
            continue;
        }
        let theirs = smartcore.predict(&matrix(features)?)?;
        let theirs = theirs
            .first()
            .and_then(|&class| usize::try_from(class).ok());
        if theirs != Some(ours) {
            let classes = model.classes();
            return Err(CrossCheckError::disagreement(
                features, classes, ours, theirs,
            ));
        }
        compared += 1;
    }
    Ok(compared)
}

/// Returns whether the k nearest rows are the same under any rule for equal distances.
fn is_determined(fitted: &FittedNeighbors, features: &[f64], buffers: &mut Buffers) -> bool {
    let kind = fitted.kind();
    fitted.nearest(features, kind.neighbors + 1, buffers);
    match buffers.found.as_slice() {
        [.., last, next] if buffers.found.as_slice().len() > kind.neighbors => {
            let [last, next] = [last, next].map(|found| kind.metric.distance(found.distance));
            next.is_finite() && next - last > RELATIVE_TOLERANCE * next
        }
        _ => true,
    }
}

/// Returns whether the largest sum is larger than all others under any order of the terms.
fn has_one_best(sums: &[f64]) -> bool {
    let mut sums = sums.to_vec();
    sums.sort_by(|a, b| b.total_cmp(a));
    match sums[..] {
        [best, next, ..] => best.is_finite() && best - next > RELATIVE_TOLERANCE * best,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cross_check;
    use super::*;
    use crate::kinds::{ModelKind, NeighborsKind, Scale};
    use crate::property;
    use crate::schema::Schema;
    use crate::training_set::TrainingSet;

    fn model(width: usize, features: &[f64], classes: &[u8], kind: NeighborsKind) -> Model {
        let names = (0..width).map(|n| format!("f{n}")).collect();
        let schema = Schema {
            features: names,
            ..Schema::default()
        };
        let labels: Vec<String> = classes
            .iter()
            .map(|class| format!("class {class}"))
            .collect();
        let rows = features
            .chunks(width)
            .zip(labels.iter().map(String::as_str));
        Model::fit(TrainingSet::new(schema, rows), ModelKind::Neighbors(kind)).unwrap()
    }

    proptest! {
        #![proptest_config(property::config(1_000))]

        #[test]
        fn the_model_agrees_with_smartcore(
            (is_scaled, is_weighted, is_manhattan) in any::<(bool, bool, bool)>(),
            (width, classes, features, queries, neighbors) in (1_usize..8, 1_usize..200).prop_flat_map(|(width, rows)| (
                Just(width),
                proptest::collection::vec(0_u8..4, rows),
                // A coarse grid mixed with fine values, for many tied distances.
                proptest::collection::vec(prop_oneof![-5.0..5.0, (0_u8..4).prop_map(f64::from)], rows * width),
                proptest::collection::vec(prop_oneof![-6.0..6.0, (0_u8..4).prop_map(f64::from)], 20 * width),
                1..=rows.min(9),
            ))
        ) {
            let kind = NeighborsKind {
                neighbors,
                scale: if is_scaled { Scale::Standard } else { Scale::None },
                weights: if is_weighted { Weights::Distance } else { Weights::Uniform },
                metric: if is_manhattan { Metric::Manhattan } else { Metric::Euclidean },
            };
            let model = model(width, &features, &classes, kind);
            prop_assert!(cross_check(&model, queries.chunks(width)).is_ok());
        }
    }

    #[test]
    fn rows_with_tied_distances_are_not_compared() {
        let model = model(1, &[1.0, -1.0, 3.0], &[0, 1, 1], 1.into());
        assert_eq!(
            cross_check(&model, [[0.0].as_slice(), &[0.9]].into_iter()),
            Ok(1)
        );
    }
}
