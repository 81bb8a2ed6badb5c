//! Measures the latency from a record to its committed prediction, under a constant load.
//!
//! Records are sent when they are due, whether or not earlier ones are finished, and a record's latency counts from its due
//! time. So a stall counts for all records that pile up meanwhile (no coordinated omission). The reader sees only committed
//! predictions.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use iris_kafka::{Headers, KafkaSettings, OutgoingRecord, TopicReader};
use iris_testkit::{Fixture, Sender};
use serde::Serialize;

use crate::contender::Contender;
use crate::process::{MeasuredProcess, Usage};
use crate::testbed::{Backlog, NAME, PARTITIONS, Testbed};

/// The duration of the load that is not counted: the contender starts and, on a JVM, is compiled.
const WARM_UP: Duration = Duration::from_secs(8);

/// The duration of the load that is counted.
const COUNTED: Duration = Duration::from_secs(10);

/// How long the last predictions may take after the load has ended, and a cold start before it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Latencies of one run, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
    /// The 99.9th percentile.
    pub p999_ms: f64,
    /// The maximum.
    pub max_ms: f64,
    /// The number of records counted.
    pub records: u64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1000.0,
            records: histogram.len(),
        }
    }
}

/// Runs a contender that publishes predictions under a load of `rate` records per second.
///
/// # Errors
/// If predictions stop, or a step fails.
pub fn run(testbed: &Testbed, contender: Contender, rate: u32) -> anyhow::Result<Latency> {
    let (fixture, input) = stage(testbed, &contender)?;
    let backlog = Backlog {
        topic: input,
        records: 0,
    };
    let reader = TopicReader::open(&testbed.kafka(), &fixture.topics.predictions)?;
    let command = contender.command(testbed, &fixture, &backlog)?;
    let mut process = MeasuredProcess::start("run", command, fixture.directory())?;
    let total = u64::from(rate) * (WARM_UP + COUNTED).as_secs();
    let skipped = u64::from(rate) * WARM_UP.as_secs();
    let began = Instant::now();
    let due =
        move |n: u64| began + Duration::from_secs(1) * u32::try_from(n).unwrap_or(u32::MAX) / rate;
    let histogram = thread::scope(|scope| {
        let generator = scope.spawn(|| generate(testbed, &backlog.topic, total, due));
        let histogram = collect(reader, total, skipped, due);
        generator
            .join()
            .map_err(|_| anyhow::anyhow!("the generator panicked"))??;
        histogram
    })
    .with_context(|| format!("{contender:?} at {rate}/s"))?;
    process.terminate()?;
    testbed.clear(&fixture)?;
    testbed.delete(&[&backlog.topic])?;
    Ok(Latency::of(&histogram))
}

/// Creates a fixture with an empty input topic.
fn stage(testbed: &Testbed, contender: &Contender) -> anyhow::Result<(Fixture, String)> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let input = format!("bench-input-{}", since_epoch.as_millis());
    testbed.create(&[&input])?;
    Ok((testbed.fixture(&input, &contender.settings())?, input))
}

/// Sends each record when it is due; its `Id` is its number.
fn generate(
    testbed: &Testbed,
    topic: &str,
    total: u64,
    due: impl Fn(u64) -> Instant,
) -> anyhow::Result<()> {
    let mut kafka: KafkaSettings = testbed.kafka();
    kafka
        .librdkafka
        .insert("linger.ms".to_owned(), "1".to_owned());
    let sender = Sender::start(&kafka, NAME)?;
    let members = testbed.members()?;
    let turns = members.iter().cycle().zip((0..PARTITIONS).cycle());
    for (n, (members, partition)) in (0..total).zip(turns) {
        thread::sleep(due(n).saturating_duration_since(Instant::now()));
        let value = format!("{{\"Id\":{n},{members}");
        sender.send(|| OutgoingRecord {
            topic,
            partition: Some(partition),
            timestamp: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        })?;
    }
    sender.finish(TIMEOUT)
}

/// Reads predictions as they are committed, until all have arrived.
fn collect(
    mut reader: TopicReader,
    total: u64,
    skipped: u64,
    due: impl Fn(u64) -> Instant,
) -> anyhow::Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    let mut seen = 0;
    let mut latest = Instant::now();
    while seen < total {
        let Some(record) = reader.next(Duration::from_millis(100))? else {
            if latest.elapsed() > TIMEOUT {
                bail!("{seen} of {total} predictions arrived, and then none for {TIMEOUT:?}");
            }
            continue;
        };
        latest = Instant::now();
        seen += 1;
        let value = record.value().unwrap_or_default();
        let n = number(value).context("a prediction without a number")?;
        if n >= skipped {
            let latency = latest.saturating_duration_since(due(n));
            histogram.record(u64::try_from(latency.as_micros())?)?;
        }
    }
    Ok(histogram)
}

/// Returns the number at the start of a record: `{"Id":17,…`.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"{\"Id\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// Measures the time from the start of a process to its first committed prediction, with the paper's rows and one consumer for
/// each partition.
///
/// # Errors
/// If no prediction arrives.
pub fn first_prediction(testbed: &Testbed, contender: Contender) -> anyhow::Result<Duration> {
    let (mut fixture, input) = stage(testbed, &contender)?;
    let records = testbed.values.len() as u64;
    let rows = format!("{input}-rows");
    testbed.fill(&rows, &testbed.values, &Headers::default(), records)?;
    fixture.topics.input = rows.clone();
    fixture.set(&contender.settings())?;
    let mut reader = TopicReader::open(&testbed.kafka(), &fixture.topics.predictions)?;
    while !reader.has_reached_the_end() {
        reader.next(Duration::from_millis(10))?;
    }
    let partitions =
        (0..PARTITIONS).flat_map(|partition| ["--partition".to_owned(), partition.to_string()]);
    let mut command = fixture.command("iris-classifier", &[]);
    command.args(partitions);
    let mut process = MeasuredProcess::start("run", command, fixture.directory())?;
    while reader.next(Duration::from_millis(100))?.is_none() {
        if process.started.elapsed() > TIMEOUT {
            bail!("no prediction within {TIMEOUT:?}");
        }
    }
    let took = process.started.elapsed();
    process.terminate()?;
    testbed.clear(&fixture)?;
    testbed.delete(&[&input, &rows])?;
    Ok(took)
}

/// Measures the resources of an idle contender.
///
/// # Errors
/// If the contender cannot be started.
pub fn idle(testbed: &Testbed, contender: Contender) -> anyhow::Result<Usage> {
    let (fixture, input) = stage(testbed, &contender)?;
    let backlog = Backlog {
        topic: input,
        records: 0,
    };
    let command = contender.command(testbed, &fixture, &backlog)?;
    let mut process = MeasuredProcess::start("run", command, fixture.directory())?;
    thread::sleep(COUNTED);
    let usage = process.terminate()?;
    testbed.clear(&fixture)?;
    testbed.delete(&[&backlog.topic])?;
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_records_number_is_its_id() {
        assert_eq!(number(br#"{"Id":17,"x":1}"#), Some(17));
        assert_eq!(number(br#"{"x":1}"#), None);
    }
}
