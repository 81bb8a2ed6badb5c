//! Apache Kafka and PostgreSQL as local processes, started by `deploy/local/local.sh`.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::eventually;

/// How long a server may take to listen; the first start fetches it.
const START_TIMEOUT: Duration = Duration::from_secs(240);

/// How long a server may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A port that nobody listens on just now.
///
/// # Errors
/// If there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
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
    controller_port: u16,
    child: Option<Child>,
}

impl Local {
    /// Starts a server on free ports, with its data below `directory`.
    ///
    /// # Errors
    /// If it does not listen in time; with the end of its log.
    pub fn start(server: Server, directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.to_owned();
        let mut local = Self {
            server,
            directory,
            port: free_port()?,
            controller_port: free_port()?,
            child: None,
        };
        local.resume()?;
        Ok(local)
    }

    /// Starts it again, on the same ports and data.
    ///
    /// # Errors
    /// If it does not listen in time; with the end of its log.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let path = self.directory.join(format!("{}.log", self.server.name()));
        let log = File::create(&path)?;
        let child = Command::new(workspace().join("deploy/local/local.sh"))
            .args(["run", self.server.name()])
            .env("LOCAL_DIR", &self.directory)
            .env("KAFKA_PORT", self.port.to_string())
            .env("KAFKA_CONTROLLER_PORT", self.controller_port.to_string())
            .env("POSTGRES_PORT", self.port.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run deploy/local/local.sh")?;
        let child = self.child.insert(child);
        let port = self.port;
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
                fs::read_to_string(&path).unwrap_or_default()
            );
        }
        Ok(())
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it without notice.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
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
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
            if eventually("the server to stop", STOP_TIMEOUT, || {
                child.try_wait().ok().flatten()
            })
            .is_err()
            {
                let _ = child.kill();
                let _ = child.wait();
            }
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
