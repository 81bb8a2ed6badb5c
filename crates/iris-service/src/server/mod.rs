//! Serves HTTP/1.1 with limits, so that clients that send or read slowly, or not at all, do not keep others from being served.
//!
//! The limits are on the time for the head of a request, for the response and for each write, on the size of a head, and on the
//! number of connections. A response that streams, such as server-sent events, may take any time as long as the client reads it.
//! The body of a request is not waited for: handlers that do not read it answer at once, and the connection is closed.

mod connection;
mod write_timeout;

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use connection::Connection;

/// How long open requests may take after a stop. Tests do not wait that long.
const STOP_GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// The pause after the process could not accept a connection, for example because it has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The files that are left for everything else: a dashboard has 74 open without a connection, and the endpoint of health and
/// metrics up to 64 more.
const RESERVED_FILES: u64 = 192;

/// The number of connections that are allowed in any case.
const MIN_CONNECTIONS: usize = 3;

/// Serves requests until `stop` is cancelled, then ends the open ones. If there are `max_connections`, a new one replaces the
/// oldest that waits for a request; if none waits, the new one is closed. If this process may open few files, there are fewer
/// connections.
pub async fn serve_http(
    listener: TcpListener,
    router: Router,
    max_connections: usize,
    stop: CancellationToken,
) {
    let mut connections = Connections {
        max: max_connections.min(open_files()).max(MIN_CONNECTIONS),
        router,
        stop: stop.clone(),
        tasks: JoinSet::new(),
        open: VecDeque::new(),
    };
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                is_failing = false;
                connections.add(stream).await;
            }
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                if !is_failing {
                    warn!("cannot accept a connection: {error}; retrying every second");
                }
                is_failing = true;
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let ended = async { while connections.tasks.join_next().await.is_some() {} };
    // Whatever is left ends with the set.
    let _ = time::timeout(STOP_GRACE, ended).await;
}

/// The open connections of a server.
struct Connections {
    max: usize,
    router: Router,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Oldest first.
    open: VecDeque<Connection>,
}

impl Connections {
    /// Serves a connection, if there is room for it.
    async fn add(&mut self, stream: TcpStream) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|connection| !connection.has_ended());
        if self.open.len() >= self.max {
            let waiting = self.open.iter().position(Connection::is_waiting);
            let Some(oldest) = waiting.and_then(|position| self.open.remove(position)) else {
                return;
            };
            oldest.close();
            // Its file stays open until its task has ended.
            self.tasks.join_next().await;
        }
        let (router, stop) = (self.router.clone(), self.stop.clone());
        let connection = Connection::start(stream, router, stop, &mut self.tasks);
        self.open.push_back(connection);
    }
}

/// Returns the number of connections for which this process may open files.
fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(RESERVED_FILES)).unwrap_or(usize::MAX)
}

/// Whether the client has ended a connection before it was accepted.
fn is_of_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests;
