//! The server: the page, its pieces, the stream that keeps them up to date, and the API.
//!
//! Everything that a browser needs comes from this binary. The content security policy of every response forbids the rest.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{Html, IntoResponse, Response, Sse};
use axum::routing::get;
use futures_util::{Stream, stream};
use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::api::{self, Axes, Chosen, Params, Wanted, seen};
use crate::problem::Problem;
use crate::range::Range;
use crate::shared::SharedState;
use crate::view::{self, Fragments, Page, Query};

/// Nothing but what this server sends, no inline scripts or styles, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// How soon a browser tries again when the stream is cut, in milliseconds.
const RETRY_MS: u64 = 1_000;

const STYLE: &str = include_str!("../assets/dashboard.css");
const SCRIPT: &str = include_str!("../assets/dashboard.js");
const ICON: &str = include_str!("../assets/icon.svg");

/// Serves until the service is stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<SharedState>) {
    let stop = shared.stop.clone();
    let served = axum::serve(listener, router(shared))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(problem) = served.await {
        error!("the page cannot be served any more: {problem}");
    }
}

/// The routes over a state; needs no Kafka.
fn router(shared: Arc<SharedState>) -> Router {
    let asset = |content_type: &'static str, text: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, content_type)], text))
    };
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/fragments/scatter", get(scatter))
        .route("/fragments/feedback", get(feedback))
        .route(
            "/assets/dashboard.css",
            asset("text/css; charset=utf-8", STYLE),
        )
        .route(
            "/assets/dashboard.js",
            asset("text/javascript; charset=utf-8", SCRIPT),
        )
        .route("/assets/icon.svg", asset("image/svg+xml", ICON))
        .merge(api::router())
        .fallback(async || {
            Problem::new(
                StatusCode::NOT_FOUND,
                "There is nothing at this address; the page is at /.",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "The dashboard is read-only: use GET.",
            )
        })
        .layer(map_response(async |mut response: Response| {
            let headers = response.headers_mut();
            for (name, value) in [
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::CACHE_CONTROL, "no-cache"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            response
        }))
        .with_state(shared)
}

fn broken(problem: &askama::Error) -> Problem {
    error!("cannot render the page: {problem}");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "The page cannot be rendered.",
    )
}

/// The page's query parameters.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    x: Option<String>,
    y: Option<String>,
    q: Option<String>,
    #[serde(default)]
    range: Range,
}

/// The whole page as of now; complete without a script.
async fn page(
    Params(asked): Params<Asked>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Html<String>, Problem> {
    let (now_ms, problems) = ((shared.now_ms)(), shared.health.problems());
    let (features, fragments) = {
        let state = shared.read();
        let fragments = Fragments::render(&state, &problems, now_ms);
        (state.schema.features.clone(), fragments)
    };
    let axes = Axes {
        x: asked.x,
        y: asked.y,
    };
    let (x, y) = axes.positions(&features)?;
    let name = |position: usize| features.get(position).cloned().unwrap_or_default();
    let query = Query {
        x: name(x),
        y: name(y),
        q: asked.q.unwrap_or_default(),
        range: asked.range,
    };
    let wanted = Wanted {
        q: Some(query.q.clone()),
        limit: None,
    };
    let fragments = fragments.map_err(|problem| broken(&problem))?;
    let page = Page {
        now_ms,
        features: &features,
        query: &query,
        fragments: &fragments,
        charts: fragments.charts(query.range),
        scatter: &scatter_of(&shared, &axes).await?,
        feedback: &feedback_of(&shared, &wanted).await?,
    };
    page.render().map(Html).map_err(|problem| broken(&problem))
}

/// The scatter plot.
async fn scatter(
    Params(axes): Params<Axes>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Html<String>, Problem> {
    scatter_of(&shared, &axes).await.map(Html)
}

async fn scatter_of(shared: &Arc<SharedState>, axes: &Axes) -> Result<String, Problem> {
    match seen(shared, axes).await {
        Ok((regions, points)) => {
            view::scatter(&regions, &points).map_err(|problem| broken(&problem))
        }
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => {
            view::empty(&problem.detail).map_err(|problem| broken(&problem))
        }
        Err(problem) => Err(problem),
    }
}

/// Rows of the feedback store.
async fn feedback(
    Params(wanted): Params<Wanted>,
    State(shared): State<Arc<SharedState>>,
) -> Result<Html<String>, Problem> {
    feedback_of(&shared, &wanted).await.map(Html)
}

async fn feedback_of(shared: &SharedState, wanted: &Wanted) -> Result<String, Problem> {
    let (text, limit) = wanted.get()?;
    let rows = shared.feedback.search(text, limit).await;
    view::feedback(&rows, text).map_err(|problem| broken(&problem))
}

/// A piece of the page, on its way to its place.
#[derive(Serialize)]
struct Piece<'a> {
    place: &'a str,
    html: &'a str,
}

/// A connected tab.
struct Tab {
    range: Range,
    fragments: watch::Receiver<Arc<Fragments>>,
    /// The pieces that it has.
    sent: Arc<Fragments>,
    queue: VecDeque<Event>,
    stop: CancellationToken,
    clients: Gauge,
    _seat: OwnedSemaphorePermit,
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.clients.dec();
    }
}

impl Tab {
    /// The next piece that has changed; `None` when the service is stopped.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.fragments.changed() => changed.ok()?,
            }
            let fragments = Arc::clone(&self.fragments.borrow_and_update());
            let pieces = fragments.by_place(self.range).into_iter();
            for ((place, html), (_, sent)) in pieces.zip(self.sent.by_place(self.range)) {
                if html != sent
                    && let Ok(event) = Event::default().json_data(Piece { place, html })
                {
                    self.queue.push_back(event);
                }
            }
            self.sent = fragments;
        }
    }
}

/// The stream that keeps a tab up to date: first all pieces, then those that have changed.
async fn events(
    Params(Chosen { range }): Params<Chosen>,
    State(shared): State<Arc<SharedState>>,
) -> Response {
    let Ok(seat) = Arc::clone(&shared.seats).try_acquire_owned() else {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "As many tabs are connected as dashboard.max_clients allows: close some, or raise it.",
        )
        .into_response();
    };
    shared.clients.inc();
    let retry = Event::default()
        .retry(std::time::Duration::from_millis(RETRY_MS))
        .comment("live");
    let mut fragments = shared.fragments.subscribe();
    // The last rendering may be from when a tab was last connected; the next one is not.
    fragments.mark_unchanged();
    let tab = Tab {
        range,
        fragments,
        sent: Arc::default(),
        queue: VecDeque::from([retry]),
        stop: shared.stop.clone(),
        clients: shared.clients.clone(),
        _seat: seat,
    };
    Sse::new(pieces(tab))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn pieces(tab: Tab) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(tab, async |mut tab| {
        let event = tab.next().await?;
        Some((Ok(event), tab))
    })
}

#[cfg(test)]
mod tests;
