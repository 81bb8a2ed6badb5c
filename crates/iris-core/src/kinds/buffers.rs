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
}
