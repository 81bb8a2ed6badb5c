//! The health and metrics endpoint: `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::server::serve_http;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The state that the endpoint shows.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) health: Arc<Health>,
    pub(crate) registry: Arc<Mutex<Registry>>,
}

pub(crate) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shown)
}

/// The number of connections, at most. They are for a supervisor and a few collectors of metrics.
const MAX_CONNECTIONS: usize = 64;

/// Serves until the process ends, so that the health is shown during a shutdown too.
pub(crate) async fn serve(listener: TcpListener, shown: Shown) {
    let never = CancellationToken::new();
    serve_http(listener, router(shown), MAX_CONNECTIONS, never).await;
}

async fn ready(State(shown): State<Shown>) -> Response {
    let problems = shown.health.problems();
    if problems.is_empty() {
        "ready\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready\n{}\n", problems.join("\n")),
        )
            .into_response()
    }
}

async fn metrics(State(shown): State<Shown>) -> Response {
    let mut text = String::new();
    let encoded = encode(&mut text, &shown.registry.lock());
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
