//! How long a record takes to a committed prediction, under a load that does not wait.
//!
//! Records are sent when they are due, whatever became of those before, and a latency counts from when the record was
//! due: a contender that stalls is charged for all that piled up meanwhile (no coordinated omission). The reader sees
//! only what is committed.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use iris_kafka::{
    Delivery, DeliveryListener, Headers, KafkaSettings, OutgoingRecord, Producer, TopicReader,
};
use serde::Serialize;

use crate::contender::Contender;
use crate::ground::{Backlog, Ground, NAME, PARTITIONS};
use crate::process::{Measured, Usage};

/// Load that is not counted: the contender starts and, on a JVM, is compiled.
const WARM_UP: Duration = Duration::from_secs(8);

/// Load that is.
const COUNTED: Duration = Duration::from_secs(10);

/// How long the last predictions may take after the load has ended, and a cold start before it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Latencies of one run, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the records took no longer.
    pub p50_ms: f64,
    /// 99 of 100 records took no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 records took no longer.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// How many were counted.
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

struct Ignored;

impl DeliveryListener for Ignored {
    fn delivered(&self, _: Delivery<'_>) {}
}

/// Runs a contender that publishes predictions under `rate` records a second.
///
/// # Errors
/// If it does not keep up at all, or something fails.
pub fn run(ground: &Ground, contender: Contender, rate: u32) -> anyhow::Result<Latency> {
    let (fixture, input) = stage(ground, &contender)?;
    let backlog = Backlog {
        topic: input,
        records: 0,
    };
    let reader = TopicReader::open(&ground.kafka(), &fixture.topics.predictions)?;
    let command = contender.command(ground, &fixture, &backlog)?;
    let mut process = Measured::start("run", command, fixture.directory())?;
    let total = u64::from(rate) * (WARM_UP + COUNTED).as_secs();
    let skipped = u64::from(rate) * WARM_UP.as_secs();
    let began = Instant::now();
    let due =
        move |n: u64| began + Duration::from_secs(1) * u32::try_from(n).unwrap_or(u32::MAX) / rate;
    let histogram = thread::scope(|scope| {
        let generator = scope.spawn(|| generate(ground, &backlog.topic, total, due));
        let histogram = collect(reader, total, skipped, due);
        generator
            .join()
            .map_err(|_| anyhow::anyhow!("the generator panicked"))??;
        histogram
    })
    .with_context(|| format!("{contender:?} at {rate}/s"))?;
    process.terminate()?;
    ground.clear(&fixture)?;
    ground.delete(&[&backlog.topic])?;
    Ok(Latency::of(&histogram))
}

/// A fixture with an empty input topic of its own.
fn stage(
    ground: &Ground,
    contender: &Contender,
) -> anyhow::Result<(iris_testkit::Fixture, String)> {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let input = format!("bench-input-{}", since_epoch.as_millis());
    ground.create(&[&input])?;
    Ok((ground.fixture(&input, &contender.settings())?, input))
}

/// Sends each record when it is due; `Id` is its number.
fn generate(
    ground: &Ground,
    topic: &str,
    total: u64,
    due: impl Fn(u64) -> Instant,
) -> anyhow::Result<()> {
    let mut kafka: KafkaSettings = ground.kafka();
    kafka
        .librdkafka
        .insert("linger.ms".to_owned(), "1".to_owned());
    let producer = Producer::start(&kafka, NAME, Ignored)?;
    let members: Vec<&str> = ground
        .values
        .iter()
        .map(|value| {
            let text = std::str::from_utf8(value)?;
            let (_, members) = text.split_once(',').context("a record has members")?;
            Ok(members)
        })
        .collect::<anyhow::Result<_>>()?;
    let turns = members.iter().cycle().zip((0..PARTITIONS).cycle());
    for (n, (members, partition)) in (0..total).zip(turns) {
        thread::sleep(due(n).saturating_duration_since(Instant::now()));
        let value = format!("{{\"Id\":{n},{members}");
        let record = || OutgoingRecord {
            topic,
            partition: Some(partition),
            timestamp: None,
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::default(),
        };
        while !producer.try_send(record())? {
            producer.wait_for_room();
        }
    }
    match producer.wait(PATIENCE) {
        0 => Ok(()),
        waiting => bail!("{waiting} records were not delivered"),
    }
}

/// Reads predictions as they are committed, until all have come.
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
            if latest.elapsed() > PATIENCE {
                bail!("{seen} of {total} predictions came, and then none for {PATIENCE:?}");
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

/// The number at the start of a record: `{"Id":17,…`.
fn number(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"{\"Id\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// From the start of a process to its first committed prediction, in the paper's mode, on a topic with the paper's rows.
///
/// # Errors
/// If none comes.
pub fn first_prediction(ground: &Ground, contender: Contender) -> anyhow::Result<Duration> {
    let (mut fixture, input) = stage(ground, &contender)?;
    let records = ground.values.len() as u64;
    let rows = format!("{input}-rows");
    ground.fill(&rows, &ground.values, &Headers::default(), records)?;
    fixture.topics.input = rows.clone();
    fixture.set(&contender.settings())?;
    let mut reader = TopicReader::open(&ground.kafka(), &fixture.topics.predictions)?;
    while !reader.has_reached_the_end() {
        reader.next(Duration::from_millis(10))?;
    }
    let partitions =
        (0..PARTITIONS).flat_map(|partition| ["--partition".to_owned(), partition.to_string()]);
    let mut command = fixture.command("iris-classifier", &[]);
    command.args(partitions);
    let mut process = Measured::start("run", command, fixture.directory())?;
    while reader.next(Duration::from_millis(100))?.is_none() {
        if process.started.elapsed() > PATIENCE {
            bail!("no prediction within {PATIENCE:?}");
        }
    }
    let took = process.started.elapsed();
    process.terminate()?;
    ground.clear(&fixture)?;
    ground.delete(&[&input, &rows])?;
    Ok(took)
}

/// What a contender takes while there is nothing to do.
///
/// # Errors
/// If it cannot be started.
pub fn idle(ground: &Ground, contender: Contender) -> anyhow::Result<Usage> {
    let (fixture, input) = stage(ground, &contender)?;
    let backlog = Backlog {
        topic: input,
        records: 0,
    };
    let command = contender.command(ground, &fixture, &backlog)?;
    let mut process = Measured::start("run", command, fixture.directory())?;
    thread::sleep(COUNTED);
    let usage = process.terminate()?;
    ground.clear(&fixture)?;
    ground.delete(&[&backlog.topic])?;
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_its_number() {
        assert_eq!(number(br#"{"Id":17,"x":1}"#), Some(17));
        assert_eq!(number(br#"{"x":1}"#), None);
    }
}
