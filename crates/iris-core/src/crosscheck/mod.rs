//! Checks a fitted model against smartcore, the reference implementation, before it is served.

mod error;
mod forest;
mod neighbors;

pub use error::CrossCheckError;

use crate::kinds::Fitted;
use crate::model::Model;

/// Compares the predictions of a model with smartcore's on `rows`. Of nearest neighbours, smartcore fits a model of its own; of a
/// forest, it uses the model's trees.
///
/// Returns the number of rows compared: those whose prediction is determined.
///
/// # Errors
/// [`CrossCheckError`] if smartcore rejects the training set or the trees, and for the first disagreement.
pub fn cross_check<'a>(
    model: &Model,
    rows: impl Iterator<Item = &'a [f64]>,
) -> Result<usize, CrossCheckError> {
    match model.fitted() {
        Fitted::Neighbors(fitted) => neighbors::check(model, fitted, rows),
        Fitted::Forest(fitted) => forest::check(model, fitted, rows),
        // It is compared with other predictions when it is imported.
        Fitted::Onnx(_) => Ok(0),
    }
}
