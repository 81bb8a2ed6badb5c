//! Obtains a broker: the one at `KAFKA_BOOTSTRAP`, or else Apache Kafka as a local process or in Docker, in the version
//! `KAFKA_VERSION`.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use iris_kafka::KafkaSettings;
use iris_kafka::startup::connect;
use tokio_util::sync::CancellationToken;

use crate::local::{Local, Server, free_port};
use crate::workspace::workspace;

const VARIABLE: &str = "KAFKA_BOOTSTRAP";
const IMAGE: &str = "apache/kafka";

/// A broker. It is stopped when this value is dropped, if it was started here.
#[derive(Debug)]
pub struct Broker {
    /// Its address.
    pub bootstrap_servers: String,
    /// A description for people.
    pub description: String,
    /// Whether it was started here, and so has no other topics.
    pub is_own: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Named,
    Local(#[allow(dead_code, reason = "stopped when it is dropped")] Local),
    Docker { container: String },
}

impl Broker {
    /// Returns the broker at `KAFKA_BOOTSTRAP`. If that is not set, starts one as a local process with its data below
    /// `directory`, or else in Docker.
    ///
    /// # Errors
    /// If none of the three is possible; the error names the requirements of each.
    pub fn obtain(directory: &Path) -> anyhow::Result<Self> {
        let broker = if let Some(bootstrap_servers) = named() {
            let description = format!("the broker named by {VARIABLE}, {bootstrap_servers}");
            Self {
                bootstrap_servers,
                description,
                is_own: false,
                kind: Kind::Named,
            }
        } else if Self::can_be_local() {
            let local = Local::start(Server::Kafka, directory)?;
            let bootstrap_servers = format!("localhost:{}", local.port());
            let version = kafka_version()?;
            let description =
                format!("Apache Kafka {version} as a local process, {bootstrap_servers}");
            Self {
                bootstrap_servers,
                description,
                is_own: true,
                kind: Kind::Local(local),
            }
        } else if runs("docker", &["info"]) {
            Self::in_docker()?
        } else {
            bail!(
                "no broker: set {VARIABLE} to the address of one; or install a JDK (17 or later) and Maven, to run Apache \
                 Kafka as a local process; or start a Docker engine, to run {IMAGE}"
            );
        };
        broker.await_answer()?;
        Ok(broker)
    }

    /// Returns whether brokers can run as local processes.
    #[must_use]
    pub fn can_be_local() -> bool {
        has("java") && has("mvn")
    }

    /// Returns whether `KAFKA_BOOTSTRAP` is set.
    pub(crate) fn is_named() -> bool {
        named().is_some()
    }

    /// Returns the settings of connections to it.
    #[must_use]
    pub fn settings(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: self.bootstrap_servers.clone(),
            ..KafkaSettings::default()
        }
    }

    fn in_docker() -> anyhow::Result<Self> {
        let image = format!("{IMAGE}:{}", kafka_version()?);
        let port = free_port()?;
        let config = format!(
            "{}:/mnt/shared/config:ro",
            workspace()
                .join("deploy/docker/kafka")
                .canonicalize()?
                .display()
        );
        let listeners = format!(
            "KAFKA_ADVERTISED_LISTENERS=INTERNAL://localhost:19092,HOST://localhost:{port}"
        );
        let mut command = Command::new("docker");
        command.args([
            "run",
            "--detach",
            "--rm",
            "--publish",
            &format!("127.0.0.1:{port}:9092"),
        ]);
        command.args(["--volume", &config, "--env", &listeners, &image]);
        let started = command.output().context("cannot run docker")?;
        if !started.status.success() {
            bail!(
                "{image} did not start: {}",
                String::from_utf8_lossy(&started.stderr)
            );
        }
        let container = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        let bootstrap_servers = format!("localhost:{port}");
        let description = format!("{image} in Docker, {bootstrap_servers}");
        Ok(Self {
            bootstrap_servers,
            description,
            is_own: true,
            kind: Kind::Docker { container },
        })
    }

    fn await_answer(&self) -> anyhow::Result<()> {
        let settings = self.settings();
        // A broker started here may need a moment; a named one must be running.
        let never = CancellationToken::new();
        let found = connect(
            &settings,
            "iris-testkit",
            self.is_own,
            &never,
            &mut |_| (),
            &[],
        )?;
        found.map(|_| ()).context("the broker does not answer")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Kind::Docker { container } = &self.kind {
            let _ = Command::new("docker")
                .args(["stop", container])
                .stdout(Stdio::null())
                .status();
        }
    }
}

/// Returns the address in `KAFKA_BOOTSTRAP`.
fn named() -> Option<String> {
    env::var(VARIABLE)
        .ok()
        .filter(|servers| !servers.is_empty())
}

/// Returns the version of the brokers that are started: the one in `KAFKA_VERSION`, or else the default.
///
/// # Errors
/// If the version is unknown; the error lists those that are known.
fn kafka_version() -> anyhow::Result<String> {
    let output = Command::new(workspace().join("deploy/local/local.sh"))
        .arg("version")
        .output()
        .context("cannot run deploy/local/local.sh")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{}", error.trim().trim_start_matches("error: ").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn has(program: &str) -> bool {
    runs(program, &["-version"])
}

fn runs(program: &str, args: &[&str]) -> bool {
    let run = Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}
