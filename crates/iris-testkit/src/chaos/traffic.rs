//! Sends records during a storm, and reads their outcomes as they are committed.

use std::collections::BTreeSet;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use iris_kafka::{Headers, KafkaSettings, OutgoingRecord, Producer, StoredRecord, TopicReader};
use tokio_util::sync::CancellationToken;

use crate::ledger::{FindingKind, Findings};
use crate::sending::{IgnoreDeliveries, send};

/// How long it may take to deliver the last records.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// Sends `values` round-robin to the partitions of a topic, evenly over a `period`.
pub(super) fn produce(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: i32,
    values: &[Option<Vec<u8>>],
    period: Duration,
) -> anyhow::Result<()> {
    const BURST: usize = 50;
    let producer = Producer::start(kafka, "iris-testkit", IgnoreDeliveries)?;
    let started = Instant::now();
    let mut partition = (0..partitions).cycle();
    for (position, value) in values.iter().enumerate() {
        if position.is_multiple_of(BURST) {
            let due = period.mul_f64(position as f64 / values.len() as f64);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
        let partition = partition.next();
        send(&producer, || OutgoingRecord {
            topic,
            partition,
            timestamp: None,
            key: None,
            value: value.as_deref(),
            headers: Headers::default(),
        })?;
    }
    match producer.wait(DELIVERY_TIMEOUT) {
        0 => Ok(()),
        waiting => bail!("{waiting} input records were not delivered"),
    }
}

/// Waits for a thread's result.
pub(super) fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// Reads a topic's committed records until it is stopped.
pub(super) struct Watcher {
    topic: String,
    thread: JoinHandle<anyhow::Result<Vec<(i32, i64)>>>,
}

impl Watcher {
    /// Starts to read a topic on a thread of its own, until `stop`.
    pub(super) fn start(kafka: &KafkaSettings, topic: &str, stop: &CancellationToken) -> Self {
        let (kafka, stop) = (kafka.clone(), stop.clone());
        let (topic, name) = (topic.to_owned(), topic.to_owned());
        let thread = thread::spawn(move || {
            let mut reader = TopicReader::open(&kafka, &name)?;
            let mut seen = Vec::new();
            while !stop.is_cancelled() {
                if let Some(record) = reader.next(Duration::from_millis(100))? {
                    seen.push((record.partition(), record.offset()));
                }
            }
            Ok(seen)
        });
        Self { topic, thread }
    }

    /// Waits for the thread, and finds records that were read as committed and are not among the topic's `records` now.
    pub(super) fn finish(self, records: &[StoredRecord]) -> anyhow::Result<Findings> {
        let seen = join(self.thread)?;
        let present: BTreeSet<(i32, i64)> = records
            .iter()
            .map(|record| (record.partition, record.offset))
            .collect();
        let mut findings = Findings::default();
        for (partition, offset) in seen.iter().filter(|place| !present.contains(place)) {
            let case = format!("{} had a record at {partition}/{offset}", self.topic);
            findings.add(FindingKind::Lost, case);
        }
        Ok(findings)
    }
}
