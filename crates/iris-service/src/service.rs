//! A running service: its stop signal, its health and its metrics.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use iris_core::{InvalidSetting, Section};
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::health::Health;
use crate::http::{self, Shown};
use crate::spans::Spans;
use crate::systemd::Notifier;
use crate::telemetry::{LogWriter, TelemetrySettings};

/// The settings `service.*`: how a service starts and stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServiceSettings {
    /// How long work in progress may take to end after SIGTERM or SIGINT, in milliseconds.
    pub shutdown_grace_ms: u64,
    /// Whether to wait for a broker at start; if not, the service exits with code 1 when none answers.
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

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("shutdown_grace_ms", self.shutdown_grace_ms)
    }
}

impl ServiceSettings {
    /// Returns how long work in progress may take to end.
    #[must_use]
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// A running service, shared with its parts.
#[derive(Clone, Debug)]
pub struct Service {
    /// The service's name.
    pub name: &'static str,
    /// The service's version.
    pub version: &'static str,
    /// Cancelled by SIGTERM or SIGINT: the service then finishes the work in progress and ends.
    pub stop: CancellationToken,
    /// Whether the service makes progress.
    pub health: Arc<Health>,
    /// Exports the spans of traced records.
    pub spans: Spans,
    registry: Arc<Mutex<Registry>>,
}

impl Service {
    /// Returns a service without signals, logs and endpoint, for tests.
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

    /// Starts logging, to `writer` if there is one, the endpoint if it has an address, and the handling of signals.
    ///
    /// # Errors
    /// If the endpoint cannot listen on its address, or signals cannot be handled.
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
            .register("build", "Name and version of the service", build);
        // Before the endpoint answers: from then on, a signal must not kill the process.
        let signals = Signals::listen()?;
        if !telemetry.http_addr.is_empty() {
            service.listen(&telemetry.http_addr).await?;
        }
        let notifier = Notifier::start(&service.health);
        tokio::spawn(signals.handle(service.stop.clone(), notifier));
        Ok(service)
    }

    /// Starts logging and the handling of signals for a command that exits when it has finished. It has no endpoint, so that it
    /// can run beside a service with the same settings.
    ///
    /// # Errors
    /// If signals cannot be handled.
    pub fn start_command(
        name: &'static str,
        telemetry: &TelemetrySettings,
    ) -> anyhow::Result<Self> {
        telemetry.start(None);
        let service = Self::detached(name);
        tokio::spawn(Signals::listen()?.handle(service.stop.clone(), None));
        Ok(service)
    }

    /// Starts the health and metrics endpoint.
    async fn listen(&self, address: &str) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("telemetry.http_addr: cannot listen on {address}"))?;
        let bound = listener.local_addr()?;
        info!("health and metrics at http://{bound}");
        let shown = Shown {
            health: Arc::clone(&self.health),
            registry: Arc::clone(&self.registry),
        };
        tokio::spawn(http::serve(listener, shown));
        Ok(())
    }

    /// Returns the registry of metrics, to register more.
    pub fn metrics(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock()
    }
}

/// The signals that stop a service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Stops the service at the first signal, and ends the process at the second.
    async fn handle(mut self, stop: CancellationToken, notifier: Option<Arc<Notifier>>) {
        let first = self.next().await;
        info!("{first}: finishing work in progress");
        if let Some(notifier) = notifier {
            notifier.stopping();
        }
        stop.cancel();
        let second = self.next().await;
        info!("{second} again: exiting immediately");
        std::process::exit(1);
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
