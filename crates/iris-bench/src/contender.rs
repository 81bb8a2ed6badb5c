//! The contenders, and the commands that start them.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use iris_testkit::{Fixture, binary, workspace};

use crate::testbed::{Backlog, Testbed};

/// The outcomes that a contender writes in addition to mispredictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// No others.
    FeedbackOnly,
    /// Every prediction, without a header, as peers write it.
    Predictions,
    /// Every prediction with its provenance header.
    PredictionsWithProvenance,
}

impl Output {
    /// Returns whether every prediction is written.
    #[must_use]
    pub fn publishes(self) -> bool {
        self != Self::FeedbackOnly
    }
}

/// The classifier's settings that differ between contenders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// The outcomes that it writes.
    pub output: Output,
    /// Whether it logs a line per record.
    pub record_log: bool,
    /// Whether it publishes a summary per transaction, and its metrics are read every 100 ms.
    pub is_watched: bool,
    /// The number of workers.
    pub workers: usize,
    /// How long a transaction stays open under load, in milliseconds.
    pub commit_ms: u64,
    /// Whether its first model is a forest.
    pub is_forest: bool,
    /// The number of times that the champion is swapped.
    pub swaps: usize,
    /// Whether the models that are swapped are of two kinds, nearest neighbours and a forest.
    pub is_swapped_between_kinds: bool,
}

impl Ours {
    /// Returns the default settings, except that no line is logged per record.
    #[must_use]
    pub fn writing(output: Output) -> Self {
        Self {
            output,
            record_log: false,
            is_watched: false,
            workers: 2,
            commit_ms: 100,
            is_forest: false,
            swaps: 0,
            is_swapped_between_kinds: false,
        }
    }
}

/// A limit: librdkafka with the classifier's client settings, but without its guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Reads records and drops them.
    Consume,
    /// Reads records and writes them unchanged.
    PassThrough,
    /// Writes records from one thread.
    Produce,
    /// Classifies records without transactions, at least once.
    AtLeastOnce(Output),
}

impl Limit {
    /// Returns the argument that selects the limit.
    fn mode(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::PassThrough => "pass-through",
            Self::Produce => "produce",
            Self::AtLeastOnce(_) => "at-least-once",
        }
    }

    /// Returns whether it writes to the topic of predictions.
    fn publishes(self) -> bool {
        match self {
            Self::Consume => false,
            Self::PassThrough | Self::Produce => true,
            Self::AtLeastOnce(output) => output.publishes(),
        }
    }
}

/// A Python program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The program of the paper.
    Paper,
    /// A program that works in batches.
    Batches,
}

impl Script {
    fn command(self) -> Command {
        let file = match self {
            Self::Paper => "paper.py",
            Self::Batches => "batches.py",
        };
        let mut command = Command::new(workspace().join("target/bench/venv/bin/python"));
        command.arg(workspace().join("bench/peers/python").join(file));
        command
    }
}

/// A program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The classifier.
    Ours(Ours),
    /// A limit.
    Limit(Limit),
    /// Kafka Streams, exactly once.
    KafkaStreams {
        /// Whether it writes every prediction; peers write no header.
        publishes: bool,
        /// The number of stream threads.
        threads: usize,
        /// How long a transaction stays open, in milliseconds.
        commit_ms: u64,
    },
    /// Flink, exactly once.
    Flink {
        /// Whether it writes every prediction; peers write no header.
        publishes: bool,
        /// The parallelism of each operator.
        parallelism: usize,
        /// The checkpoint interval, in milliseconds.
        checkpoint_ms: u64,
    },
    /// A Python program.
    Python(Script),
}

impl Contender {
    /// Returns its part of the settings file, as TOML.
    #[must_use]
    pub fn settings(&self) -> String {
        let Self::Ours(ours) = self else {
            return String::new();
        };
        let provenance = ours.output == Output::PredictionsWithProvenance;
        format!(
            "[classifier]\npublish_predictions = {}\nprovenance = {}\npublish_summaries = {}\nworkers = {}\ncommit_interval_ms = {}\n\n\
             [telemetry]\nlog = \"info{}\"\n{}{}",
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
            if ours.is_forest {
                "[model]\nkind = \"forest\"\n"
            } else {
                ""
            },
        )
    }

    /// Returns the consumer group whose committed offsets show its progress, if it commits offsets in transactions.
    #[must_use]
    pub fn group(&self, fixture: &Fixture) -> Option<String> {
        match self {
            Self::Ours(_) => Some(fixture.classifier_group()),
            Self::KafkaStreams { .. } | Self::Flink { .. } => Some(fixture.name().to_owned()),
            Self::Limit(_) | Self::Python(_) => None,
        }
    }

    /// Returns the command that starts it on a backlog.
    ///
    /// # Errors
    /// If a path is not UTF-8.
    pub fn command(
        &self,
        testbed: &Testbed,
        fixture: &Fixture,
        backlog: &Backlog,
    ) -> anyhow::Result<Command> {
        let training = text(&testbed.training_csv)?;
        let topics = &fixture.topics;
        let common = [
            fixture.kafka.bootstrap_servers.as_str(),
            fixture.name(),
            &topics.input,
            &topics.feedback,
        ];
        let predictions = |publishes: bool| {
            if publishes {
                topics.predictions.as_str()
            } else {
                "-"
            }
        };
        let mut command;
        match *self {
            Self::Ours(_) => command = fixture.command("iris-classifier", &[]),
            Self::Limit(limit) => {
                command = Command::new(binary("limit"));
                command
                    .arg(limit.mode())
                    .args(common)
                    .arg(predictions(limit.publishes()))
                    .arg(backlog.records.to_string());
            }
            Self::KafkaStreams {
                publishes,
                threads,
                commit_ms,
            } => {
                command = java("kafka-streams", "iris.peers.Streams")?;
                command
                    .args(common)
                    .args([predictions(publishes), training])
                    .args([threads.to_string(), commit_ms.to_string()])
                    .arg(fixture.directory().join("state"));
            }
            Self::Flink {
                publishes,
                parallelism,
                checkpoint_ms,
            } => {
                command = java("flink", "iris.peers.Flink")?;
                command
                    .args(common)
                    .args([predictions(publishes), training])
                    .args([parallelism.to_string(), checkpoint_ms.to_string()]);
            }
            Self::Python(script) => {
                command = script.command();
                command
                    .args(common)
                    .arg(training)
                    .arg(backlog.records.to_string());
            }
        }
        Ok(command)
    }
}

/// Returns a command that runs a JVM peer with as much heap as the broker.
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
    path.to_str().context("a path is not UTF-8")
}
