//! Merges the records of many partitions into one order that does not depend on how fast each partition is read.
//!
//! The record with the earliest timestamp comes first. A partition without enough records to compare is waited for, unless
//! its end has been reached, as in Kafka Streams. Records that were written before reading started therefore always come in
//! the same order; only records that are written meanwhile may come in a different one.
//!
//! A record whose timestamp is too far ahead would delay all records after it in its partition. So a record that is more than
//! a minute ahead of the stream's time comes no later than the second earliest of the records that follow it; two are needed,
//! so that no single record moves others. Records that are earlier than the stream's time when the previous one was taken do
//! not count, because they may be replayed.

use std::collections::{BTreeMap, VecDeque};

/// The maximum number of records held back for a partition that returns neither a record nor its end.
const MAX_HELD_BACK: usize = 50_000;

/// The number of records that a record is compared with.
const AHEAD: usize = 50;

/// How far a record may be ahead of the stream's time without being compared with others, in milliseconds. The comparison
/// waits for records or the partition's end, which would delay those that have just been written.
const TOLERANCE: i64 = 60_000;

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
    /// The stream's time when the previous record was taken or, if that was not known, the first one.
    since: Option<i64>,
    /// The time at which the next record comes, if it has been determined.
    next: Option<i64>,
}

impl<T> Queue<T> {
    /// Whether the place of the next record in the order is known.
    fn is_known(&self) -> bool {
        let is_in_time = |&(timestamp, _): &(i64, T)| self.is_in_time(timestamp);
        self.is_at_end || self.records.len() > AHEAD || self.records.front().is_some_and(is_in_time)
    }

    fn is_in_time(&self, timestamp: i64) -> bool {
        let is_in_time = |since: i64| timestamp <= since.saturating_add(TOLERANCE);
        self.since.is_none_or(is_in_time)
    }

    /// Returns the time at which the next record comes.
    fn next(&mut self) -> Option<i64> {
        if self.next.is_none() {
            self.next = self.compare();
        }
        self.next
    }

    /// Compares the next record with those that follow it.
    fn compare(&self) -> Option<i64> {
        let mut records = self.records.iter().map(|&(timestamp, _)| timestamp);
        let own = records.next()?;
        if self.is_in_time(own) {
            return Some(own);
        }
        let (mut first, mut second) = (i64::MAX, i64::MAX);
        for timestamp in records
            .take(AHEAD)
            .filter(|&other| Some(other) >= self.since)
        {
            if timestamp < first {
                (first, second) = (timestamp, first);
            } else if timestamp < second {
                second = timestamp;
            }
        }
        // At a partition's end, one may have to do.
        let others = if self.records.len() > 2 {
            second
        } else {
            first
        };
        Some(own.min(others))
    }
}

/// The records that have been read and not taken yet.
#[derive(Debug)]
pub struct Merge<T> {
    lanes: BTreeMap<Lane, Queue<T>>,
    held_back: usize,
}

impl<T> Merge<T> {
    /// Returns a merge of these partitions, without records. With each comes the stream's time when its previous record was
    /// taken.
    pub fn new(lanes: impl IntoIterator<Item = (Lane, Option<i64>)>) -> Self {
        let queue = |(lane, since)| {
            let queue = Queue {
                records: VecDeque::new(),
                is_at_end: false,
                since,
                next: None,
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
            if queue.records.len() <= AHEAD + 1 {
                queue.next = None;
            }
            self.held_back += 1;
        }
    }

    /// Notes that a partition's end has been reached.
    pub fn end(&mut self, lane: Lane) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.is_at_end = true;
        }
    }

    /// Takes the next record of a stream whose time is `now`, if that is known. `None` if the next record is not known yet.
    pub fn pop(&mut self, now: Option<i64>) -> Option<(Lane, T)> {
        if now.is_some() {
            let lanes = self.lanes.values_mut();
            for queue in lanes.filter(|queue| queue.since.is_none()) {
                (queue.since, queue.next) = (now, None);
            }
        }
        if self.held_back < MAX_HELD_BACK && !self.lanes.values().all(Queue::is_known) {
            return None;
        }
        let lanes = self.lanes.iter_mut();
        let times = lanes.filter_map(|(lane, queue)| Some((queue.next()?, *lane)));
        let (_, lane) = times.min()?;
        let queue = self.lanes.get_mut(&lane)?;
        let (_, record) = queue.records.pop_front()?;
        queue.next = None;
        queue.since = now;
        self.held_back -= 1;
        Some((lane, record))
    }

    /// Returns each partition with the stream's time when its previous record was taken, if that is known.
    pub fn since(&self) -> impl Iterator<Item = (Lane, i64)> {
        let lanes = self.lanes.iter();
        lanes.filter_map(|(lane, queue)| Some((*lane, queue.since?)))
    }

    /// Whether all records have been taken and every partition is at its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.held_back == 0 && self.lanes.values().all(|queue| queue.is_at_end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::StreamClock;

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
            let mut merge = Merge::new(lanes.iter().map(|&lane| (lane, None)));
            let mut order = Vec::new();
            while !merge.is_at_end() {
                let lane = lanes[random.usize(..lanes.len())];
                match unread.get_mut(&lane).and_then(VecDeque::pop_front) {
                    Some(time) => merge.push(lane, time, time),
                    None => merge.end(lane),
                }
                order.extend(std::iter::from_fn(|| merge.pop(None)));
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
        let mut merge = Merge::new([lane(0), lane(1)].map(|lane| (lane, None)));
        for time in 0..MAX_HELD_BACK as i64 - 1 {
            merge.push(lane(0), time, ());
        }
        assert_eq!(merge.pop(None), None);
        merge.push(lane(0), 0, ());
        assert_eq!(merge.pop(None), Some((lane(0), ())));
        assert_eq!(merge.pop(None), None);
    }

    #[test]
    fn only_a_record_that_is_ahead_is_held_until_others_can_be_compared() {
        let lane = (Topic::Labels, 0);
        for (timestamp, is_held) in [(5, false), (60_000, false), (60_001, true)] {
            let mut merge = Merge::new([(lane, Some(0))]);
            merge.push(lane, timestamp, ());
            assert_eq!(merge.pop(Some(0)).is_none(), is_held, "{timestamp}");
            merge.end(lane);
            assert_eq!(merge.pop(Some(0)).is_some(), is_held, "{timestamp}");
        }
    }

    /// Returns the order of records, each with its number, that are all written before they are read.
    fn order(lanes: &[Vec<i64>]) -> Vec<(i32, usize)> {
        order_with_restarts(lanes, || false)
    }

    /// Returns the same, with a restart after some of the records.
    fn order_with_restarts(
        lanes: &[Vec<i64>],
        mut is_restarted: impl FnMut() -> bool,
    ) -> Vec<(i32, usize)> {
        let mut clock = StreamClock::new(WINDOW);
        let mut order = Vec::new();
        let mut merge = read(lanes, &order, &BTreeMap::new());
        while let Some(((_, partition), (timestamp, number))) = merge.pop(clock.now()) {
            clock.take(timestamp);
            order.push((partition, number));
            if is_restarted() {
                merge = read(lanes, &order, &merge.since().collect());
            }
        }
        order
    }

    /// Reads all records after those that have been taken.
    fn read(
        lanes: &[Vec<i64>],
        taken: &[(i32, usize)],
        since: &BTreeMap<Lane, i64>,
    ) -> Merge<(i64, usize)> {
        let lane = |partition| (Topic::Predictions, i32::try_from(partition).unwrap());
        let keys = (0..lanes.len()).map(lane);
        let mut merge = Merge::new(keys.map(|lane| (lane, since.get(&lane).copied())));
        for (partition, timestamps) in lanes.iter().enumerate() {
            let lane = lane(partition);
            let taken = taken.iter().filter(|(partition, _)| *partition == lane.1);
            let unread = timestamps.iter().enumerate().skip(taken.count());
            for (number, &timestamp) in unread {
                merge.push(lane, timestamp, (timestamp, number));
            }
            merge.end(lane);
        }
        merge
    }

    #[test]
    fn the_order_is_the_same_after_restarts() {
        let mut random = fastrand::Rng::with_seed(2);
        let mut lanes = partitions();
        for lane in &mut lanes {
            for _ in 0..lane.len() / 5 {
                let changed = random.usize(..lane.len());
                lane[changed] += random.i64(-4_000_000..4_000_000);
            }
        }
        let undisturbed = order(&lanes);
        let restarted = order_with_restarts(&lanes, || random.u8(..50) == 0);
        assert!(restarted == undisturbed);
    }

    const WINDOW: i64 = 1_800_000;

    /// Three partitions with a record every 1, 10 and 300 seconds.
    fn partitions() -> Vec<Vec<i64>> {
        [1_000, 10_000, 300_000]
            .map(|step| (0..6_000_000 / step).map(|n| n * step).collect())
            .to_vec()
    }

    #[test]
    fn a_burst_that_is_ahead_does_not_delay_its_partition() {
        let mut lanes = partitions();
        let undisturbed = order(&lanes);
        for timestamp in &mut lanes[1][100..120] {
            *timestamp += 3_300_000;
        }
        let place = |order: &[(i32, usize)], record| {
            order.iter().position(|&other| other == record).unwrap()
        };
        let disturbed = order(&lanes);
        for number in 90..600 {
            let places = [&undisturbed, &disturbed].map(|order| place(order, (1, number)));
            // The records of the burst come with those after it.
            let moved = places[0].abs_diff(places[1]);
            assert!(moved <= 300, "record {number}: {places:?}");
        }
    }

    #[test]
    fn replayed_records_do_not_move_those_before_them() {
        let mut lanes = partitions();
        let undisturbed = order(&lanes);
        let replayed = (0..10).map(|n| n - 9_000_000);
        lanes[2].splice(15..15, replayed);
        let places = |order: &[(i32, usize)]| {
            let places = order.iter().enumerate();
            let before = places.filter(|(_, (lane, number))| *lane == 2 && *number < 15);
            before.map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert_eq!(places(&order(&lanes)), places(&undisturbed));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn no_single_record_moves_another_by_more_than_a_minute_and_two_records_of_its_partition(
            partition in 0_usize..3,
            changed in any::<prop::sample::Index>(),
            timestamp in prop_oneof![any::<i64>(), -1_000_000_i64..8_000_000],
        ) {
            let mut lanes = partitions();
            // The times of the records of each partition in the order, by the records of the first one.
            let times = |order: &[(i32, usize)]| {
                let mut now = 0;
                let mut times: Vec<Vec<usize>> = vec![Vec::new(); 3];
                for &(partition, number) in order {
                    if partition == 0 {
                        now = number;
                    }
                    times[usize::try_from(partition).unwrap()].push(now);
                }
                times
            };
            let undisturbed = times(&order(&lanes));
            let changed = changed.index(lanes[partition].len());
            lanes[partition][changed] = timestamp;
            let disturbed = times(&order(&lanes));
            let own_bound = 60 + 2 * [1, 10, 300][partition];
            for lane in 0..3 {
                let places = undisturbed[lane].iter().zip(&disturbed[lane]);
                for (number, (before, after)) in places.enumerate() {
                    if (lane, number) == (partition, changed) {
                        continue;
                    }
                    let moved = before.abs_diff(*after);
                    // The records of the first partition measure the time: if they come later, all others come earlier.
                    let bound = if lane == partition || partition == 0 { own_bound } else { 2 };
                    prop_assert!(moved <= bound, "partition {lane}: {before} {after}");
                }
            }
        }
    }
}
