//! Apache Kafka and PostgreSQL as local processes, started by `deploy/local/local.sh`.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Signal, kill_process};

use crate::own_group::{self, Guard};
use crate::running::pid_of;
use crate::wait::eventually;
use crate::workspace::workspace;

/// How long a server may take to listen; the first start fetches it.
const START_TIMEOUT: Duration = Duration::from_secs(240);

/// How long a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A port that nobody uses just now, from below the range that outgoing connections take theirs from: so it is still
/// free when a server that was killed comes back.
///
/// # Errors
/// If none is found.
pub fn free_port() -> anyhow::Result<u16> {
    const TRIES: usize = 100;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (0..TRIES)
        .map(|_| fastrand::u16(10_000..32_000))
        .find(is_free)
        .context("no port is free")
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Apache Kafka.
    Kafka,
    /// PostgreSQL.
    Postgres,
}

impl Server {
    fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }
}

/// A server with its data in a folder. It is stopped when this value is dropped; its data stay.
#[derive(Debug)]
pub struct Local {
    server: Server,
    directory: PathBuf,
    port: u16,
    environment: Vec<(&'static str, String)>,
    child: Option<(Child, Guard)>,
}

impl Local {
    /// Starts a server on free ports, with its data below `directory`.
    ///
    /// # Errors
    /// If it does not listen in time; with the end of its log.
    pub fn start(server: Server, directory: &Path) -> anyhow::Result<Self> {
        let controller = ("KAFKA_CONTROLLER_PORT", free_port()?.to_string());
        let mut local = Self::new(server, directory, free_port()?, vec![controller]);
        local.resume()?;
        Ok(local)
    }

    /// A server that does not run yet, with more settings for the script.
    pub(crate) fn new(
        server: Server,
        directory: &Path,
        port: u16,
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        Self {
            server,
            directory: directory.to_owned(),
            port,
            environment,
            child: None,
        }
    }

    /// Starts it again, on the same ports and data.
    ///
    /// # Errors
    /// If it does not listen in time; with the end of its log.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.await_listening()
    }

    fn log(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.server.name()))
    }

    /// Starts the process without waiting for it.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(workspace().join("deploy/local/local.sh"));
        command
            .args(["run", self.server.name()])
            .env("LOCAL_DIR", &self.directory)
            .env("KAFKA_PORT", self.port.to_string())
            .env("POSTGRES_PORT", self.port.to_string())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = own_group::spawn(&mut command).context("cannot run deploy/local/local.sh")?;
        self.child = Some(started);
        Ok(())
    }

    pub(crate) fn await_listening(&mut self) -> anyhow::Result<()> {
        let (port, log) = (self.port, self.log());
        let (child, _) = self.child.as_mut().context("the server was not started")?;
        let listens = eventually(
            &format!("{} to listen on port {port}", self.server.name()),
            START_TIMEOUT,
            || {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(true);
                }
                matches!(child.try_wait(), Ok(Some(_))).then_some(false)
            },
        )?;
        if !listens {
            bail!(
                "{} did not start: {}",
                self.server.name(),
                fs::read_to_string(&log).unwrap_or_default()
            );
        }
        Ok(())
    }

    /// Sends its process a signal, if it runs.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match &self.child {
            Some((child, _)) => Ok(kill_process(pid_of(child)?, signal)?),
            None => Ok(()),
        }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it without notice.
    pub fn kill(&mut self) {
        if let Some((mut child, _guard)) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it in its own time.
    pub fn stop(&mut self) {
        let signal = match self.server {
            Server::Kafka => Signal::TERM,
            // PostgreSQL's fast shutdown.
            Server::Postgres => Signal::INT,
        };
        // A frozen process does not take the signal before it goes on.
        let _ = self.signal(signal).and_then(|()| self.signal(Signal::CONT));
        if let Some((mut child, _guard)) = self.child.take()
            && eventually("the server to stop", STOP_TIMEOUT, || {
                child.try_wait().ok().flatten()
            })
            .is_err()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Where PostgreSQL had to move to be run by another user, its data go with it.
        if let Ok(moved) = fs::read_to_string(self.directory.join("postgres/moved-to")) {
            let _ = fs::remove_dir_all(moved.trim());
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}
