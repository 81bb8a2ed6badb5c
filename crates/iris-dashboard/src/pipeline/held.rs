//! Finds transactions that hold back summaries: they have written a summary and have not ended, so no summary behind it in the
//! same partition can be read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iris_contract::TransactionSummary;
use iris_kafka::{
    KafkaSettings, Positions, ReadError, StoredRecord, TopicEnds, TopicReader, now_ms,
};
use tracing::debug;

use super::reader::Reader;
use crate::board::HeldBack;

/// A summary that cannot be read for this long is held back, in milliseconds. A commit usually takes much less.
const HELD_MS: i64 = 1_000;

/// How long reading the summary of an open transaction may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Looks for open transactions again and again until the service is stopped.
pub(super) fn read(reader: &Reader) {
    reader.retry(follow);
}

fn follow(reader: &Reader) -> Result<(), ReadError> {
    let settings = &reader.settings;
    let mut held = HeldSummaries::open(&settings.kafka, &settings.topics.summaries)?;
    while !reader.stop.is_cancelled() {
        let started = Instant::now();
        let held_back = held.look(now_ms())?;
        reader.shared.write().board.hold_back(held_back);
        reader.has_read(started);
    }
    Ok(())
}

/// The ends of the partitions of the summaries, with open transactions and without.
struct HeldSummaries {
    /// Settings with which records of open transactions are read.
    uncommitted: KafkaSettings,
    topic: String,
    readable: TopicEnds,
    all: TopicEnds,
    stuck: BTreeMap<i32, Stuck>,
}

/// A partition whose readable records end before all records do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stuck {
    /// The offset of the first record that cannot be read: the summary of the open transaction.
    offset: i64,
    /// When this was first seen, in milliseconds since the epoch.
    seen_ms: i64,
    /// The transaction, once its summary was read.
    found: Option<HeldBack>,
}

impl HeldSummaries {
    fn open(kafka: &KafkaSettings, topic: &str) -> Result<Self, ReadError> {
        let mut uncommitted = kafka.clone();
        let isolation = ("isolation.level".to_owned(), "read_uncommitted".to_owned());
        uncommitted.librdkafka.extend([isolation]);
        Ok(Self {
            readable: TopicEnds::open(kafka, topic)?,
            all: TopicEnds::open(&uncommitted, topic)?,
            uncommitted,
            topic: topic.to_owned(),
            stuck: BTreeMap::new(),
        })
    }

    /// Returns the transactions that hold back summaries at a time, in milliseconds since the epoch.
    fn look(&mut self, now_ms: i64) -> Result<Vec<HeldBack>, ReadError> {
        let readable = self.readable.offsets()?;
        compare(&mut self.stuck, &readable, &self.all.offsets()?, now_ms);
        let mut held = Vec::new();
        for (&partition, stuck) in &mut self.stuck {
            if now_ms - stuck.seen_ms < HELD_MS {
                continue;
            }
            if stuck.found.is_none() {
                let read = read_record(&self.uncommitted, &self.topic, partition, stuck.offset);
                stuck.found = read
                    .inspect_err(|error| debug!("reading an open transaction: {error}"))
                    .unwrap_or_default()
                    .and_then(|summary| held_by(&summary));
            }
            held.push(stuck.found.clone().unwrap_or(HeldBack {
                worker: None,
                inputs: vec![partition],
                since_ms: stuck.seen_ms,
            }));
        }
        Ok(held)
    }
}

/// Notes which partitions have records that cannot be read, from where, and since when.
fn compare(stuck: &mut BTreeMap<i32, Stuck>, readable: &Positions, all: &Positions, now_ms: i64) {
    let ends = |partition: i32| Some((readable.get(partition)?, all.get(partition)?));
    stuck.retain(|&partition, stuck| {
        ends(partition).is_some_and(|(readable, all)| readable == stuck.offset && all > readable)
    });
    for (partition, offset) in readable.iter() {
        if ends(partition).is_some_and(|(readable, all)| all > readable) {
            stuck.entry(partition).or_insert(Stuck {
                offset,
                seen_ms: now_ms,
                found: None,
            });
        }
    }
}

/// Returns the record at an offset, even if its transaction is open; `None` if it does not arrive in time.
fn read_record(
    uncommitted: &KafkaSettings,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Option<StoredRecord>, ReadError> {
    let mut reader = TopicReader::open_at(uncommitted, topic, &[(partition, offset)].into())?;
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        if let Some(record) = reader.next(TIMEOUT / 10)? {
            return Ok(Some(StoredRecord::from(&record)));
        }
    }
    Ok(None)
}

/// Returns the transaction of a summary; `None` if it is not a summary.
fn held_by(record: &StoredRecord) -> Option<HeldBack> {
    let value = record.value.as_deref().unwrap_or_default();
    let summary: TransactionSummary = serde_json::from_slice(value).ok()?;
    Some(HeldBack {
        worker: summary.worker,
        inputs: summary.partitions.into_keys().collect(),
        since_ms: record.timestamp?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;

    #[test]
    fn a_partition_is_stuck_while_the_same_record_cannot_be_read() {
        let mut stuck = BTreeMap::new();
        let mut seen = |readable: Positions, all: Positions, now_ms| -> Vec<(i32, i64, i64)> {
            compare(&mut stuck, &readable, &all, now_ms);
            let seen =
                |(&partition, stuck): (&i32, &Stuck)| (partition, stuck.offset, stuck.seen_ms);
            stuck.iter().map(seen).collect()
        };
        assert_eq!(
            seen([(0, 5), (1, 7)].into(), [(0, 5), (1, 9)].into(), 10),
            [(1, 7, 10)]
        );
        // More records arrive behind it, and in another partition.
        assert_eq!(
            seen([(0, 5), (1, 7)].into(), [(0, 6), (1, 20)].into(), 20),
            [(0, 5, 20), (1, 7, 10)]
        );
        // It can be read, and another one cannot.
        assert_eq!(
            seen([(0, 6), (1, 20)].into(), [(0, 6), (1, 22)].into(), 30),
            [(1, 20, 30)]
        );
        // The topic is recreated with fewer partitions.
        assert_eq!(seen([(0, 0)].into(), [(0, 0)].into(), 40), []);
    }

    #[test]
    fn the_summary_names_the_worker_and_its_input_partitions() {
        let record = |value: &str| StoredRecord {
            partition: 3,
            offset: 7,
            timestamp: Some(1_000),
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
        };
        let json = serde_json::to_string(&summary(3, 10, 10)).unwrap();
        let expected = HeldBack {
            worker: Some("host-0 worker 0".to_owned()),
            inputs: vec![3],
            since_ms: 1_000,
        };
        assert_eq!(held_by(&record(&json)), Some(expected));
        assert_eq!(held_by(&record("{}")), None);
    }
}
