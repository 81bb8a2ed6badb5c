//! Who does the work, and how each is started.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use iris_testkit::{Fixture, binary, workspace};

use crate::ground::{Backlog, Ground};

/// What is written of the outcomes. Mispredictions always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing else.
    FeedbackOnly,
    /// Every prediction, as a peer would write it.
    Predictions,
    /// Every prediction with the header that says how it came about.
    PredictionsWithProvenance,
}

impl Output {
    fn publishes(self) -> bool {
        self != Self::FeedbackOnly
    }
}

/// The classifier's own settings that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// What it writes.
    pub output: Output,
    /// Whether it logs a line for each record.
    pub record_log: bool,
    /// Whether it is watched: its metrics are served and read every 100 ms, and each transaction says what it did.
    pub is_watched: bool,
    /// Its workers.
    pub workers: usize,
    /// How long a transaction stays open under load, in milliseconds.
    pub commit_ms: u64,
    /// How many new champions it is given to serve on the way.
    pub swaps: usize,
}

impl Ours {
    /// As shipped, but for the line a record.
    #[must_use]
    pub fn writing(output: Output) -> Self {
        Self {
            output,
            record_log: false,
            is_watched: false,
            workers: 2,
            commit_ms: 100,
            swaps: 0,
        }
    }
}

/// What librdkafka can do with the classifier's client settings and without its guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Reading and dropping.
    Consume,
    /// Reading, and writing the same bytes.
    PassThrough,
    /// Writing, from one thread.
    Produce,
    /// The classifier's work without transactions: at least once.
    AtLeastOnce(Output),
}

/// A program in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The paper's own.
    Paper,
    /// In batches.
    Batches,
}

impl Script {
    fn file(self) -> &'static str {
        match self {
            Self::Paper => "paper.py",
            Self::Batches => "batches.py",
        }
    }
}

/// One way to do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The classifier.
    Ours(Ours),
    /// A limit to compare with.
    Limit(Limit),
    /// Kafka Streams, exactly once.
    KafkaStreams {
        /// What it writes; a header is not its work.
        publishes: bool,
        /// Stream threads.
        threads: usize,
        /// How long a transaction stays open, in milliseconds.
        commit_ms: u64,
    },
    /// Flink, exactly once.
    Flink {
        /// What it writes; a header is not its work.
        publishes: bool,
        /// The parallelism of each operator.
        parallelism: usize,
        /// From checkpoint to checkpoint, in milliseconds.
        checkpoint_ms: u64,
    },
    /// A Python program.
    Python(Script),
}

impl Contender {
    /// The settings file's part that it wants, as TOML.
    #[must_use]
    pub fn settings(&self) -> String {
        let Self::Ours(ours) = self else {
            return String::new();
        };
        let provenance = ours.output == Output::PredictionsWithProvenance;
        format!(
            "[classifier]\npublish_predictions = {}\nprovenance = {}\npublish_summaries = {}\nworkers = {}\ncommit_interval_ms = {}\n\n\
             [telemetry]\nlog = \"info{}\"\n{}",
            ours.output.publishes(),
            provenance,
            provenance || ours.is_watched,
            ours.workers,
            ours.commit_ms,
            if ours.record_log { "" } else { ",record=off" },
            if ours.is_watched {
                "http_addr = \"127.0.0.1:0\"\n"
            } else {
                ""
            },
        )
    }

    /// The consumer group whose committed offsets show how far it is, if it commits any in its transactions.
    #[must_use]
    pub fn group(&self, fixture: &Fixture) -> Option<String> {
        match self {
            Self::Ours(_) => Some(fixture.classifier_group()),
            Self::KafkaStreams { .. } | Self::Flink { .. } => Some(fixture.name().to_owned()),
            Self::Limit(_) | Self::Python(_) => None,
        }
    }

    /// The command that starts it on a backlog.
    ///
    /// # Errors
    /// If a path is not text.
    pub fn command(
        &self,
        ground: &Ground,
        fixture: &Fixture,
        backlog: &Backlog,
    ) -> anyhow::Result<Command> {
        let training = text(&ground.training_csv)?;
        let topics = &fixture.topics;
        let common = [
            fixture.kafka.bootstrap_servers.as_str(),
            fixture.name(),
            &topics.input,
            &topics.feedback,
        ];
        let predictions = |publishes: bool| if publishes { &topics.predictions } else { "-" };
        Ok(match *self {
            Self::Ours(_) => fixture.command("iris-classifier", &[]),
            Self::Limit(limit) => {
                let (mode, predictions) = match limit {
                    Limit::Consume => ("consume", "-"),
                    Limit::PassThrough => ("pass-through", topics.predictions.as_str()),
                    Limit::Produce => ("produce", topics.predictions.as_str()),
                    Limit::AtLeastOnce(output) => {
                        ("at-least-once", predictions(output.publishes()))
                    }
                };
                let mut command = Command::new(binary("limit"));
                command.arg(mode).args(common).arg(predictions);
                command.arg(backlog.records.to_string());
                command
            }
            Self::KafkaStreams {
                publishes,
                threads,
                commit_ms,
            } => {
                let mut command = java("kafka-streams", "iris.peers.Streams")?;
                command
                    .args(common)
                    .args([predictions(publishes), training]);
                command.args([threads.to_string(), commit_ms.to_string()]);
                command.arg(fixture.directory().join("state"));
                command
            }
            Self::Flink {
                publishes,
                parallelism,
                checkpoint_ms,
            } => {
                let mut command = java("flink", "iris.peers.Flink")?;
                command
                    .args(common)
                    .args([predictions(publishes), training]);
                command.args([parallelism.to_string(), checkpoint_ms.to_string()]);
                command
            }
            Self::Python(script) => {
                let mut command = Command::new(workspace().join("target/bench/venv/bin/python"));
                command.arg(workspace().join("bench/peers/python").join(script.file()));
                command.args(common).arg(training);
                command.arg(backlog.records.to_string());
                command
            }
        })
    }
}

/// A command that runs a JVM peer, with as much heap as the broker has.
fn java(peer: &str, class: &str) -> anyhow::Result<Command> {
    let built = workspace().join("target/bench/peers").join(peer);
    let jar = built.join(format!("{peer}-1.jar"));
    let mut command = Command::new("java");
    command
        .args([
            "-Xms1g",
            "-Xmx1g",
            "--add-opens=java.base/java.util=ALL-UNNAMED",
        ])
        .arg("-cp")
        .arg(format!("{}:{}/*", text(&jar)?, text(&built.join("lib"))?))
        .arg(class);
    Ok(command)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path is not text")
}
