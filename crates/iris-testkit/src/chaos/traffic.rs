//! Sends records during a storm, and reads their outcomes as they are committed.

use std::collections::BTreeSet;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use iris_contract::{Topic, Topics};
use iris_kafka::{
    Headers, KafkaSettings, OutgoingRecord, Positions, ProduceError, Producer, StoredRecord,
    TopicReader, now_ms,
};
use tokio_util::sync::CancellationToken;

use super::input::{InputLog, Sent};
use super::partitions::Partitions;
use crate::ledger::{FindingKind, Findings};
use crate::wait::{TIMEOUT, eventually};

/// How long one wait for deliveries lasts, before records that failed are sent again.
const DELIVERY_STEP: Duration = Duration::from_millis(500);

/// How long a watcher waits for a record of some partitions, and how many it reads, before it looks at the others.
const WATCH_STEP: Duration = Duration::from_millis(50);
const WATCH_BATCH: usize = 1_000;

/// How often the sender looks for new partitions.
const METADATA_INTERVAL_MS: &str = "500";

/// Sends `values` to the partitions of the input topic in turn, evenly over a `period`. New partitions are used as soon as
/// they exist.
pub(super) fn produce(
    kafka: &KafkaSettings,
    topic: &str,
    partitions: &Partitions,
    log: &InputLog,
    values: Vec<Option<Vec<u8>>>,
    period: Duration,
) -> anyhow::Result<()> {
    const BURST: usize = 50;
    let mut kafka = kafka.clone();
    let refresh = "topic.metadata.refresh.interval.ms".to_owned();
    kafka
        .librdkafka
        .insert(refresh, METADATA_INTERVAL_MS.to_owned());
    let mut sender = Sender {
        producer: Producer::start(&kafka, "iris-testkit", log.clone())?,
        topic,
        partitions,
        next: 0,
    };
    let (started, count) = (Instant::now(), values.len());
    for (position, value) in values.into_iter().enumerate() {
        if position.is_multiple_of(BURST) {
            let due = period.mul_f64(position as f64 / count as f64);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
        sender.send(&log.add(now_ms(), value))?;
    }
    let delivered = eventually("the input to be delivered", TIMEOUT, || {
        let _ = sender.producer.wait(DELIVERY_STEP);
        while let Some(failed) = log.take_failed() {
            sender.send(&failed).ok()?;
        }
        (log.pending() == 0).then_some(())
    });
    delivered.with_context(|| format!("{} input records were not delivered", log.pending()))
}

struct Sender<'a> {
    producer: Producer<InputLog>,
    topic: &'a str,
    partitions: &'a Partitions,
    next: i32,
}

impl Sender<'_> {
    /// Queues a record for the next partition that the client knows.
    fn send(&mut self, sent: &Sent) -> anyhow::Result<()> {
        let partitions = self.partitions.get(Topic::Input);
        let mut refused = 0;
        loop {
            let partition = self.next % partitions;
            let queued = self.producer.try_send(OutgoingRecord {
                topic: self.topic,
                partition: Some(partition),
                timestamp: Some(sent.timestamp),
                key: Some(sent.key.as_bytes()),
                value: sent.value.as_deref(),
                headers: Headers::default(),
            });
            match queued {
                Ok(true) => {
                    self.next = (partition + 1) % partitions;
                    return Ok(());
                }
                Ok(false) => self.producer.wait_for_room(),
                // The client does not know the partition yet, or a broker that is behind the others has made it forget it.
                Err(error) if refused < partitions && is_unknown_partition(&error) => {
                    refused += 1;
                    self.next = (partition + 1) % partitions;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_unknown_partition(error: &ProduceError) -> bool {
    format!("{error:?}").contains("UnknownPartition")
}

/// Waits for a thread's result.
pub(super) fn join<T>(thread: JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// Reads a topic's committed records until it is stopped.
pub(super) struct Watcher {
    name: String,
    thread: JoinHandle<anyhow::Result<Vec<(i32, i64)>>>,
}

impl Watcher {
    /// Starts to read a topic of outcomes on a thread of its own, until `stop`.
    pub(super) fn start(
        kafka: &KafkaSettings,
        topics: &Topics,
        topic: Topic,
        partitions: &Partitions,
        stop: &CancellationToken,
    ) -> Self {
        let (kafka, partitions, stop) = (kafka.clone(), partitions.clone(), stop.clone());
        let name = topics.name(topic).to_owned();
        let watched = name.clone();
        let thread = thread::spawn(move || {
            let mut known = partitions.get(topic);
            // A broker that is behind the others may not know the topic yet.
            let open = |open: &dyn Fn() -> Option<TopicReader>| {
                eventually(&format!("{watched} to be known"), TIMEOUT, open)
            };
            let mut readers = vec![open(&|| TopicReader::open(&kafka, &watched).ok())?];
            let mut seen = Vec::new();
            while !stop.is_cancelled() {
                let now = partitions.get(topic);
                if now > known {
                    let added: Positions = (known..now).map(|partition| (partition, 0)).collect();
                    readers.push(open(&|| {
                        TopicReader::open_at(&kafka, &watched, &added).ok()
                    })?);
                    known = now;
                }
                for reader in &mut readers {
                    for _ in 0..WATCH_BATCH {
                        let Some(record) = reader.next(WATCH_STEP)? else {
                            break;
                        };
                        seen.push((record.partition(), record.offset()));
                    }
                }
            }
            Ok(seen)
        });
        Self { name, thread }
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
            let case = format!("{} had a record at {partition}/{offset}", self.name);
            findings.add(FindingKind::Lost, case);
        }
        Ok(findings)
    }
}
