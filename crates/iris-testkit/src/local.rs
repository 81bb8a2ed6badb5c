//! Apache Kafka and PostgreSQL as local processes, started by `deploy/local/local.sh`.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Signal, kill_process};

use crate::own_group::{self, Guard};
use crate::running::pid_of;
use crate::wait::eventually;
use crate::workspace::workspace;

/// How long a server may take to listen; the first start downloads it.
const START_TIMEOUT: Duration = Duration::from_secs(240);

/// How long a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The ports that [`free_port`] returns. They are below the range of outgoing connections, so that one is still free when a
/// killed server restarts.
const PORTS: Range<u16> = 10_000..32_000;

/// Returns a free port that it has not returned before in this process: others may be free only because their server has not
/// started yet, or restarts.
///
/// # Errors
/// If no free port is found.
pub fn free_port() -> anyhow::Result<u16> {
    static OFFSET: LazyLock<AtomicUsize> =
        LazyLock::new(|| AtomicUsize::new(fastrand::usize(..PORTS.len())));
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    PORTS
        .map(|_| OFFSET.fetch_add(1, Ordering::Relaxed) % PORTS.len())
        .filter_map(|offset| PORTS.start.checked_add(u16::try_from(offset).ok()?))
        .find(is_free)
        .context("no port is free")
}

/// Runs one of Kafka's command line tools, such as `kafka-configs`, with its arguments. Returns its standard output.
///
/// # Errors
/// If the tool fails; with its output.
pub fn local_tool(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(workspace().join("deploy/local/local.sh"))
        .arg("tool")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot run deploy/local/local.sh")?;
    if !output.status.success() {
        bail!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The kinds of servers.
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

/// A server with its data in a directory. When this value is dropped, Kafka is killed, because its controlled shutdown takes
/// seconds per thousand partitions, and PostgreSQL is shut down; their data are kept.
#[derive(Debug)]
pub struct Local {
    server: Server,
    directory: PathBuf,
    port: u16,
    environment: Vec<(&'static str, String)>,
    child: Option<(Child, Guard)>,
}

impl Local {
    /// Starts a server on free ports with its data below `directory`.
    ///
    /// # Errors
    /// If the server does not listen in time; with its log.
    pub fn start(server: Server, directory: &Path) -> anyhow::Result<Self> {
        Self::start_in(server, directory, Vec::new())
    }

    /// Starts Apache Kafka as [`start`](Self::start) does, with more properties.
    ///
    /// # Errors
    /// If it does not listen in time; with its log.
    pub fn start_kafka(directory: &Path, properties: &str) -> anyhow::Result<Self> {
        let file = directory.join("more.properties");
        fs::create_dir_all(directory)?;
        fs::write(&file, properties)?;
        let properties = ("KAFKA_PROPERTIES", file.display().to_string());
        Self::start_in(Server::Kafka, directory, vec![properties])
    }

    fn start_in(
        server: Server,
        directory: &Path,
        mut environment: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        environment.push(("KAFKA_CONTROLLER_PORT", free_port()?.to_string()));
        let mut local = Self::new(server, directory, free_port()?, environment);
        local.resume()?;
        Ok(local)
    }

    /// Creates a server without starting it; `environment` has more settings for the script.
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

    /// Starts the server again, with the same port and data.
    ///
    /// # Errors
    /// If the server does not listen in time; with its log.
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

    /// Sends a signal to the process, if it runs.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match &self.child {
            Some((child, _)) => Ok(kill_process(pid_of(child)?, signal)?),
            None => Ok(()),
        }
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the process with SIGKILL. A single broker that was killed cannot be used until its session has ended, a minute by
    /// default after it was [resumed](Self::resume).
    pub fn kill(&mut self) {
        if let Some((mut child, _guard)) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Shuts the server down, and kills it if that takes too long.
    pub fn stop(&mut self) {
        let signal = match self.server {
            Server::Kafka => Signal::TERM,
            // PostgreSQL's fast shutdown.
            Server::Postgres => Signal::INT,
        };
        // A frozen process handles the signal only after it continues.
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
        // If PostgreSQL ran as another user, its data are in another directory.
        if let Ok(moved) = fs::read_to_string(self.directory.join("postgres/moved-to")) {
            let _ = fs::remove_dir_all(moved.trim());
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        match self.server {
            Server::Kafka => self.kill(),
            Server::Postgres => self.stop(),
        }
    }
}
