//! The state that the readers fill and the page shows.

use std::sync::Arc;

use iris_core::{Model, Schema};

use crate::board::Board;
use crate::learning::Learning;
use crate::models::Models;
use crate::recent::{DeadLetterRow, Newest, PredictionRow};

/// The state of the pipeline, as far as it has been read.
#[derive(Debug, Default)]
pub struct DashboardState {
    /// The names of a record's fields.
    pub schema: Schema,
    /// The input topic.
    pub input: String,
    /// The figures.
    pub board: Board,
    /// The newest predictions.
    pub predictions: Newest<PredictionRow>,
    /// The newest mispredictions.
    pub mispredictions: Newest<PredictionRow>,
    /// The newest dead letters.
    pub dead_letters: Newest<DeadLetterRow>,
    /// The learning loop, if the trainer has written its figures.
    pub learning: Option<Learning>,
    /// The registry.
    pub models: Models,
    /// The champion.
    pub champion: Option<Arc<Model>>,
}
