//! Measures a limit: MODE BOOTSTRAP GROUP INPUT FEEDBACK PREDICTIONS|- RECORDS. Prints records and seconds as JSON.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use iris_bench::output::Reported;
use iris_bench::testbed::{NAME, PARTITIONS};
use iris_contract::{Classifier, Scratch};
use iris_core::{Dataset, Model, ModelSettings, Schema, split};
use iris_kafka::limits::{Backlog, Input, Span, Unguarded, consume, consume_and_produce, produce};
use iris_kafka::{Headers, KafkaSettings, OutgoingRecord};
use iris_testkit::dataset;

/// The number of workers, as the classifier has.
const WORKERS: usize = 2;

/// The commit interval of the classifier that works at least once.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    iris_service::exit(run())
}

fn run() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [
        mode,
        bootstrap_servers,
        group_id,
        topic,
        feedback,
        predictions,
        records,
    ] = &args[..]
    else {
        bail!("usage: limit MODE BOOTSTRAP GROUP INPUT FEEDBACK PREDICTIONS|- RECORDS");
    };
    let limit = Limit {
        kafka: KafkaSettings {
            bootstrap_servers: bootstrap_servers.clone(),
            ..KafkaSettings::default()
        },
        backlog: Backlog {
            topic,
            group_id,
            records: records.parse()?,
            read: AtomicU64::new(0),
        },
        feedback,
        predictions: (predictions != "-").then_some(predictions.as_str()),
    };
    let spans = match mode.as_str() {
        "consume" => limit.consume()?,
        "pass-through" => limit.pass_through()?,
        "at-least-once" => limit.at_least_once()?,
        "produce" => limit.produce()?,
        other => bail!("there is no limit `{other}`"),
    };
    let first = spans.iter().map(|span| span.first).min();
    let last = spans.iter().map(|span| span.last).max();
    let (first, last) = first.zip(last).context("no records were read")?;
    let reported = Reported {
        records: limit.backlog.records,
        seconds: (last - first).as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&reported)?);
    Ok(())
}

/// The arguments of a limit.
struct Limit<'a> {
    kafka: KafkaSettings,
    backlog: Backlog<'a>,
    feedback: &'a str,
    /// The topic of predictions, if they are written.
    predictions: Option<&'a str>,
}

impl Limit<'_> {
    /// Reads records and drops them.
    fn consume(&self) -> anyhow::Result<Vec<Span>> {
        share(|| Ok(consume(&self.kafka, NAME, &self.backlog)?))
    }

    /// Reads records and writes them unchanged.
    fn pass_through(&self) -> anyhow::Result<Vec<Span>> {
        let output = self.output()?;
        let pass = |record: Input<'_>, to: &Unguarded| to.send(like(record, output, record.value));
        share(|| {
            let (kafka, backlog) = (&self.kafka, &self.backlog);
            Ok(consume_and_produce(kafka, NAME, backlog, None, pass)?)
        })
    }

    /// Classifies records without transactions.
    fn at_least_once(&self) -> anyhow::Result<Vec<Span>> {
        let classifier = classifier()?;
        share(|| {
            let (mut scratch, mut value) = (Scratch::default(), Vec::new());
            let classify = |record: Input<'_>, to: &Unguarded| {
                if let Ok(classification) = classifier.classify(record.value, &mut scratch) {
                    if classification.mispredicted || self.predictions.is_some() {
                        classifier.write_value(&classification, &mut value);
                    }
                    if classification.mispredicted {
                        to.send(like(record, self.feedback, Some(&value)))?;
                    }
                    if let Some(predictions) = self.predictions {
                        to.send(like(record, predictions, Some(&value)))?;
                    }
                }
                Ok(())
            };
            let (kafka, backlog) = (&self.kafka, &self.backlog);
            let interval = Some(COMMIT_INTERVAL);
            Ok(consume_and_produce(
                kafka, NAME, backlog, interval, classify,
            )?)
        })
    }

    /// Writes records from one thread.
    fn produce(&self) -> anyhow::Result<Vec<Span>> {
        let rows = iris()?;
        let values: Vec<Vec<u8>> = (0..rows.len()).map(|row| rows.to_json(row)).collect();
        let span = produce(
            &self.kafka,
            NAME,
            self.output()?,
            PARTITIONS,
            &values,
            &Headers::default(),
            self.backlog.records,
        )?;
        Ok(vec![span])
    }

    fn output(&self) -> anyhow::Result<&str> {
        self.predictions.context("PREDICTIONS must be a topic")
    }
}

/// Runs the work on one thread for each worker.
fn share(work: impl Fn() -> anyhow::Result<Option<Span>> + Sync) -> anyhow::Result<Vec<Span>> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(&work)).collect();
        let spans = workers.into_iter().map(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
        });
        spans.filter_map(Result::transpose).collect()
    })
}

/// Returns an outcome with its record's partition, timestamp and key.
fn like<'a>(record: Input<'a>, topic: &'a str, value: Option<&'a [u8]>) -> OutgoingRecord<'a> {
    OutgoingRecord {
        topic,
        partition: Some(record.partition),
        timestamp: record.timestamp,
        key: record.key,
        value,
        headers: Headers::default(),
    }
}

fn iris() -> anyhow::Result<Dataset> {
    let csv = std::fs::read(dataset("iris.csv"))?;
    Ok(Dataset::parse(&csv, &Schema::default())?)
}

fn classifier() -> anyhow::Result<Classifier> {
    let (rows, settings) = (iris()?, ModelSettings::default());
    let split = split::train_test_split(rows.len(), settings.test_size, settings.random_state)?;
    let rows = rows.training_set(&split.train);
    let kind = settings.kind(&rows);
    let model = Model::fit(rows, kind)?;
    Ok(Classifier::new(Arc::new(model)))
}
