//! One order for the records of many partitions, the same however fast each of them is read.
//!
//! The record with the earliest timestamp comes first. A partition of which nothing has been read yet is waited for, unless
//! its end was seen: as Kafka Streams does it. So what has been written before comes in one order, whoever reads it and
//! however often; only what is written while it is being read may come in another.

use std::collections::{BTreeMap, VecDeque};

/// Records that may be kept back for a partition that brings neither a record nor its end.
const MOST_KEPT_BACK: usize = 50_000;

/// A topic that is read. Of records with the same timestamp, predictions come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The topic of predictions.
    Predictions,
    /// The topic of labels that come by themselves.
    Labels,
}

impl Topic {
    /// What metrics call its records.
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

/// The records that were read and not taken yet.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: BTreeMap<Lane, Queue<T>>,
    kept_back: usize,
}

impl<T> Merge<T> {
    /// Nothing of these partitions is read yet.
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
            kept_back: 0,
        }
    }

    /// A record of a partition, with its timestamp.
    pub fn push(&mut self, lane: Lane, timestamp: i64, record: T) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.records.push_back((timestamp, record));
            queue.is_at_end = false;
            self.kept_back += 1;
        }
    }

    /// The end of a partition, for now.
    pub fn end(&mut self, lane: Lane) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.is_at_end = true;
        }
    }

    /// Takes the next record, if it is known which that is.
    pub fn pop(&mut self) -> Option<(Lane, T)> {
        let is_unknown = |queue: &Queue<T>| queue.records.is_empty() && !queue.is_at_end;
        if self.kept_back < MOST_KEPT_BACK && self.lanes.values().any(is_unknown) {
            return None;
        }
        let heads = self
            .lanes
            .iter()
            .filter_map(|(lane, queue)| Some((queue.records.front()?.0, *lane)));
        let (_, lane) = heads.min()?;
        let (_, record) = self.lanes.get_mut(&lane)?.records.pop_front()?;
        self.kept_back -= 1;
        Some((lane, record))
    }

    /// Whether everything was taken, and every partition is at its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.kept_back == 0 && self.lanes.values().all(|queue| queue.is_at_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_timestamps_however_partitions_are_read() {
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
    fn a_partition_that_brings_nothing_is_not_waited_for_without_end() {
        let lane = |partition| (Topic::Predictions, partition);
        let mut merge = Merge::new([lane(0), lane(1)]);
        for time in 0..MOST_KEPT_BACK as i64 - 1 {
            merge.push(lane(0), time, ());
        }
        assert_eq!(merge.pop(), None);
        merge.push(lane(0), 0, ());
        assert_eq!(merge.pop(), Some((lane(0), ())));
        assert_eq!(merge.pop(), None);
    }
}
