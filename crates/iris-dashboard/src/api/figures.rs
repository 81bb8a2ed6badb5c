//! The status, the figures, the partitions, the timeline, the latencies and the registry.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::bodies::{LatencyFigures, LearningNow, StatusNow, TimelineFigures};
use super::parameters::{NoParameters, Params, RangeParameter};
use crate::board::{Figures, Partition};
use crate::models::Models;
use crate::problem::Problem;
use crate::range::Range;
use crate::shared::SharedState;
use crate::status::Status;
use crate::timeline::Slice;

/// The state of the pipeline in a sentence.
#[utoipa::path(get, path = "/api/v1/status", responses(
    (status = 200, body = StatusNow), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn status(
    Params(NoParameters {}): Params<NoParameters>,
    State(shared): State<Arc<SharedState>>,
) -> Json<StatusNow> {
    let (now_ms, problems) = ((shared.now_ms)(), shared.health.problems());
    let (partitions, late, reading) = {
        let board = &shared.read().board;
        let partitions = board.partitions(now_ms);
        let late = board.late(&partitions);
        (partitions, late, board.reading())
    };
    Json(StatusNow {
        now_ms,
        status: Status::of(&partitions, &late, reading, &problems, now_ms),
        problems,
        late,
    })
}

/// The sums of all transactions in the history.
#[utoipa::path(get, path = "/api/v1/figures", responses(
    (status = 200, body = Figures), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn figures(
    Params(NoParameters {}): Params<NoParameters>,
    State(shared): State<Arc<SharedState>>,
) -> Json<Figures> {
    Json(shared.read().board.figures())
}

/// The partitions of the input topic, and the progress of each consumer group.
#[utoipa::path(get, path = "/api/v1/partitions", responses(
    (status = 200, body = Vec<Partition>), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn partitions(
    Params(NoParameters {}): Params<NoParameters>,
    State(shared): State<Arc<SharedState>>,
) -> Json<Vec<Partition>> {
    Json(shared.read().board.partitions((shared.now_ms)()))
}

/// The transactions in a range of time, in up to 120 buckets.
#[utoipa::path(get, path = "/api/v1/timeline", params(RangeParameter), responses(
    (status = 200, body = TimelineFigures), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn timeline(
    Params(RangeParameter { range }): Params<RangeParameter>,
    State(shared): State<Arc<SharedState>>,
) -> Json<TimelineFigures> {
    Json(TimelineFigures::new(range, slice(&shared, range).as_ref()))
}

/// The latencies in a range of time.
#[utoipa::path(get, path = "/api/v1/latency", params(RangeParameter), responses(
    (status = 200, body = LatencyFigures), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn latency(
    Params(RangeParameter { range }): Params<RangeParameter>,
    State(shared): State<Arc<SharedState>>,
) -> Json<LatencyFigures> {
    Json(LatencyFigures::new(range, slice(&shared, range).as_ref()))
}

fn slice(shared: &SharedState, range: Range) -> Option<Slice> {
    let now_s = (shared.now_ms)().div_euclid(1000);
    shared.read().board.timeline().slice(range, now_s)
}

/// The registry: models with their lineage, and the decisions about them.
#[utoipa::path(get, path = "/api/v1/models", responses(
    (status = 200, body = Models), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn models(
    Params(NoParameters {}): Params<NoParameters>,
    State(shared): State<Arc<SharedState>>,
) -> Json<Models> {
    Json(shared.read().models.clone())
}

/// The learning loop: its accuracy, kappa and balanced accuracy, in total and over the newest labelled records, beside a model
/// that never learns and the previous label.
#[utoipa::path(get, path = "/api/v1/learning", responses(
    (status = 200, body = LearningNow), (status = 400, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn learning(
    Params(NoParameters {}): Params<NoParameters>,
    State(shared): State<Arc<SharedState>>,
) -> Json<LearningNow> {
    let learning = shared.read().learning.clone();
    Json(LearningNow { learning })
}
