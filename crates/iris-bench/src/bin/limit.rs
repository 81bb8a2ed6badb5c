//! A limit to compare with: MODE BOOTSTRAP GROUP INPUT FEEDBACK PREDICTIONS|- RECORDS. Prints records and seconds as JSON.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use iris_bench::ground::{NAME, PARTITIONS};
use iris_bench::throughput::Reported;
use iris_contract::{Classifier, Scratch};
use iris_core::{Dataset, Model, ModelSettings, Schema, split};
use iris_kafka::limits::{Backlog, Input, Span, Unguarded, consume, consume_and_produce, produce};
use iris_kafka::{Headers, KafkaSettings, OutgoingRecord};
use iris_testkit::dataset;

/// As many as the classifier has.
const WORKERS: usize = 2;

/// The pace of commits at least once: the classifier's.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);

fn main() -> anyhow::Result<()> {
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
    let kafka = KafkaSettings {
        bootstrap_servers: bootstrap_servers.clone(),
        ..KafkaSettings::default()
    };
    let backlog = Backlog {
        topic,
        group_id,
        records: records.parse()?,
        read: AtomicU64::new(0),
    };
    let publishes = (predictions != "-").then_some(predictions.as_str());
    let spans = match mode.as_str() {
        "consume" => share(|| Ok(consume(&kafka, NAME, &backlog)?))?,
        "pass-through" => {
            let output = publishes.context("a topic to write to")?;
            let pass = |record: Input<'_>, to: &Unguarded| {
                to.send(same_place(record, output, record.value))
            };
            share(|| Ok(consume_and_produce(&kafka, NAME, &backlog, None, pass)?))?
        }
        "at-least-once" => {
            let classifier = classifier()?;
            share(|| {
                let (mut scratch, mut value) = (Scratch::default(), Vec::new());
                let classify = |record: Input<'_>, to: &Unguarded| {
                    if let Ok(classification) = classifier.classify(record.value, &mut scratch) {
                        if classification.mispredicted || publishes.is_some() {
                            classifier.write_value(&classification, &mut value);
                        }
                        if classification.mispredicted {
                            to.send(same_place(record, feedback, Some(&value)))?;
                        }
                        if let Some(predictions) = publishes {
                            to.send(same_place(record, predictions, Some(&value)))?;
                        }
                    }
                    Ok(())
                };
                let pace = Some(COMMIT_INTERVAL);
                Ok(consume_and_produce(&kafka, NAME, &backlog, pace, classify)?)
            })?
        }
        "produce" => {
            let rows = iris()?;
            let values: Vec<Vec<u8>> = (0..rows.len()).map(|row| rows.to_json(row)).collect();
            let topic = publishes.context("a topic to write to")?;
            let headers = Headers::default();
            vec![produce(
                &kafka,
                NAME,
                topic,
                PARTITIONS,
                &values,
                &headers,
                backlog.records,
            )?]
        }
        other => bail!("there is no limit called {other}"),
    };
    let first = spans
        .iter()
        .map(|span| span.first)
        .min()
        .context("nothing was read")?;
    let last = spans
        .iter()
        .map(|span| span.last)
        .max()
        .context("nothing was read")?;
    let reported = Reported {
        records: backlog.records,
        seconds: (last - first).as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&reported)?);
    Ok(())
}

/// Runs the work on as many threads as there are workers.
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

/// An outcome in the place that its record has.
fn same_place<'a>(
    record: Input<'a>,
    topic: &'a str,
    value: Option<&'a [u8]>,
) -> OutgoingRecord<'a> {
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
    let model = Model::fit(rows.training_set(&split.train), settings.neighbors)?;
    Ok(Classifier::new(Arc::new(model)))
}
