//! The page, and the pieces that a form of the page replaces.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use serde::Deserialize;
use tracing::error;

use crate::api::parameters::{Axes, Params, Search};
use crate::api::scatter::regions_and_points;
use crate::problem::Problem;
use crate::range::Range;
use crate::shared::SharedState;
use crate::view::empty::empty;
use crate::view::{self, Fragments, Page, Query};

/// Returns the routes of the pieces.
pub(super) fn pieces() -> Router<Arc<SharedState>> {
    Router::new()
        .route("/fragments/scatter", get(scatter))
        .route("/fragments/feedback", get(feedback))
}

/// The query parameters of the page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageParameters {
    x: Option<String>,
    y: Option<String>,
    q: Option<String>,
    #[serde(default)]
    range: Range,
}

/// The whole page. It is complete without a script.
pub(super) async fn page(
    Params(parameters): Params<PageParameters>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Html<String>, Problem> {
    let (now_ms, problems) = ((shared.now_ms)(), shared.health.problems());
    let (features, fragments) = {
        let state = shared.read();
        let fragments = Fragments::render(&state, &problems, now_ms);
        (state.schema.features.clone(), fragments)
    };
    let PageParameters { x, y, q, range } = parameters;
    let axes = Axes { x, y };
    let (x, y) = axes.positions(&features)?;
    let name = |position: usize| features.get(position).cloned().unwrap_or_default();
    let query = Query {
        x: name(x),
        y: name(y),
        q: q.clone().unwrap_or_default(),
        range,
    };
    let fragments = fragments.map_err(not_rendered)?;
    let page = Page {
        now_ms,
        features: &features,
        query: &query,
        fragments: &fragments,
        charts: fragments.charts(range),
        scatter: &scatter_piece(&shared, &axes).await?,
        feedback: &feedback_piece(&shared, &Search { q, limit: None }).await?,
    };
    page.render().map(Html).map_err(not_rendered)
}

/// The scatter plot.
async fn scatter(
    Params(axes): Params<Axes>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Html<String>, Problem> {
    scatter_piece(&shared, &axes).await.map(Html)
}

async fn scatter_piece(shared: &Arc<SharedState>, axes: &Axes) -> Result<String, Problem> {
    let rendered = match regions_and_points(shared, axes).await {
        Ok((regions, points)) => view::scatter::scatter(&regions, &points),
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => empty(&problem.detail),
        Err(problem) => return Err(problem),
    };
    rendered.map_err(not_rendered)
}

/// The rows of the feedback store.
async fn feedback(
    Params(search): Params<Search>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Html<String>, Problem> {
    feedback_piece(&shared, &search).await.map(Html)
}

async fn feedback_piece(shared: &SharedState, search: &Search) -> Result<String, Problem> {
    let (text, limit) = search.get()?;
    let rows = shared.feedback.search(text, limit).await;
    view::records::feedback(&rows, text).map_err(not_rendered)
}

fn not_rendered(error: askama::Error) -> Problem {
    error!("cannot render the page: {error}");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The page cannot be rendered.",
    )
}
