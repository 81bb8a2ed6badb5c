//! The page's figures as JSON, below `/api/v1`, and the document that describes them.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State as Extracted};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;
use axum::{Json, Router};
use iris_kafka::now_ms;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, OpenApi, ToSchema};

use crate::board::{Figures, Partition};
use crate::models::Models;
use crate::problem::Problem;
use crate::recent::{Answer, KEPT, SetAside};
use crate::scatter::{Point, Regions};
use crate::shared::Shared;
use crate::state::Status;
use crate::store::{FeedbackRow, StoreError};
use crate::timeline::{self, quantile};
use crate::view::FEEDBACK_ROWS;

/// The longest text to look for in the feedback store, in characters.
const MOST_CHARACTERS: usize = 200;

/// The seconds that latencies are taken over.
const LATENCY_SECONDS: i64 = 60;

type Answered<T> = Result<Json<T>, Problem>;

/// The parameters of a request, or a problem document that says what is wrong with them.
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

/// How many are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Limit {
    /// The most that are wanted.
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

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Back {
    /// How many seconds back.
    #[param(minimum = 1, maximum = 600)]
    seconds: Option<u16>,
}

/// What rows of the feedback store are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// A text that they contain, in any case of letters.
    #[param(max_length = 200, pattern = r"^[^\x00]*$")]
    pub(crate) q: Option<String>,
    /// The most that are wanted.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u16>,
}

impl Wanted {
    /// The text and the limit, if both can be used.
    pub(crate) fn get(&self) -> Result<(&str, u16), Problem> {
        let text = self.q.as_deref().unwrap_or_default();
        if text.chars().count() > MOST_CHARACTERS || text.contains('\0') {
            return Err(Problem::parameter(format!(
                "q cannot be looked for: allowed are at most {MOST_CHARACTERS} characters, none of them NUL"
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
    /// The feature from left to right; without it, the last but one.
    pub(crate) x: Option<String>,
    /// The feature from below; without it, the last.
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

/// How things are.
#[derive(Debug, Serialize, ToSchema)]
struct StatusNow {
    /// As of when, in milliseconds since the epoch.
    now_ms: i64,
    /// What it amounts to.
    status: Status,
    /// What keeps the dashboard from reading.
    problems: Vec<String>,
}

/// A second in which transactions ended.
#[derive(Debug, Serialize, ToSchema)]
struct SecondFigures {
    /// Seconds since the epoch.
    at_s: i64,
    /// Records with an outcome.
    records: u64,
    /// Predictions whose record had a label.
    evaluated: u64,
    /// Of these, right ones.
    right: u64,
    /// The model versions that answered.
    model_versions: Vec<String>,
}

/// Outcomes whose latency is within the same bounds.
#[derive(Debug, Serialize, ToSchema)]
struct Bucket {
    /// The upper bound in milliseconds; none for what took longer than all bounds.
    up_to_ms: Option<u64>,
    /// How many.
    count: u64,
}

/// Latencies from a record's creation to the end of the transaction that answered it.
#[derive(Debug, Serialize, ToSchema)]
struct LatencyFigures {
    /// Over how many seconds until now.
    seconds: i64,
    /// By upper bound, below which all are that are not in an earlier one.
    buckets: Vec<Bucket>,
    /// The bound below which half of them are.
    p50_ms: Option<u64>,
    /// The bound below which 99 in 100 of them are.
    p99_ms: Option<u64>,
}

/// What the champion answers over two features, and the newest points on it.
#[derive(Debug, Serialize, ToSchema)]
struct Scatter {
    /// The regions.
    regions: Regions,
    /// The points.
    points: Vec<Point>,
}

/// What there is below `/api/v1`.
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
        seconds,
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
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/figures", get(figures))
        .route("/api/v1/partitions", get(partitions))
        .route("/api/v1/timeline", get(seconds))
        .route("/api/v1/latency", get(latency))
        .route("/api/v1/predictions", get(predictions))
        .route("/api/v1/mispredictions", get(mispredictions))
        .route("/api/v1/dead-letters", get(dead_letters))
        .route("/api/v1/models", get(models))
        .route("/api/v1/feedback", get(feedback))
        .route("/api/v1/scatter", get(scatter))
        .route("/api/v1/openapi.json", get(document))
}

/// What there is, described. Which features there are is known by the settings alone.
async fn document(Extracted(shared): Extracted<Arc<Shared>>) -> Answered<Value> {
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

/// Parameters of what takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// How things are, in a sentence.
#[utoipa::path(get, path = "/api/v1/status", responses(
    (status = 200, body = StatusNow), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn status(
    Params(Nothing {}): Params<Nothing>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Json<StatusNow> {
    let (now_ms, problems) = (now_ms(), shared.health.problems());
    let partitions = shared.read().board.partitions(now_ms);
    Json(StatusNow {
        now_ms,
        status: Status::of(&partitions, &problems),
        problems,
    })
}

/// Sums over everything since the history begins.
#[utoipa::path(get, path = "/api/v1/figures", responses(
    (status = 200, body = Figures), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn figures(
    Params(Nothing {}): Params<Nothing>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Json<Figures> {
    Json(shared.read().board.figures())
}

/// The partitions of the input topic, and how far they have been classified.
#[utoipa::path(get, path = "/api/v1/partitions", responses(
    (status = 200, body = Vec<Partition>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn partitions(
    Params(Nothing {}): Params<Nothing>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Json<Vec<Partition>> {
    Json(shared.read().board.partitions(now_ms()))
}

/// What happened second by second; seconds without a transaction are left out.
#[utoipa::path(get, path = "/api/v1/timeline", params(Back), responses(
    (status = 200, body = Vec<SecondFigures>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn seconds(
    Params(Back { seconds }): Params<Back>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Answered<Vec<SecondFigures>> {
    let seconds = i64::from(seconds.unwrap_or(120));
    if !(1..=timeline::KEPT).contains(&seconds) {
        let kept = timeline::KEPT;
        let detail = format!("seconds is {seconds}: allowed is 1 to {kept}");
        return Err(Problem::parameter(detail));
    }
    let now_s = now_ms().div_euclid(1000);
    let state = shared.read();
    let seconds = state.board.timeline().between(now_s - seconds, now_s + 1);
    Ok(Json(
        seconds
            .map(|(at_s, second)| SecondFigures {
                at_s,
                records: second.records,
                evaluated: second.evaluated,
                right: second.right,
                model_versions: second.versions.iter().map(ToString::to_string).collect(),
            })
            .collect(),
    ))
}

/// Latencies over the last minute.
#[utoipa::path(get, path = "/api/v1/latency", responses(
    (status = 200, body = LatencyFigures), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn latency(
    Params(Nothing {}): Params<Nothing>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Json<LatencyFigures> {
    let now_s = now_ms().div_euclid(1000);
    let state = shared.read();
    let counts = state.board.timeline().latency_ms(LATENCY_SECONDS, now_s);
    let finite = |bound: u64| (bound < u64::MAX).then_some(bound);
    Json(LatencyFigures {
        seconds: LATENCY_SECONDS,
        p50_ms: quantile(&counts, 0.5).and_then(finite),
        p99_ms: quantile(&counts, 0.99).and_then(finite),
        buckets: counts
            .into_iter()
            .map(|(bound, count)| Bucket {
                up_to_ms: finite(bound),
                count,
            })
            .collect(),
    })
}

/// The newest predictions. At high rates not every one comes to be among them.
#[utoipa::path(get, path = "/api/v1/predictions", params(Limit), responses(
    (status = 200, body = Vec<Answer>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn predictions(
    Params(limit): Params<Limit>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Answered<Vec<Answer>> {
    let limit = limit.get()?;
    Ok(Json(shared.read().predictions.first(limit)))
}

/// The newest mispredictions.
#[utoipa::path(get, path = "/api/v1/mispredictions", params(Limit), responses(
    (status = 200, body = Vec<Answer>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn mispredictions(
    Params(limit): Params<Limit>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Answered<Vec<Answer>> {
    let limit = limit.get()?;
    Ok(Json(shared.read().mispredictions.first(limit)))
}

/// The newest records that were set aside.
#[utoipa::path(get, path = "/api/v1/dead-letters", params(Limit), responses(
    (status = 200, body = Vec<SetAside>), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn dead_letters(
    Params(limit): Params<Limit>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Answered<Vec<SetAside>> {
    let limit = limit.get()?;
    Ok(Json(shared.read().dead_letters.first(limit)))
}

/// The registry: models with their lineage, and the decisions about them.
#[utoipa::path(get, path = "/api/v1/models", responses(
    (status = 200, body = Models), (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn models(
    Params(Nothing {}): Params<Nothing>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Json<Models> {
    Json(shared.read().models.clone())
}

/// The newest rows of the feedback store that contain a text.
#[utoipa::path(get, path = "/api/v1/feedback", params(Wanted), responses(
    (status = 200, body = Vec<FeedbackRow>), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No store is named.", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "The store does not answer.", body = Problem, content_type = "application/problem+json")))]
async fn feedback(
    Params(wanted): Params<Wanted>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Answered<Vec<FeedbackRow>> {
    let (text, limit) = wanted.get()?;
    let rows = shared.store.search(text, limit).await;
    rows.map(Json).map_err(|problem| {
        let status = match problem {
            StoreError::NotNamed => StatusCode::NOT_FOUND,
            StoreError::Failed { .. } | StoreError::NoAnswer { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Problem::new(status, problem.to_string())
    })
}

/// What the champion answers over two features, and the newest predictions as points.
#[utoipa::path(get, path = "/api/v1/scatter", params(Axes), responses(
    (status = 200, body = Scatter), (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "There is no champion yet.", body = Problem, content_type = "application/problem+json")))]
async fn scatter(
    Params(axes): Params<Axes>,
    Extracted(shared): Extracted<Arc<Shared>>,
) -> Answered<Scatter> {
    let (regions, points) = seen(&shared, &axes).await?;
    Ok(Json(Scatter {
        regions: (*regions).clone(),
        points,
    }))
}

/// What the champion answers over two features, and the newest predictions as points.
pub(crate) async fn seen(
    shared: &Arc<Shared>,
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
            "There is no champion yet: no classifier has put a model into the registry.",
        )
    };
    let champion = champion.ok_or_else(none)?;
    let keeper = Arc::clone(shared);
    let regions = tokio::task::spawn_blocking(move || keeper.regions(&champion, x, y)).await;
    let regions = regions.ok().flatten().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "The champion was made for other features than dataset.features names.",
        )
    })?;
    let points = regions.points(shared.read().predictions.iter());
    Ok((regions, points))
}
