//! What a test needs: topics and settings of its own, the services' binaries, and a look at what they wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use fastrand::Rng;
use iris_contract::Topics;
use iris_kafka::{
    Admin, Delivery, DeliveryListener, Headers, KafkaSettings, OutgoingRecord, Producer,
    StoredRecord, TopicSpec, read_to_end,
};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;

use crate::local::workspace;
use crate::running::Running;
use crate::wait::eventually;

/// The environment variable with the URL of a PostgreSQL for tests.
pub const POSTGRES_VARIABLE: &str = "IRIS_TEST_POSTGRES";

/// The environment variable with the seed of a test's random numbers, to repeat a run.
const SEED_VARIABLE: &str = "IRIS_TEST_SEED";

/// How long reading a topic to its end may take.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder, a settings file and topics that no other test has.
#[derive(Debug)]
pub struct Fixture {
    directory: TempDir,
    /// How to reach the broker.
    pub kafka: KafkaSettings,
    /// The names of the topics.
    pub topics: Topics,
    name: String,
}

/// A binary's run that has ended.
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
    /// A fixture for the broker named by `KAFKA_BOOTSTRAP`.
    ///
    /// # Errors
    /// If none is named: `make test` names one.
    pub fn new() -> anyhow::Result<Self> {
        let bootstrap_servers = std::env::var("KAFKA_BOOTSTRAP")
            .context("KAFKA_BOOTSTRAP names no broker: run the tests with `make test`")?;
        Self::for_broker(&bootstrap_servers)
    }

    /// A fixture for a broker, whether it answers or not.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn for_broker(bootstrap_servers: &str) -> anyhow::Result<Self> {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_millis();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{since_epoch}-{}-{number}", std::process::id());
        let topics = Topics {
            input: format!("{name}-input"),
            feedback: format!("{name}-feedback"),
            predictions: format!("{name}-predictions"),
            dead_letters: format!("{name}-dead-letters"),
            models: format!("{name}-models"),
            labels: format!("{name}-labels"),
            trainer_state: format!("{name}-trainer"),
            summaries: format!("{name}-summaries"),
            ..Topics::default()
        };
        let kafka = KafkaSettings {
            bootstrap_servers: bootstrap_servers.to_owned(),
            ..KafkaSettings::default()
        };
        let fixture = Self {
            directory: tempfile::tempdir()?,
            kafka,
            topics,
            name,
        };
        fixture.set("")?;
        Ok(fixture)
    }

    /// Writes the settings file: the broker, the topics, a group of its own, and what else is given as TOML.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn set(&self, more: &str) -> anyhow::Result<()> {
        let Topics {
            input,
            feedback,
            predictions,
            dead_letters,
            models,
            labels,
            trainer_state,
            summaries,
            ..
        } = &self.topics;
        let settings = format!(
            "[kafka]\nbootstrap_servers = \"{}\"\n\n[topics]\ninput = \"{input}\"\nfeedback = \"{feedback}\"\n\
             predictions = \"{predictions}\"\ndead_letters = \"{dead_letters}\"\nmodels = \"{models}\"\nlabels = \"{labels}\"\n\
             trainer_state = \"{trainer_state}\"\nsummaries = \"{summaries}\"\n\n{more}\n",
            self.kafka.bootstrap_servers
        );
        fs::write(self.settings_file(), settings).context("writing the settings file")
    }

    fn settings_file(&self) -> PathBuf {
        self.directory.path().join("iris.toml")
    }

    /// The fixture's folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A name that no other test uses.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Random numbers for a test, from the seed that `IRIS_TEST_SEED` names or else a new one, which is printed.
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
        println!("{SEED_VARIABLE}={seed} draws the same random numbers again");
        Ok(Rng::with_seed(seed))
    }

    /// The URL of a SQLite file in the fixture's folder.
    #[must_use]
    pub fn sqlite(&self) -> String {
        format!(
            "sqlite://{}",
            self.directory.path().join("feedback.db").display()
        )
    }

    /// The consumer group of the fixture's classifiers.
    #[must_use]
    pub fn classifier_group(&self) -> String {
        format!("{}-classifier", self.name)
    }

    /// Makes an empty database for this test on the PostgreSQL named by `IRIS_TEST_POSTGRES`. Returns its URL.
    ///
    /// # Errors
    /// If none is named: `make test` names one. If it cannot be made.
    pub fn postgres(&self) -> anyhow::Result<String> {
        let server = std::env::var(POSTGRES_VARIABLE)
            .context("IRIS_TEST_POSTGRES names no PostgreSQL: run the tests with `make test`")?;
        create_database(&server, &self.name.replace('-', "_"))
    }

    /// Creates the topics.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn create_topics(&self) -> anyhow::Result<()> {
        self.create(&iris_admin::topic_specs(&self.topics))
    }

    /// Creates topics as they are specified.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn create(&self, specs: &[TopicSpec]) -> anyhow::Result<()> {
        let admin = Admin::new(&self.kafka, "iris-testkit")?;
        runtime()?.block_on(admin.create(specs, false))?;
        Ok(())
    }

    /// Deletes the topics, by another way to the cluster.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn delete_topics(&self, kafka: &KafkaSettings) -> anyhow::Result<()> {
        let names: Vec<&str> = self.topics.names().map(|(_, name)| name).to_vec();
        let admin = Admin::new(kafka, "iris-testkit")?;
        runtime()?.block_on(admin.delete(&names))?;
        Ok(())
    }

    /// A command that runs a service with the fixture's settings, in the workspace's folder.
    #[must_use]
    pub fn command(&self, service: &str, args: &[&str]) -> Command {
        let mut command = Command::new(binary(service));
        command
            .args(args)
            .arg("--config")
            .arg(self.settings_file())
            .current_dir(workspace());
        command
            .env_remove("IRIS_CONFIG")
            .env("IRIS__CLASSIFIER__GROUP_ID", self.classifier_group());
        command.env(
            "IRIS__FEEDBACK_SINK__GROUP_ID",
            format!("{}-sink", self.name),
        );
        command
    }

    /// Runs a service to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, service: &str, args: &[&str]) -> anyhow::Result<Ended> {
        let output = self
            .command(service, args)
            .stdin(Stdio::null())
            .output()
            .context("make test builds the binaries")?;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts a service.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self, service: &str, args: &[&str]) -> anyhow::Result<Running> {
        Running::start(service, self.command(service, args), false)
    }

    /// The committed records of a topic.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn records(&self, topic: &str) -> anyhow::Result<Vec<StoredRecord>> {
        self.records_from(&self.kafka, topic)
    }

    /// The committed records of a topic, by another way to the cluster.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn records_from(
        &self,
        kafka: &KafkaSettings,
        topic: &str,
    ) -> anyhow::Result<Vec<StoredRecord>> {
        Ok(read_to_end(kafka, topic, &mut |_| ())?)
    }

    /// Appends values, all with the same key and headers, to one partition of a topic.
    ///
    /// # Errors
    /// If one is not delivered.
    pub fn produce(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        values: &[Option<&[u8]>],
        headers: &Headers,
    ) -> anyhow::Result<()> {
        let producer = Producer::start(&self.kafka, "iris-testkit", MustDeliver)?;
        for &value in values {
            let record = || OutgoingRecord {
                topic,
                partition: Some(partition),
                timestamp: None,
                key,
                value,
                headers: headers.clone(),
            };
            while !producer.try_send(record())? {
                producer.wait_for_room();
            }
        }
        match producer.wait(READ_TIMEOUT) {
            0 => Ok(()),
            waiting => bail!("{waiting} records are not delivered"),
        }
    }
}

/// Makes an empty database on a PostgreSQL. Returns its URL.
///
/// # Errors
/// If it cannot be made.
pub fn create_database(server: &str, name: &str) -> anyhow::Result<String> {
    sqlx::any::install_default_drivers();
    let runtime = runtime()?;
    // A server listens before it answers.
    let mut admin = eventually("the database server to answer", READ_TIMEOUT, || {
        runtime.block_on(AnyConnection::connect(server)).ok()
    })?;
    runtime.block_on(async {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        admin.execute(create).await.context("creating a database")
    })?;
    let (address, _) = server
        .rsplit_once('/')
        .context("the URL names no database")?;
    Ok(format!("{address}/{name}"))
}

/// A runtime for what is awaited on the spot.
///
/// # Errors
/// If the system refuses one.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Deliveries that fail would show as records missing later; the client retries until they succeed.
pub(crate) struct MustDeliver;

impl DeliveryListener for MustDeliver {
    fn delivered(&self, _: Delivery<'_>) {}
}

/// A dataset that the workspace ships.
#[must_use]
pub fn dataset(name: &str) -> PathBuf {
    workspace().join("data").join(name)
}

/// The path of a service's binary: beside the running one, where cargo puts all of them.
#[must_use]
pub fn binary(service: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let folder = here
        .ancestors()
        .skip(1)
        .find(|folder| folder.join(service).is_file());
    folder.map_or_else(|| PathBuf::from(service), |folder| folder.join(service))
}
