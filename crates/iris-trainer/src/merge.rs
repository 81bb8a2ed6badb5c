//! Merges the records of many partitions into one order that does not depend on how fast each partition is read.
//!
//! The record with the earliest timestamp comes first. A partition without a record to compare is waited for, unless its end
//! has been reached, as in Kafka Streams. Records that were written before reading started therefore always come in the same
//! order; only records that are written meanwhile may come in a different one.

use std::collections::{BTreeMap, VecDeque};

/// The maximum number of records held back for a partition that returns neither a record nor its end.
const MAX_HELD_BACK: usize = 50_000;

/// A topic that the trainer reads. Among records with the same timestamp, predictions come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The topic of predictions.
    Predictions,
    /// The topic of labels.
    Labels,
}

impl Topic {
    /// Returns the label of its records in metrics.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Predictions => "prediction",
            Self::Labels => "label",
        }
    }
}

/// A partition of one of the topics.
pub type Lane = (Topic, i32);

#[derive(Debug)]
struct Queue<T> {
    records: VecDeque<(i64, T)>,
    is_at_end: bool,
}

/// The records that have been read and not taken yet.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: BTreeMap<Lane, Queue<T>>,
    held_back: usize,
}

impl<T> Merge<T> {
    /// Returns a merge of these partitions, without records.
    pub fn new(lanes: impl IntoIterator<Item = Lane>) -> Self {
        let queue = |lane| {
            let queue = Queue {
                records: VecDeque::new(),
                is_at_end: false,
            };
            (lane, queue)
        };
        Self {
            lanes: lanes.into_iter().map(queue).collect(),
            held_back: 0,
        }
    }

    /// Adds a record of a partition, with its timestamp.
    pub fn push(&mut self, lane: Lane, timestamp: i64, record: T) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.records.push_back((timestamp, record));
            queue.is_at_end = false;
            self.held_back += 1;
        }
    }

    /// Notes that a partition's end has been reached.
    pub fn end(&mut self, lane: Lane) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.is_at_end = true;
        }
    }

    /// Takes the next record. `None` if that is not known yet.
    pub fn pop(&mut self) -> Option<(Lane, T)> {
        let is_unknown = |queue: &Queue<T>| queue.records.is_empty() && !queue.is_at_end;
        if self.held_back < MAX_HELD_BACK && self.lanes.values().any(is_unknown) {
            return None;
        }
        let heads = self
            .lanes
            .iter()
            .filter_map(|(lane, queue)| Some((queue.records.front()?.0, *lane)));
        let (_, lane) = heads.min()?;
        let (_, record) = self.lanes.get_mut(&lane)?.records.pop_front()?;
        self.held_back -= 1;
        Some((lane, record))
    }

    /// Whether all records have been taken and every partition is at its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.held_back == 0 && self.lanes.values().all(|queue| queue.is_at_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_timestamp_order_however_partitions_are_read() {
        let topics = [Topic::Predictions, Topic::Labels];
        let records: Vec<(Lane, i64)> = (0..60)
            .map(|n| ((topics[usize::from(n % 2 == 1)], n % 3), i64::from(n / 5)))
            .collect();
        let lanes: Vec<Lane> = topics
            .iter()
            .flat_map(|&topic| (0..3).map(move |partition| (topic, partition)))
            .collect();
        let mut orders = Vec::new();
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut unread: BTreeMap<Lane, VecDeque<i64>> = BTreeMap::new();
            for &(lane, time) in &records {
                unread.entry(lane).or_default().push_back(time);
            }
            let mut merge = Merge::new(lanes.iter().copied());
            let mut order = Vec::new();
            while !merge.is_at_end() {
                let lane = lanes[random.usize(..lanes.len())];
                match unread.get_mut(&lane).and_then(VecDeque::pop_front) {
                    Some(time) => merge.push(lane, time, time),
                    None => merge.end(lane),
                }
                order.extend(std::iter::from_fn(|| merge.pop()));
            }
            assert_eq!(order.len(), records.len());
            assert!(order.is_sorted_by_key(|&(_, time)| time), "{order:?}");
            orders.push(order);
        }
        orders.dedup();
        assert_eq!(orders.len(), 1);
    }

    #[test]
    fn a_partition_without_records_is_not_waited_for_forever() {
        let lane = |partition| (Topic::Predictions, partition);
        let mut merge = Merge::new([lane(0), lane(1)]);
        for time in 0..MAX_HELD_BACK as i64 - 1 {
            merge.push(lane(0), time, ());
        }
        assert_eq!(merge.pop(), None);
        merge.push(lane(0), 0, ());
        assert_eq!(merge.pop(), Some((lane(0), ())));
        assert_eq!(merge.pop(), None);
    }
}
