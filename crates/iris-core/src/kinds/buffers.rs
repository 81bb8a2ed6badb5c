//! Buffers that predictions reuse.

use crate::neighbors::Neighbors;

/// Buffers for [`Model::predict`](crate::Model::predict), so that predictions do not allocate.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    /// The neighbours found.
    pub(crate) found: Neighbors,
    /// The scaled features.
    pub(crate) scaled: Vec<f64>,
    /// The sum of weights of each class.
    pub(crate) weights: Vec<f64>,
    /// The scores of an imported model.
    pub(crate) scores: Vec<f32>,
    /// Why an imported model could not classify the latest row that it could not classify.
    pub(crate) failure: String,
}

impl Buffers {
    /// Returns why the latest row could not be classified, if [`Model::predict`](crate::Model::predict) returned no votes for it.
    #[must_use]
    pub fn failure(&self) -> &str {
        &self.failure
    }
}
