//! One connection of a server.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::write_timeout::WriteTimeout;

/// How long a client may take to send the head of a request, and how long a connection waits for the next request.
/// Tests do not wait that long.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// The length of a head, in bytes, at most.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long a handler may take to begin its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that a task serves.
pub(super) struct Connection {
    /// Whether a request is being answered.
    is_busy: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Connection {
    /// Serves a connection on a new task of `tasks`.
    pub(super) fn start(
        stream: TcpStream,
        router: Router,
        stop: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let is_busy = Arc::<AtomicBool>::default();
        let task = tasks.spawn(serve(stream, router, stop, Arc::clone(&is_busy)));
        Self { is_busy, task }
    }

    /// Whether the connection has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Whether the connection waits for a request or the rest of one.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_busy.load(Ordering::Relaxed)
    }

    /// Closes the connection.
    pub(super) fn close(self) {
        self.task.abort();
    }
}

/// Answers the requests of a connection until it ends, or until the answer after a stop.
async fn serve(
    stream: TcpStream,
    router: Router,
    stop: CancellationToken,
    is_busy: Arc<AtomicBool>,
) {
    // Small writes are sent at once. Without it, events are late by one round trip.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        answer(router.call(request), Arc::clone(&is_busy))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream)), service);
    let mut connection = pin!(connection);
    // An error concerns this client only.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Waits for a response, and marks the connection as busy until a response that does not stream.
async fn answer(
    response: impl Future<Output = Result<Response, Infallible>>,
    is_busy: Arc<AtomicBool>,
) -> Result<Response, Infallible> {
    is_busy.store(true, Ordering::Relaxed);
    let Ok(response) = time::timeout(RESPONSE_TIMEOUT, response).await else {
        is_busy.store(false, Ordering::Relaxed);
        let text = "The request took too long.\n";
        return Ok((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
    };
    let response = response?;
    if response.body().size_hint().exact().is_some() {
        is_busy.store(false, Ordering::Relaxed);
    }
    Ok(response)
}
