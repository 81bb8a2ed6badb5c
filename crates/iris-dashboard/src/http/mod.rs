//! The server: the page, its pieces, the stream that keeps them up to date, and the API.
//!
//! A browser loads everything from this server. The content security policy of every response forbids other sources.

mod assets;
mod events;
mod hosts;
mod page;
mod site;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Redirect;
use axum::routing::get;
use iris_service::serve_http;
use tokio::net::TcpListener;

use crate::api;
use crate::problem::Problem;
use crate::shared::SharedState;
pub(crate) use hosts::AllowedHosts;
pub use site::Site;

/// Connections besides those of the tabs that are updated: for pages, pieces of pages and the API.
const OTHER_CONNECTIONS: usize = 400;

/// Serves requests until the service is stopped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<SharedState>, site: Site) {
    let max_connections = shared.max_clients.saturating_add(OTHER_CONNECTIONS);
    let stop = shared.stop.clone();
    serve_http(listener, router(shared, &site), max_connections, stop).await;
}

/// Returns the routes over a state. It needs no Kafka.
fn router(shared: Arc<SharedState>, site: &Site) -> Router {
    let home = format!("{}/", site.base_path);
    let below = Router::new()
        .merge(page::pieces())
        .route("/events", get(events::events))
        .merge(assets::router())
        .merge(api::router());
    let mut router = Router::new().route(&home, get(page::page));
    router = if site.base_path.is_empty() {
        router.merge(below)
    } else {
        // The links of the page are relative to its address, which ends with a slash.
        let redirect = Redirect::permanent(&home);
        router
            .nest(&site.base_path, below)
            .route(&site.base_path, get(async || redirect))
    };
    let not_found = format!("There is nothing at this address; the page is at {home}.");
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, not_found))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "The dashboard is read-only: use GET.",
            )
        })
        .layer(from_fn_with_state(site.hosts.clone(), hosts::check))
        .layer(map_response(assets::with_headers))
        .with_state(shared)
}

#[cfg(test)]
mod tests;
