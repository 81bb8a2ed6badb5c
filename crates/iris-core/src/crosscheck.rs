//! Checks a fitted model against smartcore's k-nearest-neighbours classifier.
//!
//! smartcore is the reference implementation; the model's own index is faster. Before a model is served, the two must
//! agree on every given row whose prediction is determined, that is, whose k-th and next neighbour are at different
//! distances. (smartcore compares square roots, so it treats distances that differ in the last bits as equal.)

use smartcore::algorithm::neighbour::KNNAlgorithmName;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::neighbors::knn_classifier::{KNNClassifier, KNNClassifierParameters};

use crate::model::Model;
use crate::neighbors::{NeighborIndex, Neighbors};

/// The relative difference below which two distances count as equal.
const RELATIVE_TOLERANCE: f64 = 1e-9;

/// A model that must not be served.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CrossCheckError {
    /// smartcore rejects the training set or a query.
    #[error("smartcore refuses the model: {0}")]
    Refused(String),
    /// The two implementations disagree on a determined prediction.
    #[error(
        "for {features:?} the model predicts `{ours}` and smartcore `{theirs}`: this is a defect, please report it"
    )]
    Disagreement {
        /// The row of features.
        features: Vec<f64>,
        /// The model's prediction.
        ours: String,
        /// smartcore's prediction.
        theirs: String,
    },
}

/// Fits smartcore's classifier to the model's training set and compares the two on `rows`.
///
/// Returns the number of rows compared: those whose prediction is determined.
///
/// # Errors
/// [`CrossCheckError`] if smartcore rejects the training set, and for the first disagreement.
pub fn cross_check<'a>(
    model: &Model,
    rows: impl Iterator<Item = &'a [f64]>,
) -> Result<usize, CrossCheckError> {
    let refused = |error: smartcore::error::Failed| CrossCheckError::Refused(error.to_string());
    let training_set = model.training_set();
    let width = training_set.schema().features.len();
    let matrix = |values: Vec<f64>| {
        let rows = values.len() / width;
        DenseMatrix::new(rows, width, values, false).map_err(refused)
    };
    let x = matrix(training_set.features().to_vec())?;
    let y: Vec<i64> = training_set
        .class_of_row()
        .iter()
        .map(|&class| i64::try_from(class).unwrap_or(i64::MAX))
        .collect();
    let parameters = KNNClassifierParameters::default()
        .with_k(model.neighbors())
        .with_algorithm(KNNAlgorithmName::LinearSearch);
    let smartcore = KNNClassifier::fit(&x, &y, parameters).map_err(refused)?;

    let index = NeighborIndex::new(training_set.features(), width);
    let (mut found, mut votes) = (Neighbors::default(), Vec::new());
    let mut compared = 0;
    for features in rows {
        if !is_determined(&index, features, model.neighbors(), &mut found) {
            continue;
        }
        let ours = model.predict(features, &mut found, &mut votes).class;
        let theirs = smartcore
            .predict(&matrix(features.to_vec())?)
            .map_err(refused)?;
        if theirs
            .first()
            .and_then(|&class| usize::try_from(class).ok())
            != Some(ours)
        {
            return Err(CrossCheckError::Disagreement {
                features: features.to_vec(),
                ours: model.classes()[ours].clone(),
                theirs: theirs
                    .first()
                    .and_then(|&class| model.classes().get(usize::try_from(class).ok()?))
                    .cloned()
                    .unwrap_or_default(),
            });
        }
        compared += 1;
    }
    Ok(compared)
}

/// Returns whether the k nearest rows are the same under any rule for equal distances.
fn is_determined(
    index: &NeighborIndex,
    features: &[f64],
    neighbors: usize,
    found: &mut Neighbors,
) -> bool {
    index.nearest(features, neighbors + 1, found);
    match found.as_slice() {
        [.., last, next] if found.as_slice().len() > neighbors => {
            let (last, next) = (last.distance.sqrt(), next.distance.sqrt());
            next.is_finite() && next - last > RELATIVE_TOLERANCE * next
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::TrainingSet;
    use crate::property;
    use crate::schema::Schema;

    fn model(width: usize, features: &[f64], classes: &[u8], neighbors: usize) -> Model {
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
        Model::fit(TrainingSet::new(schema, rows), neighbors).unwrap()
    }

    proptest! {
        #![proptest_config(property::config(1_000))]

        #[test]
        fn the_model_agrees_with_smartcore(
            (width, classes, features, queries, neighbors) in (1_usize..8, 1_usize..200).prop_flat_map(|(width, rows)| (
                Just(width),
                proptest::collection::vec(0_u8..4, rows),
                // A coarse grid mixed with fine values, for many tied distances.
                proptest::collection::vec(prop_oneof![-5.0..5.0, (0_u8..4).prop_map(f64::from)], rows * width),
                proptest::collection::vec(prop_oneof![-6.0..6.0, (0_u8..4).prop_map(f64::from)], 20 * width),
                1..=rows.min(9),
            ))
        ) {
            let model = model(width, &features, &classes, neighbors);
            prop_assert!(cross_check(&model, queries.chunks(width)).is_ok());
        }
    }

    #[test]
    fn rows_with_tied_distances_are_not_compared() {
        let model = model(1, &[1.0, -1.0, 3.0], &[0, 1, 1], 1);
        assert_eq!(
            cross_check(&model, [[0.0].as_slice(), &[0.9]].into_iter()),
            Ok(1)
        );
    }
}
