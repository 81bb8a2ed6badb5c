//! The demo's services. Each is in a process group of its own, so that Ctrl-C reaches the demo alone, which stops them.

use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use iris_testkit::{Fixture, Running, StopRequest, eventually};
use rustix::process::Signal;

/// How long a step may take, in addition to the time that sending takes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// How often to check for failed services and for a stop while the services keep running.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The reason why the demo did not finish.
pub(crate) enum Ending {
    /// This signal requested a stop.
    Stopped(&'static str),
    /// A step failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Ending {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The running services.
pub(crate) struct Services<'a> {
    pub(crate) fixture: &'a Fixture,
    stop: StopRequest,
    /// The services that run until they are stopped, in the order in which they are stopped.
    running: Vec<Running>,
}

impl<'a> Services<'a> {
    /// Starts to listen for signals.
    pub(crate) fn new(fixture: &'a Fixture) -> anyhow::Result<Self> {
        Ok(Self {
            fixture,
            stop: StopRequest::listen()?,
            running: Vec::new(),
        })
    }

    /// Starts a service.
    pub(crate) fn start(&mut self, service: &str, args: &[&str]) -> anyhow::Result<()> {
        let command = self.fixture.command(service, args);
        self.running.push(Running::start(service, command, true)?);
        Ok(())
    }

    /// Runs a service that ends by itself. Stops it if another service fails or a stop is requested.
    pub(crate) fn run_to_end(
        &mut self,
        service: &str,
        args: &[&str],
        timeout: Duration,
    ) -> Result<(), Ending> {
        let command = self.fixture.command(service, args);
        let mut running = Running::start(service, command, true)?;
        let end = format!("{service} to end");
        let waited = eventually(&end, timeout, || {
            let checked = self.check();
            (checked.is_err() || !running.is_running()).then_some(checked)
        })?;
        if waited.is_err() && running.is_running() {
            running.signal(Signal::TERM)?;
        }
        let ended = running.finish(TIMEOUT);
        waited?;
        Ok(ended?)
    }

    /// Calls `poll` until it returns a value, a service ends or a stop is requested.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut poll: impl FnMut() -> Option<T>,
    ) -> Result<T, Ending> {
        eventually(what, TIMEOUT, || match self.check() {
            Ok(()) => poll().map(Ok),
            Err(ending) => Some(Err(ending)),
        })?
    }

    /// Waits until a stop is requested. Returns the signal.
    pub(crate) fn wait_for_stop(&mut self) -> anyhow::Result<&'static str> {
        loop {
            match self.check() {
                Ok(()) => thread::sleep(CHECK_INTERVAL),
                Err(Ending::Stopped(signal)) => return Ok(signal),
                Err(Ending::Failed(error)) => return Err(error),
            }
        }
    }

    /// Checks that no stop was requested and that every service runs.
    fn check(&mut self) -> Result<(), Ending> {
        if let Some(signal) = self.stop.signal() {
            return Err(Ending::Stopped(signal));
        }
        for service in &mut self.running {
            if !service.is_running() {
                let status = service.wait(TIMEOUT)?;
                return Err(Ending::Failed(anyhow!(
                    "{} exited too early with {status}; its last lines:\n{}",
                    service.name(),
                    service.last_lines()
                )));
            }
        }
        Ok(())
    }

    /// Stops each service, and waits until it has finished its work in progress.
    pub(crate) fn drain(&mut self) -> anyhow::Result<()> {
        let mut drained = Ok(());
        for mut service in self.running.drain(..) {
            let is_running = service.is_running();
            let ended = if is_running {
                service
                    .signal(Signal::TERM)
                    .and_then(|()| service.finish(TIMEOUT))
            } else {
                service.finish(TIMEOUT)
            };
            drained = drained.and(ended);
        }
        drained
    }
}
