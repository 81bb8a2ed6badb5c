//! The page's figures as JSON, below `/api/v1`, and the OpenAPI document that describes them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::board::{Figures, Partition};
use crate::feedback::FeedbackError;
use crate::models::Models;
use crate::problem::Problem;
use crate::range::{Range, Window};
use crate::recent::{DeadLetterRow, KEPT, PredictionRow};
use crate::scatter::{Point, Regions};
use crate::shared::SharedState;
use crate::state::Status;
use crate::timeline::{Bucket, Slice, quantile};
use crate::view::FEEDBACK_ROWS;
use iris_feedback_store::FeedbackRow;

/// The longest text to look for in the feedback store, in characters.
const MAX_CHARACTERS: usize = 200;

type Answered<T> = Result<Json<T>, Problem>;

/// The query parameters of a request; those that cannot be used are rejected with a problem document.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params: Result<Query<T>, QueryRejection> =
            Query::from_request_parts(parts, state).await;
        match params {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::parameter(rejection.body_text())),
        }
    }
}

/// How many records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Limit {
    /// The most records to return.
    #[param(minimum = 1, maximum = 300)]
    limit: Option<u16>,
}

impl Limit {
    fn get(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(50);
        if usize::from(limit) > KEPT || limit == 0 {
            let detail = format!("limit is {limit}: allowed is 1 to {KEPT}");
            return Err(Problem::parameter(detail));
        }
        Ok(usize::from(limit))
    }
}

/// Which range of time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Chosen {
    /// The range of time: one minute (the default), 15 minutes, or everything that is kept. If a range has no records until
    /// now, the last one of its length that had some is returned.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(crate) range: Range,
}

/// Which rows of the feedback store.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// A text that they contain, ignoring case.
    #[param(max_length = 200, pattern = r"^[^\x00]*$")]
    pub(crate) q: Option<String>,
    /// The most rows to return.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u16>,
}

impl Wanted {
    /// The text and the limit, if both can be used.
    pub(crate) fn get(&self) -> Result<(&str, u16), Problem> {
        let text = self.q.as_deref().unwrap_or_default();
        if text.chars().count() > MAX_CHARACTERS || text.contains('\0') {
            return Err(Problem::parameter(format!(
                "q cannot be searched for: allowed are at most {MAX_CHARACTERS} characters, none of them NUL"
            )));
        }
        let limit = self.limit.unwrap_or(FEEDBACK_ROWS);
        if !(1..=FEEDBACK_ROWS).contains(&limit) {
            return Err(Problem::parameter(format!(
                "limit is {limit}: allowed is 1 to {FEEDBACK_ROWS}"
            )));
        }
        Ok((text, limit))
    }
}

/// Two features.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Axes {
    /// The feature on the horizontal axis; by default the last but one.
    pub(crate) x: Option<String>,
    /// The feature on the vertical axis; by default the last.
    pub(crate) y: Option<String>,
}

impl Axes {
    /// The features' positions.
    pub(crate) fn positions(&self, features: &[String]) -> Result<(usize, usize), Problem> {
        let position = |key: &str, name: &Option<String>, otherwise: usize| match name {
            None => Ok(features.len().saturating_sub(otherwise)),
            Some(name) => features
                .iter()
                .position(|feature| feature == name)
                .ok_or_else(|| {
                    let allowed = features.join(", ");
                    Problem::parameter(format!("{key} is `{name}`: allowed are {allowed}"))
                }),
        };
        Ok((position("x", &self.x, 2)?, position("y", &self.y, 1)?))
    }
}

/// The state of the pipeline.
#[derive(Debug, Serialize, ToSchema)]
struct StatusNow {
    /// As of when, in milliseconds since the epoch.
    now_ms: i64,
    /// The state in a sentence.
    status: Status,
    /// The problems that keep the dashboard from reading.
    problems: Vec<String>,
}

/// What happened in a range of time.
#[derive(Debug, Serialize, ToSchema)]
struct TimelineFigures {
    /// The range that was asked for.
    range: Range,
    /// The stretch of time that it means now; null before the first transaction.
    window: Option<Window>,
    /// Its buckets. Buckets before the first transaction, or after the summaries were last read, are left out: their figures
    /// are not known.
    buckets: Vec<BucketFigures>,
}

/// What the transactions that ended in a stretch of time did.
#[derive(Debug, Serialize, ToSchema)]
struct BucketFigures {
    /// The first second, since the epoch.
    at_s: i64,
    /// The length in seconds.
    seconds: i64,
    /// Records with an outcome.
    records: u64,
    /// Predictions whose record had a label.
    evaluated: u64,
    /// Of these, those that are right.
    right: u64,
    /// The model versions that predicted.
    model_versions: Vec<String>,
}

impl From<Bucket> for BucketFigures {
    fn from(bucket: Bucket) -> Self {
        let counts = bucket.counts;
        Self {
            at_s: bucket.at_s,
            seconds: bucket.seconds,
            records: counts.records,
            evaluated: counts.evaluated,
            right: counts.right,
            model_versions: counts.versions.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Outcomes whose latency is within the same bounds.
#[derive(Debug, Serialize, ToSchema)]
struct LatencyBucket {
    /// The upper bound in milliseconds; null above the last bound.
    up_to_ms: Option<u64>,
    /// Outcomes that are within it, and above the previous bound.
    count: u64,
}

/// Latencies from a record's creation to the end of the transaction that answered it.
#[derive(Debug, Serialize, ToSchema)]
struct LatencyFigures {
    /// The range that was asked for.
    range: Range,
    /// The stretch of time that it means now; null before the first transaction.
    window: Option<Window>,
    /// Outcomes by upper bound.
    buckets: Vec<LatencyBucket>,
    /// The bound within which half of them are; null if there are none, or above the last bound.
    p50_ms: Option<u64>,
    /// The bound within which 99% of them are; null if there are none, or above the last bound.
    p99_ms: Option<u64>,
}

/// The champion's answers over two features, and the newest predictions as points.
#[derive(Debug, Serialize, ToSchema)]
struct Scatter {
    /// The regions.
    regions: Regions,
    /// The points.
    points: Vec<Point>,
}

/// The OpenAPI document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "iris-dashboard",
        description = "The pipeline's figures, read-only."
    ),
    paths(
        status,
        figures,
        partitions,
        timeline,
        latency,
        predictions,
        mispredictions,
        dead_letters,
        models,
        feedback,
        scatter
    )
)]
struct Document;

/// The routes.
pub(crate) fn router() -> Router<Arc<SharedState>> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/figures", get(figures))
        .route("/api/v1/partitions", get(partitions))
        .route("/api/v1/timeline", get(timeline))
        .route("/api/v1/latency", get(latency))
        .route("/api/v1/predictions", get(predictions))
        .route("/api/v1/mispredictions", get(mispredictions))
        .route("/api/v1/dead-letters", get(dead_letters))
        .route("/api/v1/models", get(models))
        .route("/api/v1/feedback", get(feedback))
        .route("/api/v1/scatter", get(scatter))
        .route("/api/v1/openapi.json", get(document))
}

/// The OpenAPI document. The features to choose from come from the settings.
async fn document(State(shared): State<Arc<SharedState>>) -> Answered<Value> {
    let broken = |_| {
        let detail = "The document cannot be written.";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    };
    let mut document = serde_json::to_value(Document::openapi()).map_err(broken)?;
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

/// No parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The state of the pipeline in a sentence.
#[utoipa::path(get, path = "/api/v1/status", responses(
    (status = 200, body = StatusNow), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn status(
    Params(Nothing {}): Params<Nothing>,
    State(shared): State<Arc<SharedState>>,
) -> Json<StatusNow> {
    let (now_ms, problems) = ((shared.now_ms)(), shared.health.problems());
    let partitions = shared.read().board.partitions(now_ms);
    Json(StatusNow {
        now_ms,
        status: Status::of(&partitions, &problems),
        problems,
    })
}

/// Sums over all transactions since the history begins.
#[utoipa::path(get, path = "/api/v1/figures", responses(
    (status = 200, body = Figures), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn figures(
    Params(Nothing {}): Params<Nothing>,
    State(shared): State<Arc<SharedState>>,
) -> Json<Figures> {
    Json(shared.read().board.figures())
}

/// The partitions of the input topic, and each consumer group's progress.
#[utoipa::path(get, path = "/api/v1/partitions", responses(
    (status = 200, body = Vec<Partition>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn partitions(
    Params(Nothing {}): Params<Nothing>,
    State(shared): State<Arc<SharedState>>,
) -> Json<Vec<Partition>> {
    Json(shared.read().board.partitions((shared.now_ms)()))
}

/// What happened in a range of time, in at most 120 buckets.
#[utoipa::path(get, path = "/api/v1/timeline", params(Chosen), responses(
    (status = 200, body = TimelineFigures), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn timeline(
    Params(Chosen { range }): Params<Chosen>,
    State(shared): State<Arc<SharedState>>,
) -> Json<TimelineFigures> {
    let slice = slice(&shared, range);
    Json(TimelineFigures {
        range,
        window: slice.as_ref().map(|slice| slice.window),
        buckets: slice
            .iter()
            .flat_map(Slice::buckets)
            .map(BucketFigures::from)
            .collect(),
    })
}

fn slice(shared: &SharedState, range: Range) -> Option<Slice> {
    let now_s = (shared.now_ms)().div_euclid(1000);
    shared.read().board.timeline().slice(range, now_s)
}

/// Latencies in a range of time.
#[utoipa::path(get, path = "/api/v1/latency", params(Chosen), responses(
    (status = 200, body = LatencyFigures), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn latency(
    Params(Chosen { range }): Params<Chosen>,
    State(shared): State<Arc<SharedState>>,
) -> Json<LatencyFigures> {
    let slice = slice(&shared, range);
    let counts = slice.as_ref().map(Slice::latency_ms).unwrap_or_default();
    let finite = |bound: u64| (bound < u64::MAX).then_some(bound);
    Json(LatencyFigures {
        range,
        window: slice.map(|slice| slice.window),
        p50_ms: quantile(&counts, 0.5).and_then(finite),
        p99_ms: quantile(&counts, 0.99).and_then(finite),
        buckets: counts
            .into_iter()
            .map(|(bound, count)| LatencyBucket {
                up_to_ms: finite(bound),
                count,
            })
            .collect(),
    })
}

/// The newest predictions. At high rates they are a sample.
#[utoipa::path(get, path = "/api/v1/predictions", params(Limit), responses(
    (status = 200, body = Vec<PredictionRow>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn predictions(
    Params(limit): Params<Limit>,
    State(shared): State<Arc<SharedState>>,
) -> Answered<Vec<PredictionRow>> {
    let limit = limit.get()?;
    Ok(Json(shared.read().predictions.first(limit)))
}

/// The newest mispredictions.
#[utoipa::path(get, path = "/api/v1/mispredictions", params(Limit), responses(
    (status = 200, body = Vec<PredictionRow>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn mispredictions(
    Params(limit): Params<Limit>,
    State(shared): State<Arc<SharedState>>,
) -> Answered<Vec<PredictionRow>> {
    let limit = limit.get()?;
    Ok(Json(shared.read().mispredictions.first(limit)))
}

/// The newest dead letters.
#[utoipa::path(get, path = "/api/v1/dead-letters", params(Limit), responses(
    (status = 200, body = Vec<DeadLetterRow>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn dead_letters(
    Params(limit): Params<Limit>,
    State(shared): State<Arc<SharedState>>,
) -> Answered<Vec<DeadLetterRow>> {
    let limit = limit.get()?;
    Ok(Json(shared.read().dead_letters.first(limit)))
}

/// The registry: models with their lineage, and the decisions about them.
#[utoipa::path(get, path = "/api/v1/models", responses(
    (status = 200, body = Models), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn models(
    Params(Nothing {}): Params<Nothing>,
    State(shared): State<Arc<SharedState>>,
) -> Json<Models> {
    Json(shared.read().models.clone())
}

/// The newest rows of the feedback store that contain a text.
#[utoipa::path(get, path = "/api/v1/feedback", params(Wanted), responses(
    (status = 200, body = Vec<FeedbackRow>), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No feedback store is set.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The store does not answer.", body = Problem, content_type = "application/problem+json")))]
async fn feedback(
    Params(wanted): Params<Wanted>,
    State(shared): State<Arc<SharedState>>,
) -> Answered<Vec<FeedbackRow>> {
    let (text, limit) = wanted.get()?;
    let rows = shared.feedback.search(text, limit).await;
    rows.map(Json).map_err(|problem| {
        let status = match problem {
            FeedbackError::NotSet => StatusCode::NOT_FOUND,
            FeedbackError::Read(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, problem.to_string())
    })
}

/// The champion's answers over two features, and the newest predictions as points.
#[utoipa::path(get, path = "/api/v1/scatter", params(Axes), responses(
    (status = 200, body = Scatter), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no champion yet.", body = Problem, content_type = "application/problem+json")))]
async fn scatter(
    Params(axes): Params<Axes>,
    State(shared): State<Arc<SharedState>>,
) -> Answered<Scatter> {
    let (regions, points) = seen(&shared, &axes).await?;
    Ok(Json(Scatter {
        regions: (*regions).clone(),
        points,
    }))
}

/// The champion's answers over two features, and the newest predictions as points.
pub(crate) async fn seen(
    shared: &Arc<SharedState>,
    axes: &Axes,
) -> Result<(Arc<Regions>, Vec<Point>), Problem> {
    let (features, champion) = {
        let state = shared.read();
        (state.schema.features.clone(), state.champion.clone())
    };
    let (x, y) = axes.positions(&features)?;
    let none = || {
        Problem::new(
            StatusCode::NOT_FOUND,
            "There is no champion yet: no classifier has registered a model.",
        )
    };
    let champion = champion.ok_or_else(none)?;
    let keeper = Arc::clone(shared);
    let regions = tokio::task::spawn_blocking(move || keeper.regions(&champion, x, y)).await;
    let regions = regions.ok().flatten().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "The champion was trained on other features than dataset.features names.",
        )
    })?;
    let points = regions.points(shared.read().predictions.iter());
    Ok((regions, points))
}
