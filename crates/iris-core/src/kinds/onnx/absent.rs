//! A build without the feature `onnx` reads the registry, and refuses to serve these models.

use super::FitError;

/// A model that this build cannot have.
#[derive(Clone, Debug)]
pub(super) enum Classifier {}

/// The only reason why there is none.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this program was built without the cargo feature `onnx`")]
pub(super) struct OnnxError;

impl OnnxError {
    pub(super) fn into_fit_error(self) -> FitError {
        FitError::WithoutOnnx
    }
}

impl Classifier {
    pub(super) fn read(_bytes: &[u8], _names: Option<&[String]>) -> Result<Self, OnnxError> {
        Err(OnnxError)
    }

    pub(super) fn features(&self) -> usize {
        match *self {}
    }

    pub(super) fn classes(&self) -> &[String] {
        match *self {}
    }

    pub(super) fn predict(
        &self,
        _features: &[f64],
        _scores: &mut Vec<f32>,
    ) -> Result<usize, OnnxError> {
        match *self {}
    }
}
