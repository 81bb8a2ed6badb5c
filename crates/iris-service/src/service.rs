//! A running service: its stop signal, its health, its metrics, and the threads that do its work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use iris_core::{ImpossibleSetting, Section};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::health::Health;
use crate::http::{self, Shown};
use crate::spans::Spans;
use crate::systemd::Notifier;
use crate::telemetry::{LogWriter, TelemetrySettings};

/// How a service starts and stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// How long work in progress may take to end after SIGTERM or SIGINT, in milliseconds.
    pub shutdown_grace_ms: u64,
    /// Whether to wait for a broker at start, or to exit with code 1 if none answers.
    pub wait_for_broker: bool,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            shutdown_grace_ms: 10_000,
            wait_for_broker: true,
        }
    }
}

impl Section for ServiceSettings {
    const NAME: &'static str = "service";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        ImpossibleSetting::if_zero("shutdown_grace_ms", self.shutdown_grace_ms)
    }
}

impl ServiceSettings {
    /// How long work in progress may take to end.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// What a running service shares with its parts.
#[derive(Clone, Debug)]
pub struct Service {
    /// The service's name.
    pub name: &'static str,
    /// The service's version.
    pub version: &'static str,
    /// Cancelled by SIGTERM or SIGINT: finish what is in progress and end.
    pub stop: CancellationToken,
    /// Whether the service makes progress.
    pub health: Arc<Health>,
    /// Where the spans of traced records go.
    pub spans: Spans,
    registry: Arc<Mutex<Registry>>,
}

impl Service {
    /// A service that no signal stops and that nothing is told about: for tests.
    #[must_use]
    pub fn detached(name: &'static str) -> Self {
        let health = Arc::<Health>::default();
        let mut registry = Registry::with_prefix("iris");
        registry.register_collector(Box::new(Arc::clone(&health)));
        Self {
            name,
            version: env!("CARGO_PKG_VERSION"),
            stop: CancellationToken::new(),
            health,
            spans: Spans::default(),
            registry: Arc::new(Mutex::new(registry)),
        }
    }

    /// Starts logging, to `writer` if there is one, the endpoint if it has an address, and heeding signals.
    ///
    /// # Errors
    /// If the endpoint's address cannot be listened on, or signals cannot be heeded.
    pub async fn start(
        name: &'static str,
        telemetry: &TelemetrySettings,
        writer: Option<LogWriter>,
    ) -> anyhow::Result<Self> {
        telemetry.start(writer);
        let mut service = Self::detached(name);
        service.spans = Spans::start(telemetry, name, service.version)?;
        let build = Info::new(vec![("service", name), ("version", service.version)]);
        service
            .metrics()
            .register("build", "The running build", build);
        if !telemetry.http_addr.is_empty() {
            let listener = TcpListener::bind(&telemetry.http_addr)
                .await
                .with_context(|| {
                    format!(
                        "telemetry.http_addr: cannot listen on {}",
                        telemetry.http_addr
                    )
                })?;
            let address = listener.local_addr()?;
            info!("health and metrics at http://{address}");
            let shown = Shown {
                health: Arc::clone(&service.health),
                registry: Arc::clone(&service.registry),
            };
            tokio::spawn(http::serve(listener, shown));
        }
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let notifier = Notifier::start(&service.health);
        let stop = service.stop.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let first = next().await;
            info!("{first}: finishing what is in progress");
            if let Some(notifier) = notifier {
                notifier.stopping();
            }
            stop.cancel();
            let second = next().await;
            info!("{second} again: ending at once");
            std::process::exit(1);
        });
        Ok(service)
    }

    /// The registry of metrics, to register more.
    pub fn metrics(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often it is looked whether a part hangs.
const HANG_INTERVAL: Duration = Duration::from_secs(1);

/// Work for a thread of its own, under a name.
pub type Work<T> = Box<dyn FnOnce() -> anyhow::Result<T> + Send>;

/// Runs each piece of work on a thread of its own, and waits for all of them.
///
/// When one fails, the service is stopped for the others. After a stop all have `grace` to end. A part that hangs, as in
/// a call of a library that never returns, is an end, too: a new process does better than this one, and whatever the
/// process was about to do, it does not do twice.
///
/// # Errors
/// The first failure; that the work did not end in time; or which part hangs.
pub async fn supervise<T: Send + 'static>(
    work: Vec<(String, Work<T>)>,
    service: &Service,
    grace: Duration,
) -> anyhow::Result<Vec<T>> {
    let stop = &service.stop;
    let mut ends = Vec::new();
    for (name, work) in work {
        let (end, ended) = oneshot::channel();
        let stop = stop.clone();
        let thread = thread::Builder::new().name(name.clone());
        thread.spawn(move || {
            let result = work();
            if let Err(error) = &result {
                debug!("{error:#}");
                stop.cancel();
            }
            // Nobody is waiting any more only if time ran out.
            let _ = end.send(result);
        })?;
        ends.push((name, ended));
    }
    let all = async {
        let mut results = Vec::new();
        for (name, ended) in ends {
            // The sender is dropped without sending only by a panic.
            results.push(
                ended
                    .await
                    .unwrap_or_else(|_| Err(anyhow!("{name} panicked"))),
            );
        }
        results.into_iter().collect()
    };
    let out_of_time = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    let hangs = async {
        loop {
            tokio::time::sleep(HANG_INTERVAL).await;
            if let Some(part) = service.health.hanging() {
                break part;
            }
        }
    };
    tokio::select! {
        results = all => results,
        part = hangs => Err(anyhow!("{part} hangs: the process has to be started anew")),
        () = out_of_time => Err(anyhow!("work in progress did not end within {} ms", grace.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(work: impl FnOnce() -> anyhow::Result<u8> + Send + 'static) -> (String, Work<u8>) {
        ("test".to_owned(), Box::new(work))
    }

    #[tokio::test]
    async fn one_failure_stops_the_others_and_is_the_result() {
        let service = Service::detached("test");
        let others = service.stop.clone();
        let waits = move || {
            while !others.is_cancelled() {
                thread::yield_now();
            }
            Ok(1)
        };
        let result = supervise(
            vec![work(waits), work(|| Err(anyhow!("broken")))],
            &service,
            Duration::from_secs(60),
        )
        .await;
        assert_eq!(result.unwrap_err().to_string(), "broken");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure() {
        let result = supervise(
            vec![work(|| panic!("on purpose"))],
            &Service::detached("test"),
            Duration::from_secs(60),
        )
        .await;
        assert_eq!(result.unwrap_err().to_string(), "test panicked");
    }

    #[tokio::test]
    async fn work_that_does_not_end_in_time_is_given_up() {
        let service = Service::detached("test");
        service.stop.cancel();
        let (never, end) = std::sync::mpsc::channel::<()>();
        let stuck = work(move || Ok(end.recv().map_or(0, |()| 1)));
        let result = supervise(vec![stuck], &service, Duration::from_millis(5)).await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "work in progress did not end within 5 ms"
        );
        drop(never);
    }
}
