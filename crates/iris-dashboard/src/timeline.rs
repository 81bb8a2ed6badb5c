//! What happened when: the transactions of each second for an hour, and of each minute for as long as figures go back.

use std::collections::{BTreeMap, BTreeSet};

use iris_contract::{CountsBy, TransactionSummary};
use iris_core::ModelVersion;

use crate::range::{Range, Window, bucket_of};

/// The seconds over which accuracy is taken, at the least.
const ACCURACY_SECONDS: i64 = 60;

/// How many seconds are kept one by one. Windows with buckets shorter than a minute, and the minute before them that their
/// first accuracy needs, are within.
const KEPT_SECONDS: i64 = 3_720;

/// Seconds in a minute.
const MINUTE: i64 = 60;

/// The history that is kept unless another one is set, in seconds.
const DEFAULT_HISTORY_S: i64 = 86_400;

/// What the transactions of a stretch of time did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records with an outcome.
    pub records: u64,
    /// These, by partition.
    pub by_partition: CountsBy<i32>,
    /// Labelled predictions.
    pub evaluated: u64,
    /// Of these, right ones.
    pub right: u64,
    /// Outcomes by the upper bound of their latency in milliseconds.
    pub latency_ms: CountsBy<u64>,
    /// The models that predicted.
    pub versions: BTreeSet<ModelVersion>,
}

impl Counts {
    fn add(&mut self, summary: &TransactionSummary) {
        for (&partition, progress) in &summary.partitions {
            self.records += progress.records;
            *self.by_partition.entry(partition).or_default() += progress.records;
        }
        self.evaluated += summary.evaluations.total();
        self.right += summary.evaluations.right();
        merge(&mut self.latency_ms, &summary.latency_ms);
        self.versions.insert(summary.model_version);
    }

    fn add_all(&mut self, other: &Self) {
        self.records += other.records;
        merge(&mut self.by_partition, &other.by_partition);
        self.evaluated += other.evaluated;
        self.right += other.right;
        merge(&mut self.latency_ms, &other.latency_ms);
        self.versions.extend(&other.versions);
    }
}

fn merge<K: Ord + Copy>(counts: &mut CountsBy<K>, more: &CountsBy<K>) {
    for (&key, &count) in more {
        *counts.entry(key).or_default() += count;
    }
}

fn forget_before(counts: &mut BTreeMap<i64, Counts>, oldest: i64) {
    while counts.first_key_value().is_some_and(|(&at, _)| at < oldest) {
        counts.pop_first();
    }
}

/// The transactions by time. Times are in seconds since the epoch.
#[derive(Clone, Debug)]
pub struct Timeline {
    history_s: i64,
    seconds: BTreeMap<i64, Counts>,
    /// By the minute's first second.
    minutes: BTreeMap<i64, Counts>,
    /// Until when all transactions are known, in milliseconds; `None` before the topic was read to its end.
    known_until_ms: Option<i64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(DEFAULT_HISTORY_S)
    }
}

impl Timeline {
    /// An empty timeline that keeps so many seconds of history, in minutes.
    #[must_use]
    pub fn new(history_s: i64) -> Self {
        Self {
            history_s,
            seconds: BTreeMap::new(),
            minutes: BTreeMap::new(),
            known_until_ms: None,
        }
    }

    /// Adds a transaction that ended at a time, in milliseconds since the epoch.
    pub fn add(&mut self, summary: &TransactionSummary, at_ms: i64) {
        let at = at_ms.div_euclid(1000);
        let minute = bucket_of(at, MINUTE);
        self.seconds.entry(at).or_default().add(summary);
        self.minutes.entry(minute).or_default().add(summary);
        if let Some(newest) = self.last_s() {
            forget_before(&mut self.seconds, newest - KEPT_SECONDS);
            let oldest = bucket_of(newest.saturating_sub(self.history_s), MINUTE);
            forget_before(&mut self.minutes, oldest);
        }
    }

    /// Notes that all transactions until a time, in milliseconds since the epoch, have been added.
    pub fn is_known_until(&mut self, at_ms: i64) {
        self.known_until_ms = Some(at_ms);
    }

    /// Until when all transactions are known, in milliseconds since the epoch; `None` before the topic was read to its end.
    #[must_use]
    pub fn known_until_ms(&self) -> Option<i64> {
        self.known_until_ms
    }

    /// The last second of which anything is known.
    fn known_until_s(&self) -> Option<i64> {
        let known = self.known_until_ms.map(|ms| ms.div_euclid(1000));
        known.max(self.last_s())
    }

    /// The second of the last transaction.
    fn last_s(&self) -> Option<i64> {
        self.seconds.last_key_value().map(|(&at, _)| at)
    }

    /// The second of the first transaction, or the start of its minute.
    fn first_s(&self) -> Option<i64> {
        let (&minute, _) = self.minutes.first_key_value()?;
        let (&second, _) = self.seconds.first_key_value()?;
        Some(if bucket_of(second, MINUTE) == minute {
            second
        } else {
            minute
        })
    }

    /// The transactions of the seconds from one to another, without the latter, in buckets that start at multiples of
    /// `step`; buckets without a transaction are left out. Every transaction is in one bucket.
    fn sums(&self, from: i64, to: i64, step: i64) -> BTreeMap<i64, Counts> {
        let mut sums: BTreeMap<i64, Counts> = BTreeMap::new();
        let mut add = |at: i64, counts: &Counts| {
            let bucket = bucket_of(at, step);
            sums.entry(bucket).or_default().add_all(counts);
        };
        // Whole minutes where buckets consist of them; what is left at the end, second by second.
        let split = if step % MINUTE == 0 {
            bucket_of(to, MINUTE).max(from)
        } else {
            from
        };
        for (&at, counts) in self.minutes.range(from..split) {
            add(at, counts);
        }
        for (&at, counts) in self.seconds.range(split..to.max(split)) {
            add(at, counts);
        }
        sums
    }

    /// What a range shows at a moment; `None` before the first transaction.
    #[must_use]
    pub fn slice(&self, range: Range, now_s: i64) -> Option<Slice> {
        let (first_s, last_s) = (self.first_s()?, self.last_s()?);
        let window = range.window(first_s, last_s, now_s);
        let before = ACCURACY_SECONDS.max(window.step_s);
        Some(Slice {
            window,
            sums: self.sums(window.from_s - before, window.to_s, window.step_s),
            known: (first_s, self.known_until_s()? + 1),
        })
    }

    /// Records per second over a number of seconds that ended at a time; `None` if it is not known to the end.
    #[must_use]
    pub fn rate(&self, seconds: i64, now_s: i64) -> Option<f64> {
        self.rate_by(seconds, now_s, |counts| counts.records)
    }

    /// These, of one partition.
    #[must_use]
    pub fn rate_of(&self, partition: i32, seconds: i64, now_s: i64) -> Option<f64> {
        self.rate_by(seconds, now_s, |counts| {
            counts
                .by_partition
                .get(&partition)
                .copied()
                .unwrap_or_default()
        })
    }

    fn rate_by(&self, seconds: i64, now_s: i64, records: impl Fn(&Counts) -> u64) -> Option<f64> {
        // A topic that could not be read lately may have had more.
        if self.known_until_s()? + 1 < now_s {
            return None;
        }
        let records: u64 = self
            .seconds
            .range(now_s - seconds..now_s)
            .map(|(_, counts)| records(counts))
            .sum();
        Some(records as f64 / seconds as f64)
    }
}

/// A bucket of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its first second.
    pub at_s: i64,
    /// Its length in seconds.
    pub seconds: i64,
    /// What its transactions did.
    pub counts: Counts,
}

impl Bucket {
    /// Records per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.counts.records as f64 / self.seconds as f64
    }
}

/// The transactions of a window, and of the time before it over which its first accuracy is taken.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The window.
    pub window: Window,
    sums: BTreeMap<i64, Counts>,
    /// The first second that is known, and the one after the last.
    known: (i64, i64),
}

impl Slice {
    /// The buckets of the window. Those of which nothing is known, before the first transaction or after the topic was last
    /// read, are left out; known ones without a transaction are not.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let (first, end) = self.known;
        self.window
            .buckets()
            .filter(move |&(at_s, seconds)| at_s + seconds > first && at_s < end)
            .map(|(at_s, seconds)| Bucket {
                at_s,
                seconds,
                counts: self.sums.get(&at_s).cloned().unwrap_or_default(),
            })
    }

    /// The seconds over which each accuracy is taken.
    #[must_use]
    pub fn accuracy_seconds(&self) -> i64 {
        ACCURACY_SECONDS.max(self.window.step_s)
    }

    /// For each bucket its start and the accuracy over the [seconds](Self::accuracy_seconds) that end with it; `None` if no
    /// record of these had a label.
    pub fn accuracy(&self) -> impl Iterator<Item = (i64, Option<f64>)> {
        let before = self.accuracy_seconds() - self.window.step_s;
        self.window.buckets().map(move |(at_s, _)| {
            let (right, evaluated) = self.sums.range(at_s - before..=at_s).fold(
                (0, 0),
                |(right, evaluated), (_, counts)| {
                    (right + counts.right, evaluated + counts.evaluated)
                },
            );
            let accuracy = (evaluated > 0).then(|| right as f64 / evaluated as f64);
            (at_s, accuracy)
        })
    }

    /// Outcomes of the window by latency.
    #[must_use]
    pub fn latency_ms(&self) -> CountsBy<u64> {
        let mut latency_ms = CountsBy::new();
        for (_, counts) in self.sums.range(self.window.from_s..) {
            merge(&mut latency_ms, &counts.latency_ms);
        }
        latency_ms
    }
}

/// The bound below which a share of the outcomes lies; `None` if there are none.
#[must_use]
pub fn quantile(counts: &CountsBy<u64>, share: f64) -> Option<u64> {
    let all: u64 = counts.values().sum();
    let wanted = share * all as f64;
    let mut below = 0;
    counts
        .iter()
        .find(|&(_, &count)| {
            below += count;
            below as f64 >= wanted
        })
        .map(|(&bound, _)| bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;

    fn slice(timeline: &Timeline, range: Range, now_s: i64) -> Slice {
        timeline.slice(range, now_s).unwrap()
    }

    #[test]
    fn rates_are_over_whole_seconds_and_unknown_where_nothing_was_read() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.rate(5, 3), None);
        timeline.add(&summary(0, 10, 10), 1_000);
        timeline.add(&summary(0, 20, 30), 1_999);
        timeline.add(&summary(1, 6, 6), 2_000);
        assert_eq!(timeline.rate(2, 3), Some(18.0));
        assert_eq!(timeline.rate_of(0, 2, 3), Some(15.0));
        assert_eq!(timeline.rate(2, 9), None);
        timeline.is_known_until(9_000);
        assert_eq!(timeline.rate(2, 9), Some(0.0));
    }

    #[test]
    fn accuracy_is_over_the_minute_before_and_has_a_gap_where_no_record_had_a_label() {
        let mut timeline = Timeline::default();
        timeline.add(&summary(0, 10, 10), 1_000_000);
        timeline.add(&summary(0, 30, 40), 1_002_000);
        // Of each, one is wrong.
        let minute = slice(&timeline, Range::Minute, 1_010);
        let at = |at: i64| minute.accuracy().find(|&(start, _)| start == at).unwrap().1;
        assert_eq!(at(999), None);
        assert_eq!((at(1_001), at(1_002)), (Some(0.9), Some(38.0 / 40.0)));
        let later = slice(&timeline, Range::QuarterHour, 1_200);
        let gap = later.accuracy().last().unwrap();
        assert_eq!(gap, (1_190, None));
    }

    #[test]
    fn buckets_before_the_first_transaction_and_after_the_last_look_are_left_out() {
        let mut timeline = Timeline::default();
        timeline.add(&summary(0, 10, 10), 1_000_000);
        timeline.add(&summary(0, 10, 20), 1_002_000);
        let starts = |timeline: &Timeline| -> Vec<i64> {
            slice(timeline, Range::Minute, 1_010)
                .buckets()
                .map(|bucket| bucket.at_s)
                .collect()
        };
        assert_eq!(starts(&timeline), [1_000, 1_001, 1_002]);
        timeline.is_known_until(1_004_500);
        assert_eq!(starts(&timeline), [1_000, 1_001, 1_002, 1_003, 1_004]);
    }

    #[test]
    fn sums_are_exact_however_coarse_the_buckets_are() {
        let mut timeline = Timeline::default();
        let mut added: Vec<(i64, u64)> = Vec::new();
        let mut at = 50_000;
        // Thicker at the end than at the beginning, about a day in all.
        for number in 1..400_i64 {
            let records = number.unsigned_abs() % 7 + 1;
            timeline.add(&summary(0, records, number), at * 1000 + 500);
            added.push((at, records));
            at += (400 - number) * 2 % 431 + 1;
        }
        let (first, last) = (added[0].0, at);
        for now in [
            last - 1,
            last,
            last + 59,
            last + 61,
            last + 10_000,
            last + 100_000,
        ] {
            for range in Range::EVERY {
                let slice = slice(&timeline, range, now);
                let Window { from_s, to_s, .. } = slice.window;
                let expected: u64 = added
                    .iter()
                    .filter(|(at, _)| (from_s..to_s).contains(at))
                    .map(|(_, records)| records)
                    .sum();
                let shown: u64 = slice.buckets().map(|bucket| bucket.counts.records).sum();
                assert_eq!(shown, expected, "{range:?} at {now}");
                assert!(shown > 0, "{range:?} at {now}");
                assert_eq!(slice.latency_ms().values().sum::<u64>(), expected);
            }
        }
        let everything = slice(&timeline, Range::All, last + 1);
        assert!(everything.window.from_s <= first);
        assert!(everything.window.step_s >= MINUTE);
    }

    #[test]
    fn seconds_are_kept_for_an_hour_and_minutes_for_the_history() {
        let mut timeline = Timeline::new(7_200);
        for at in [0, 10_000, 16_000, 16_010] {
            timeline.add(&summary(0, 1, 1), at * 1000);
        }
        assert_eq!(timeline.minutes.len(), 2);
        assert_eq!(timeline.seconds.len(), 2);
        // A transaction that is read late counts where it belongs.
        timeline.add(&summary(0, 5, 5), 9_000_000);
        assert_eq!(timeline.seconds.len(), 2);
        let all: u64 = slice(&timeline, Range::All, 16_011)
            .buckets()
            .map(|bucket| bucket.counts.records)
            .sum();
        assert_eq!(all, 8);
    }

    #[test]
    fn a_quantile_is_the_bound_that_covers_it() {
        let counts: CountsBy<u64> = [(5, 90), (10, 9), (u64::MAX, 1)].into();
        assert_eq!(quantile(&counts, 0.5), Some(5));
        assert_eq!(quantile(&counts, 0.99), Some(10));
        assert_eq!(quantile(&counts, 1.0), Some(u64::MAX));
        assert_eq!(quantile(&CountsBy::new(), 0.5), None);
    }
}
