//! The input topic as its sender knows it: all records that were appended, also those that are deleted later.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};
use iris_kafka::{Delivery, DeliveryListener, PartitionOffset, Positions, StoredRecord};
use parking_lot::{Mutex, MutexGuard};

/// The records of an input topic, from its creation to its deletion. Each record has a number, which is its key: after the
/// topic was recreated, partition and offset do not identify a record.
#[derive(Clone, Debug)]
pub(super) struct InputLog {
    first: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The records that were sent, in the order of their numbers.
    sent: Vec<Sent>,
    /// The numbers of each partition's records, in the order in which they were appended.
    appended: BTreeMap<i32, Vec<usize>>,
    /// By partition, the reported offset of the last record, if it belongs to a batch without a known place.
    unplaced: BTreeMap<i32, i64>,
    /// The numbers of records that must be sent again.
    failed: Vec<usize>,
    /// Why a record's offset is not known.
    problem: Option<String>,
}

/// A record that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Its number as text.
    pub(super) key: String,
    /// Milliseconds since the epoch.
    pub(super) timestamp: i64,
    /// Its value.
    pub(super) value: Option<Vec<u8>>,
}

impl State {
    /// Whether the reported offset of a record is its place. If the answer was lost, and a broker only knows that it has appended
    /// the batch before, the client counts its records from -1, the offset of an answer with an error.
    fn is_placed(&mut self, partition: i32, offset: i64) -> bool {
        let continues = self.unplaced.get(&partition) == Some(&(offset - 1));
        if offset < 0 || continues {
            self.unplaced.insert(partition, offset);
            return false;
        }
        self.unplaced.remove(&partition);
        true
    }
}

impl InputLog {
    /// Returns the log of a topic without records. `first` is the number of its first record.
    pub(super) fn new(first: usize) -> Self {
        Self {
            first,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds a record that is about to be sent, and gives it a number.
    pub(super) fn add(&self, timestamp: i64, value: Option<Vec<u8>>) -> Sent {
        let mut state = self.lock();
        let number = self.first + state.sent.len();
        let sent = Sent {
            key: number.to_string(),
            timestamp,
            value,
        };
        state.sent.push(sent.clone());
        sent
    }

    /// Returns a record that was sent and not appended, to be sent again.
    pub(super) fn take_failed(&self) -> Option<Sent> {
        let mut state = self.lock();
        let number = state.failed.pop()?;
        state.sent.get(number - self.first).cloned()
    }

    /// Notes that a record was appended, or must be sent again. A partition's records are appended in the order of their
    /// delivery reports, so that the number of records before one is its offset.
    fn note(&self, number: usize, outcome: Result<PartitionOffset, String>) {
        let mut state = self.lock();
        match outcome {
            Ok(PartitionOffset { partition, offset }) => {
                let numbers = state.appended.entry(partition).or_default();
                let expected = numbers.len() as i64;
                numbers.push(number);
                if !state.is_placed(partition, offset) {
                    return;
                }
                if offset != expected {
                    let problem = format!(
                        "record {number} was appended to partition {partition} at offset {offset} instead of {expected}"
                    );
                    state.problem.get_or_insert(problem);
                }
            }
            Err(_) => state.failed.push(number),
        }
    }

    /// Returns the number of records that were sent and not appended yet.
    pub(super) fn pending(&self) -> usize {
        let state = self.lock();
        state.sent.len() - state.appended.values().map(Vec::len).sum::<usize>()
    }

    /// Returns the end of each partition that has records.
    pub(super) fn ends(&self) -> Positions {
        let state = self.lock();
        let end = |(&partition, numbers): (&i32, &Vec<usize>)| (partition, numbers.len() as i64);
        state.appended.iter().map(end).collect()
    }

    /// Returns the number after the last record's.
    pub(super) fn next_number(&self) -> usize {
        self.first + self.lock().sent.len()
    }

    /// Whether an outcome is that of one of these records, by its key.
    pub(super) fn has_input_of(&self, outcome: &StoredRecord) -> bool {
        let key = outcome.key.as_deref().unwrap_or_default();
        let number = std::str::from_utf8(key)
            .ok()
            .and_then(|key| key.parse::<usize>().ok());
        number.is_some_and(|number| (self.first..self.next_number()).contains(&number))
    }

    /// Returns all records by partition and offset.
    ///
    /// # Errors
    /// If a record has another offset than the order of the delivery reports says.
    pub(super) fn records(&self) -> anyhow::Result<Vec<StoredRecord>> {
        let state = self.lock();
        if let Some(problem) = &state.problem {
            bail!("{problem}");
        }
        let mut records = Vec::new();
        for (&partition, numbers) in &state.appended {
            for (offset, number) in (0..).zip(numbers) {
                let sent = state.sent.get(number - self.first);
                let Sent {
                    key,
                    timestamp,
                    value,
                } = sent.context("an unknown record was appended")?;
                records.push(StoredRecord {
                    partition,
                    offset,
                    timestamp: Some(*timestamp),
                    key: Some(key.as_bytes().to_vec()),
                    value: value.clone(),
                    headers: Vec::new(),
                });
            }
        }
        Ok(records)
    }
}

impl DeliveryListener for InputLog {
    fn delivered(&self, delivery: Delivery<'_>) {
        let key = std::str::from_utf8(delivery.key.unwrap_or_default()).ok();
        if let Some(number) = key.and_then(|key| key.parse().ok()) {
            self.note(number, delivery.outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_known_by_the_order_in_which_they_were_appended() {
        let log = InputLog::new(10);
        for value in ["a", "b", "c"] {
            log.add(1, Some(value.into()));
        }
        let appended = |offset| Ok(PartitionOffset::new(0, offset));
        log.note(10, appended(0));
        log.note(11, Err("unknown partition".to_owned()));
        log.note(12, appended(-1001));
        assert_eq!(log.pending(), 1);
        assert_eq!(log.take_failed().unwrap().key, "11");
        log.note(11, appended(2));
        assert_eq!((log.pending(), log.ends()), (0, [(0, 3)].into()));
        let records = log.records().unwrap();
        let keys: Vec<_> = records
            .iter()
            .map(|record| (record.offset, record.key.as_deref().unwrap()))
            .collect();
        assert_eq!(keys, [(0, &b"10"[..]), (1, b"12"), (2, b"11")]);
        assert!(records.iter().all(|record| log.has_input_of(record)));
        assert!(!InputLog::new(13).has_input_of(&records[0]));
        log.add(1, None);
        log.note(13, appended(7));
        assert!(log.records().is_err());
    }

    #[test]
    fn a_batch_that_a_broker_had_appended_before_is_counted_from_minus_one() {
        let log = InputLog::new(0);
        for number in 0..6 {
            log.add(1, None);
            let offset = [0, 1, -1, 0, 1, 5][number];
            log.note(number, Ok(PartitionOffset::new(0, offset)));
        }
        assert_eq!(log.records().unwrap().len(), 6);
        log.add(1, None);
        log.note(6, Ok(PartitionOffset::new(0, 0)));
        assert!(log.records().is_err());
    }
}
