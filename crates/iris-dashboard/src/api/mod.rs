//! The page's figures as JSON, below `/api/v1`, and the OpenAPI document that describes them.

mod bodies;
mod figures;
pub(crate) mod parameters;
mod records;
pub(crate) mod scatter;

use std::sync::Arc;

use axum::extract::{OriginalUri, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::problem::Problem;
use crate::shared::SharedState;

/// The OpenAPI document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "iris-dashboard",
        description = "The figures of the pipeline. The API is read-only."
    ),
    paths(
        figures::status,
        figures::figures,
        figures::partitions,
        figures::timeline,
        figures::latency,
        figures::models,
        figures::learning,
        records::predictions,
        records::mispredictions,
        records::dead_letters,
        records::feedback,
        scatter::scatter
    )
)]
struct Document;

/// Returns the routes.
pub(crate) fn router() -> Router<Arc<SharedState>> {
    Router::new()
        .route("/api/v1/status", get(figures::status))
        .route("/api/v1/figures", get(figures::figures))
        .route("/api/v1/partitions", get(figures::partitions))
        .route("/api/v1/timeline", get(figures::timeline))
        .route("/api/v1/latency", get(figures::latency))
        .route("/api/v1/models", get(figures::models))
        .route("/api/v1/learning", get(figures::learning))
        .route("/api/v1/predictions", get(records::predictions))
        .route("/api/v1/mispredictions", get(records::mispredictions))
        .route("/api/v1/dead-letters", get(records::dead_letters))
        .route("/api/v1/feedback", get(records::feedback))
        .route("/api/v1/scatter", get(scatter::scatter))
        .route(DOCUMENT, get(document))
}

/// The path of the OpenAPI document.
const DOCUMENT: &str = "/api/v1/openapi.json";

/// Returns the OpenAPI document. The features to choose from come from the settings, and the path of the server from the address
/// of the document.
async fn document(
    OriginalUri(address): OriginalUri,
    State(shared): State<Arc<SharedState>>,
) -> Result<Json<Value>, Problem> {
    let failed = |_| {
        let detail = "The document cannot be written.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    };
    let mut document = serde_json::to_value(Document::openapi()).map_err(failed)?;
    let base_path = address.path().strip_suffix(DOCUMENT).unwrap_or_default();
    if !base_path.is_empty() {
        document["servers"] = json!([{ "url": base_path }]);
    }
    let features = json!(shared.read().schema.features);
    let parameters = document.pointer_mut("/paths/~1api~1v1~1scatter/get/parameters");
    for parameter in parameters
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        parameter["schema"] = json!({ "type": "string", "enum": features });
    }
    Ok(Json(document))
}
