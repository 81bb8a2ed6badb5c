//! The newest records, and the rows of the feedback store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use iris_feedback_store::FeedbackRow;

use super::parameters::{Limit, Params, Search};
use crate::feedback::FeedbackError;
use crate::problem::Problem;
use crate::recent::{DeadLetterRow, PredictionRow};
use crate::shared::SharedState;

/// The newest predictions. At high rates they are a sample.
#[utoipa::path(get, path = "/api/v1/predictions", params(Limit), responses(
    (status = 200, body = Vec<PredictionRow>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn predictions(
    Params(limit): Params<Limit>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Json<Vec<PredictionRow>>, Problem> {
    let limit = limit.get()?;
    Ok(Json(shared.read().predictions.first(limit)))
}

/// The newest mispredictions.
#[utoipa::path(get, path = "/api/v1/mispredictions", params(Limit), responses(
    (status = 200, body = Vec<PredictionRow>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn mispredictions(
    Params(limit): Params<Limit>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Json<Vec<PredictionRow>>, Problem> {
    let limit = limit.get()?;
    Ok(Json(shared.read().mispredictions.first(limit)))
}

/// The newest dead letters.
#[utoipa::path(get, path = "/api/v1/dead-letters", params(Limit), responses(
    (status = 200, body = Vec<DeadLetterRow>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn dead_letters(
    Params(limit): Params<Limit>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Json<Vec<DeadLetterRow>>, Problem> {
    let limit = limit.get()?;
    Ok(Json(shared.read().dead_letters.first(limit)))
}

/// The newest rows of the feedback store that contain a text.
#[utoipa::path(get, path = "/api/v1/feedback", params(Search), responses(
    (status = 200, body = Vec<FeedbackRow>), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No feedback store is set.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The store cannot be read.", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn feedback(
    Params(search): Params<Search>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Json<Vec<FeedbackRow>>, Problem> {
    let (text, limit) = search.get()?;
    let rows = shared.feedback.search(text, limit).await;
    rows.map(Json).map_err(|error| {
        let status = match error {
            FeedbackError::NotSet => StatusCode::NOT_FOUND,
            FeedbackError::Unreadable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, error.to_string())
    })
}
