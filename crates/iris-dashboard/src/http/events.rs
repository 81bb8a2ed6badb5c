//! The stream of server-sent events that keeps a tab up to date.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use futures_util::{Stream, stream};
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::api::parameters::{Params, RangeParameter};
use crate::problem::Problem;
use crate::range::Range;
use crate::shared::SharedState;
use crate::view::Fragments;

/// How long a browser waits before it reconnects.
const RETRY: Duration = Duration::from_secs(1);

/// A piece of the page and the id of its place.
#[derive(Serialize)]
struct Piece<'a> {
    place: &'a str,
    html: &'a str,
}

/// A connected tab.
struct Tab {
    range: Range,
    fragments: watch::Receiver<Arc<Fragments>>,
    /// The pieces that the tab shows.
    sent: Arc<Fragments>,
    queue: VecDeque<Event>,
    stop: CancellationToken,
    clients: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Tab {
    fn drop(&mut self) {
        self.clients.dec();
    }
}

impl Tab {
    /// Connects a tab that shows a range.
    fn connect(shared: &SharedState, range: Range, permit: OwnedSemaphorePermit) -> Self {
        shared.clients.inc();
        let mut fragments = shared.fragments.subscribe();
        // The last rendering may be old: none takes place while no tab is connected.
        fragments.mark_unchanged();
        let first = Event::default().retry(RETRY).comment("live");
        Self {
            range,
            fragments,
            sent: Arc::default(),
            queue: VecDeque::from([first]),
            stop: shared.stop.clone(),
            clients: shared.clients.clone(),
            _permit: permit,
        }
    }

    /// Waits for the next piece that has changed. Returns `None` when the service is stopped.
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

/// The stream of a tab: first all pieces, then those that have changed.
pub(super) async fn events(
    Params(RangeParameter { range }): Params<RangeParameter>,
    State(shared): State<Arc<SharedState>>,
) -> Response {
    let Ok(permit) = Arc::clone(&shared.client_permits).try_acquire_owned() else {
        return Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The number of connected tabs has reached dashboard.max_clients. Close some tabs, or raise the limit.",
        )
        .into_response();
    };
    Sse::new(pieces(Tab::connect(&shared, range, permit)))
        .keep_alive(KeepAlive::default())
        .into_response()
}

fn pieces(tab: Tab) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(tab, async |mut tab| {
        let event = tab.next().await?;
        Some((Ok(event), tab))
    })
}
