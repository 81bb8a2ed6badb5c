//! The server: the page, its pieces, the stream that keeps them up to date, and the API.
//!
//! A browser loads everything from this server. The content security policy of every response forbids other sources.

mod assets;
mod events;
mod page;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::map_response;
use axum::routing::get;
use tokio::net::TcpListener;
use tracing::error;

use crate::api;
use crate::problem::Problem;
use crate::shared::SharedState;

/// Serves requests until the service is stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<SharedState>) {
    let stop = shared.stop.clone();
    let served = axum::serve(listener, router(shared))
        .with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        error!("the page can no longer be served: {error}");
    }
}

/// Returns the routes over a state. It needs no Kafka.
fn router(shared: Arc<SharedState>) -> Router {
    Router::new()
        .merge(page::router())
        .route("/events", get(events::events))
        .merge(assets::router())
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
        .layer(map_response(assets::with_headers))
        .with_state(shared)
}

#[cfg(test)]
mod tests;
