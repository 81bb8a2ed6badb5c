//! A test's own topics, settings and directory, and the services' binaries run with them.

mod outcomes;
mod topics;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use anyhow::Context;
use fastrand::Rng;
use iris_contract::Topics;
use iris_kafka::KafkaSettings;
use tempfile::TempDir;

use crate::database::{POSTGRES_VARIABLE, create_database};
use crate::local::free_port;
use crate::running::Running;
use crate::workspace::{binary, workspace};

/// The environment variable with the seed of a test's random numbers, to repeat a run.
const SEED_VARIABLE: &str = "IRIS_TEST_SEED";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory, a settings file and topics that no other test uses.
#[derive(Debug)]
pub struct Fixture {
    directory: TempDir,
    /// The settings of connections to the broker.
    pub kafka: KafkaSettings,
    /// The names of the topics.
    pub topics: Topics,
    name: String,
}

/// The exit code and the output of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Fixture {
    /// Creates a fixture for the broker at `KAFKA_BOOTSTRAP`, which `make test` sets.
    ///
    /// # Errors
    /// If the variable is not set.
    pub fn new() -> anyhow::Result<Self> {
        let bootstrap_servers = std::env::var("KAFKA_BOOTSTRAP")
            .context("KAFKA_BOOTSTRAP is not set: run the tests with `make test`")?;
        Self::for_broker(&bootstrap_servers)
    }

    /// Creates a fixture for a broker, without connecting to it.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn for_broker(bootstrap_servers: &str) -> anyhow::Result<Self> {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_millis();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{since_epoch}-{}-{number}", std::process::id());
        let kafka = KafkaSettings {
            bootstrap_servers: bootstrap_servers.to_owned(),
            ..KafkaSettings::default()
        };
        let fixture = Self {
            directory: tempfile::tempdir()?,
            kafka,
            topics: topics(&name),
            name,
        };
        fixture.set("")?;
        Ok(fixture)
    }

    /// Writes the settings file: the broker, the topics, and `more` in TOML.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set(&self, more: &str) -> anyhow::Result<()> {
        let names = self.topics.names();
        let topics: String = names
            .iter()
            .map(|(key, name)| format!("{key} = \"{name}\"\n"))
            .collect();
        let settings = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n\n[topics]\n{topics}\n{more}\n",
            self.kafka.bootstrap_servers
        );
        fs::write(self.settings_file(), settings).context("writing the settings file")
    }

    /// As [`set`](Self::set), and gives the service an endpoint for health and metrics. Returns its port.
    ///
    /// # Errors
    /// If no port is free, or the file cannot be written.
    pub fn set_with_endpoint(&self, more: &str) -> anyhow::Result<u16> {
        let port = free_port()?;
        let telemetry = format!("[telemetry]\nhttp_addr = \"127.0.0.1:{port}\"\n");
        self.set(&format!("{telemetry}{more}"))?;
        Ok(port)
    }

    fn settings_file(&self) -> PathBuf {
        self.directory.path().join("iris.toml")
    }

    /// Returns the fixture's directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a name that no other test uses.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a random number generator. Its seed is `IRIS_TEST_SEED`, or a new one, which is printed.
    ///
    /// # Errors
    /// If `IRIS_TEST_SEED` is not a number.
    pub fn random(&self) -> anyhow::Result<Rng> {
        let seed = match std::env::var(SEED_VARIABLE) {
            Ok(text) => text
                .parse()
                .with_context(|| format!("{SEED_VARIABLE} is `{text}`: allowed is a number"))?,
            Err(_) => fastrand::u64(..),
        };
        println!("to repeat this run: {SEED_VARIABLE}={seed}");
        Ok(Rng::with_seed(seed))
    }

    /// Returns the URL of a SQLite file in the fixture's directory.
    #[must_use]
    pub fn sqlite(&self) -> String {
        format!(
            "sqlite://{}",
            self.directory.path().join("feedback.db").display()
        )
    }

    /// Creates an empty database for this test on the PostgreSQL at `IRIS_TEST_POSTGRES`, which `make test` sets. Returns its
    /// URL.
    ///
    /// # Errors
    /// If the variable is not set or the server refuses.
    pub fn postgres(&self) -> anyhow::Result<String> {
        let server = std::env::var(POSTGRES_VARIABLE)
            .context("IRIS_TEST_POSTGRES is not set: run the tests with `make test`")?;
        create_database(&server, &self.name.replace('-', "_"))
    }

    /// Returns the consumer group of the fixture's classifiers.
    #[must_use]
    pub fn classifier_group(&self) -> String {
        format!("{}-classifier", self.name)
    }

    /// Returns a command that runs a service with the fixture's settings in the workspace's directory.
    #[must_use]
    pub fn command(&self, service: &str, args: &[&str]) -> Command {
        let sink_group = format!("{}-sink", self.name);
        let mut command = Command::new(binary(service));
        command
            .args(args)
            .arg("--config")
            .arg(self.settings_file())
            .current_dir(workspace())
            .env_remove("IRIS_CONFIG")
            .env("IRIS__CLASSIFIER__GROUP_ID", self.classifier_group())
            .env("IRIS__FEEDBACK_SINK__GROUP_ID", sink_group);
        command
    }

    /// Runs a service until it ends.
    ///
    /// # Errors
    /// If the service cannot be started.
    pub fn run(&self, service: &str, args: &[&str]) -> anyhow::Result<Ended> {
        let output = self
            .command(service, args)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {service}; `make test` builds it"))?;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts a service.
    ///
    /// # Errors
    /// If the service cannot be started.
    pub fn start(&self, service: &str, args: &[&str]) -> anyhow::Result<Running> {
        Running::start(service, self.command(service, args), false)
    }
}

/// Returns topics whose names begin with `prefix`.
fn topics(prefix: &str) -> Topics {
    Topics {
        input: format!("{prefix}-input"),
        feedback: format!("{prefix}-feedback"),
        predictions: format!("{prefix}-predictions"),
        dead_letters: format!("{prefix}-dead-letters"),
        models: format!("{prefix}-models"),
        labels: format!("{prefix}-labels"),
        trainer_state: format!("{prefix}-trainer"),
        summaries: format!("{prefix}-summaries"),
        ..Topics::default()
    }
}
