//! The classifiers and the trainer of the demo, and queries of the registry and the predictions.

use std::time::Duration;

use anyhow::{Context, ensure};
use iris_contract::{PROVENANCE_HEADER, Provenance};
use iris_kafka::StoredRecord;
use iris_testkit::{Ended, Fixture, Running, eventually, free_port};
use serde_json::Value;

/// How long a step may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the output of a service that must have succeeded.
pub(crate) fn succeed(service: &str, ended: Ended) -> anyhow::Result<Ended> {
    ensure!(ended.code == Some(0), "{service} failed: {}", ended.stderr);
    Ok(ended)
}

/// One classifier process for each partition, as in the paper.
pub(crate) struct Classifiers(Vec<Running>);

impl Classifiers {
    /// Starts the classifiers, and waits until all of them serve a model.
    pub(crate) fn start(fixture: &Fixture) -> anyhow::Result<Self> {
        let partitions = 0..fixture.topics.partitions;
        let start = |n| fixture.start("iris-classifier", &[&format!("--partition={n}")]);
        let classifiers = Self(partitions.map(start).collect::<Result<_, _>>()?);
        classifiers.await_line("serving model ")?;
        Ok(classifiers)
    }

    /// Waits until each classifier has logged a line with this text.
    pub(crate) fn await_line(&self, text: &str) -> anyhow::Result<()> {
        for classifier in &self.0 {
            classifier.line_with(text, TIMEOUT)?;
        }
        Ok(())
    }

    /// Returns the number of times that each classifier has started to serve this version.
    pub(crate) fn times_served(&self, version: &str) -> Vec<usize> {
        let text = format!("serving model {version}");
        let times = |running: &Running| {
            let lines = running.lines();
            lines.iter().filter(|line| line.contains(&text)).count()
        };
        self.0.iter().map(times).collect()
    }
}

/// A running trainer.
pub(crate) struct Trainer {
    running: Running,
    /// The port of its metrics.
    pub(crate) port: u16,
}

impl Trainer {
    /// Starts the trainer, and waits until it reads records.
    pub(crate) fn start(fixture: &Fixture) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = fixture.command("iris-trainer", &[]);
        command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
        let running = Running::start("iris-trainer", command, false)?;
        running.line_with("learning from ", TIMEOUT)?;
        Ok(Self { running, port })
    }

    /// Stops the trainer. Returns the lines that it logged.
    pub(crate) fn stop(mut self) -> anyhow::Result<Vec<String>> {
        let status = self.running.terminate(TIMEOUT)?;
        let lines = self.running.lines();
        ensure!(status.success(), "the trainer failed: {}", lines.join("\n"));
        Ok(lines)
    }
}

/// Returns the drifts that a trainer logged, and prints them.
pub(crate) fn drift_events(log: &[String]) -> Vec<String> {
    let events: Vec<String> = log
        .iter()
        .filter_map(|line| Some(line.split_once("drift: ")?.1.to_owned()))
        .collect();
    for event in &events {
        println!("drift: {event}");
    }
    events
}

/// Runs `iris-admin models`. Returns its JSON output.
pub(crate) fn models(fixture: &Fixture, args: &[&str]) -> anyhow::Result<Value> {
    let args = [&["models"], args, &["--json"]].concat();
    let ended = succeed("iris-admin", fixture.run("iris-admin", &args)?)?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// Returns the champion's version.
pub(crate) fn champion(fixture: &Fixture) -> anyhow::Result<String> {
    let listed = models(fixture, &["list"])?;
    let champion = listed["champion"].as_str();
    Ok(champion.context("there is no champion")?.to_owned())
}

/// Returns a model's accuracy on the held-out rows.
pub(crate) fn holdout_accuracy(fixture: &Fixture, version: &str) -> anyhow::Result<f64> {
    let shown = models(fixture, &["show", version])?;
    shown["lineage"]["metrics"]["holdout_accuracy"]
        .as_f64()
        .context("the model has no holdout accuracy")
}

/// Returns a record's value.
pub(crate) fn value(record: &StoredRecord) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(
        record.value.as_deref().unwrap_or_default(),
    )?)
}

/// Returns the version of the model that made a prediction.
pub(crate) fn model_version(record: &StoredRecord) -> anyhow::Result<String> {
    let header = record.header(PROVENANCE_HEADER).unwrap_or_default();
    let provenance: Provenance = std::str::from_utf8(header)?.parse()?;
    Ok(provenance.model_version.to_string())
}

/// Waits until there are at least `count` predictions.
pub(crate) fn predictions(fixture: &Fixture, count: usize) -> anyhow::Result<Vec<StoredRecord>> {
    eventually("every record to be classified", TIMEOUT, || {
        let predictions = fixture.records(&fixture.topics.predictions).ok()?;
        (predictions.len() >= count).then_some(predictions)
    })
}
