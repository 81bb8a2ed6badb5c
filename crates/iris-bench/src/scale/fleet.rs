//! Processes that work together, each with an endpoint for health and metrics.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use iris_testkit::{Fixture, free_port, get};

use super::exposition::Exposition;
use crate::process::MeasuredProcess;

/// How long the processes may take until all are ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// The variable with the address of a service's endpoint.
const ENDPOINT: &str = "IRIS__TELEMETRY__HTTP_ADDR";

/// Processes that work together. They are killed when this value is dropped.
#[derive(Debug)]
pub struct Fleet(Vec<(MeasuredProcess, u16)>);

impl Fleet {
    /// Starts processes with a command for each, which gets the address of its endpoint in the environment. `name` is that of
    /// their output files in `directory`.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn start(
        name: &str,
        commands: impl IntoIterator<Item = Command>,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let start = |(number, mut command): (usize, Command)| {
            let port = free_port()?;
            command.env(ENDPOINT, format!("127.0.0.1:{port}"));
            let process = MeasuredProcess::start(&format!("{name}-{number}"), command, directory)?;
            Ok((process, port))
        };
        let started: anyhow::Result<Vec<_>> = commands.into_iter().enumerate().map(start).collect();
        started.map(Self)
    }

    /// Starts classifiers with a fixture's settings.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn classifiers(fixture: &Fixture, processes: usize) -> anyhow::Result<Self> {
        let command = |_| fixture.command("iris-classifier", &[]);
        Self::start("run", (0..processes).map(command), fixture.directory())
    }

    /// Waits until all processes report that they are ready.
    ///
    /// # Errors
    /// If one ends, or is not ready in time; with its health.
    pub fn await_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        for (process, port) in &mut self.0 {
            loop {
                let health = get(*port, "/readyz");
                if matches!(health, Some((200, _))) {
                    break;
                }
                if let Some(status) = process.ended()? {
                    bail!("a process exited with {status} before it was ready");
                }
                if Instant::now() >= deadline {
                    let body = health.map_or_else(|| "no answer".to_owned(), |(_, body)| body);
                    let first: String = body.lines().take(3).collect::<Vec<_>>().join("; ");
                    bail!("a process is not ready after {READY_TIMEOUT:?}: {first}");
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// Returns the metrics of all processes.
    ///
    /// # Errors
    /// If one does not answer.
    pub fn metrics(&self) -> anyhow::Result<Exposition> {
        let mut exposition = Exposition::default();
        for (_, port) in &self.0 {
            let (_, text) = get(*port, "/metrics").context("a process does not serve metrics")?;
            exposition.add(&text);
        }
        Ok(exposition)
    }

    /// Returns the processor time that all processes have used, in seconds.
    pub fn cpu_seconds(&mut self) -> f64 {
        let processes = self.0.iter_mut();
        processes
            .map(|(process, _)| process.usage().cpu_seconds)
            .sum()
    }

    /// Returns the sum of the processes' peak resident memory, in bytes.
    pub fn peak_bytes(&mut self) -> u64 {
        let processes = self.0.iter_mut();
        processes
            .map(|(process, _)| process.usage().peak_rss_bytes)
            .sum()
    }

    /// Returns the sum of the processes' resident memory, in bytes.
    ///
    /// # Errors
    /// If one has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        let processes = self.0.iter();
        processes.map(|(process, _)| process.resident_bytes()).sum()
    }

    /// Fails if a process has ended.
    ///
    /// # Errors
    /// With its exit status.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for (process, _) in &mut self.0 {
            if let Some(status) = process.ended()? {
                bail!("a process exited with {status}");
            }
        }
        Ok(())
    }

    /// Stops all processes at the same time.
    ///
    /// # Errors
    /// If one does not exit in time.
    pub fn terminate(mut self) -> anyhow::Result<()> {
        for (process, _) in &self.0 {
            process.request_end()?;
        }
        for (process, _) in &mut self.0 {
            process.await_end()?;
        }
        Ok(())
    }
}
