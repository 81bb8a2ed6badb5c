//! The environment of the contenders: brokers, the backlog that they read, and topics for each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use iris_core::{Dataset, ModelSettings, Schema, split};
use iris_kafka::limits::produce;
use iris_kafka::{Admin, Headers, KafkaSettings, TopicSpec};
use iris_testkit::{BROKERS, Broker, Cluster, Fixture, dataset, runtime};

/// The name under which brokers log the benchmark's own clients.
pub const NAME: &str = "iris-bench";

/// The partitions of every topic.
pub const PARTITIONS: i32 = 5;

/// How long to wait after a deletion until the topics' files are removed.
const SETTLE: Duration = Duration::from_millis(500);

/// The environment of the contenders.
#[derive(Debug)]
pub struct Testbed {
    brokers: Brokers,
    kafka: KafkaSettings,
    description: String,
    /// The number of replicas of each partition.
    pub replication_factor: i32,
    /// The directory for all files.
    pub directory: PathBuf,
    /// The values of the backlog's records, which are repeated.
    pub values: Vec<Vec<u8>>,
    /// The CSV file with the rows that models are fitted to.
    pub training_csv: PathBuf,
}

/// The brokers, which are stopped with the testbed.
#[derive(Debug)]
enum Brokers {
    One(#[allow(dead_code, reason = "stopped when it is dropped")] Broker),
    Three(#[allow(dead_code, reason = "stopped when it is dropped")] Cluster),
}

/// A topic full of records.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// The topic's name.
    pub topic: String,
    /// The number of records.
    pub records: u64,
}

impl Testbed {
    /// Finds or starts a broker, with its data below `directory`.
    ///
    /// # Errors
    /// If there is no broker.
    pub fn prepare(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let broker = Broker::obtain(&directory.join("broker"))?;
        let (kafka, description) = (broker.settings(), broker.description.clone());
        Self::on(directory, Brokers::One(broker), kafka, description, 1)
    }

    /// Starts three brokers with their data below `directory`. Each partition has three replicas, two of which must be in sync.
    ///
    /// # Errors
    /// If a broker does not start.
    pub fn prepare_cluster(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let cluster = Cluster::start(&directory.join("cluster"))?;
        let kafka = cluster.inside();
        let description = format!("{BROKERS} brokers as local processes");
        let replicas = i32::try_from(BROKERS)?;
        Self::on(
            directory,
            Brokers::Three(cluster),
            kafka,
            description,
            replicas,
        )
    }

    fn on(
        directory: &Path,
        brokers: Brokers,
        kafka: KafkaSettings,
        description: String,
        replication_factor: i32,
    ) -> anyhow::Result<Self> {
        let csv = fs::read(dataset("iris.csv"))?;
        let rows = Dataset::parse(&csv, &Schema::default())?;
        let training_csv = directory.join("train.csv");
        fs::write(&training_csv, training_rows(&csv, rows.len())?)?;
        Ok(Self {
            brokers,
            kafka,
            description,
            replication_factor,
            directory: directory.to_owned(),
            values: (0..rows.len()).map(|row| rows.to_json(row)).collect(),
            training_csv,
        })
    }

    /// Returns the settings of connections to the brokers.
    #[must_use]
    pub fn kafka(&self) -> KafkaSettings {
        self.kafka.clone()
    }

    /// Returns a description of the brokers.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Returns the number of brokers.
    #[must_use]
    pub fn brokers(&self) -> usize {
        match self.brokers {
            Brokers::One(_) => 1,
            Brokers::Three(_) => BROKERS,
        }
    }

    /// Returns the members of the records after their first one, the id: what follows `{"Id":1,`.
    ///
    /// # Errors
    /// If a record has no other member.
    pub fn members(&self) -> anyhow::Result<Vec<&str>> {
        let values = self.values.iter();
        values
            .map(|value| {
                let text = std::str::from_utf8(value)?;
                let (_, members) = text.split_once(',').context("a record has members")?;
                Ok(members)
            })
            .collect()
    }

    /// Creates a topic and fills it with `values`, repeated, each with `headers`.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn fill(
        &self,
        topic: &str,
        values: &[Vec<u8>],
        headers: &Headers,
        records: u64,
    ) -> anyhow::Result<Backlog> {
        self.create(&[topic])?;
        produce(
            &self.kafka(),
            NAME,
            topic,
            PARTITIONS,
            values,
            headers,
            records,
        )?;
        Ok(Backlog {
            topic: topic.to_owned(),
            records,
        })
    }

    /// Creates topics.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn create(&self, topics: &[&str]) -> anyhow::Result<()> {
        let specs: Vec<TopicSpec> = topics
            .iter()
            .map(|&topic| TopicSpec {
                name: topic.to_owned(),
                partitions: PARTITIONS,
                replication_factor: self.replication_factor,
                ..iris_admin::topic_specs(&iris_contract::Topics::default())[0].clone()
            })
            .collect();
        let admin = Admin::new(&self.kafka(), NAME)?;
        runtime()?.block_on(admin.create(&specs, false))?;
        Ok(())
    }

    /// Deletes topics, and waits until their files are removed.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn delete(&self, topics: &[&str]) -> anyhow::Result<()> {
        let admin = Admin::new(&self.kafka(), NAME)?;
        runtime()?.block_on(admin.delete(topics))?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// Creates settings and topics for one run that reads `input`.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn fixture(&self, input: &str, settings: &str) -> anyhow::Result<Fixture> {
        let mut fixture = Fixture::for_broker(&self.kafka.bootstrap_servers)?;
        fixture.topics.input = input.to_owned();
        fixture.set(settings)?;
        self.create(&outputs(&fixture))?;
        Ok(fixture)
    }

    /// Deletes the topics that a run wrote to.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn clear(&self, fixture: &Fixture) -> anyhow::Result<()> {
        self.delete(&outputs(fixture))
    }
}

fn outputs(fixture: &Fixture) -> [&str; 5] {
    let topics = &fixture.topics;
    [
        &topics.feedback,
        &topics.predictions,
        &topics.dead_letters,
        &topics.models,
        &topics.summaries,
    ]
}

/// Returns the header of a CSV file, and the rows that the model is fitted to.
fn training_rows(csv: &[u8], rows: usize) -> anyhow::Result<String> {
    let settings = ModelSettings::default();
    let split = split::train_test_split(rows, settings.test_size, settings.random_state)?;
    let lines: Vec<&str> = std::str::from_utf8(csv)?.lines().collect();
    let header = *lines.first().context("the dataset has a header")?;
    let rows = split.train.iter().map(|&row| lines[row + 1]);
    Ok(std::iter::once(header)
        .chain(rows)
        .flat_map(|line| [line, "\n"])
        .collect())
}
