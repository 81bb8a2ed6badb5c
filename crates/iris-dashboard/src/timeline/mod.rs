//! The transactions by time: of each second for an hour, and of each minute for the whole history.

mod counts;
mod slice;

use std::collections::BTreeMap;

use iris_contract::TransactionSummary;

use crate::range::{Range, bucket_of};
pub use counts::{Counts, quantile};
use slice::MIN_ACCURACY_SECONDS;
pub use slice::{Bucket, Slice};

/// The number of seconds that are kept one by one. They cover windows with buckets shorter than a minute, and the minute before
/// them that their first accuracy needs.
const KEPT_SECONDS: i64 = 3_720;

/// Seconds in a minute.
const MINUTE: i64 = 60;

/// The default length of the history, in seconds.
const DEFAULT_HISTORY_S: i64 = 86_400;

/// Removes the sums before a time.
fn forget_before(counts: &mut BTreeMap<i64, Counts>, oldest: i64) {
    while counts.first_key_value().is_some_and(|(&at, _)| at < oldest) {
        counts.pop_first();
    }
}

/// The sums of transactions by time. Times are in seconds since the epoch.
#[derive(Clone, Debug)]
pub struct Timeline {
    history_s: i64,
    seconds: BTreeMap<i64, Counts>,
    /// The sums by the first second of the minute.
    minutes: BTreeMap<i64, Counts>,
    /// All transactions until this time are known, in milliseconds; `None` until the topic has been read to its end.
    known_until_ms: Option<i64>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new(DEFAULT_HISTORY_S)
    }
}

impl Timeline {
    /// Returns an empty timeline that keeps this many seconds of history, by minutes.
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

    /// Returns the time until which all transactions are known, in milliseconds since the epoch; `None` until the topic has been
    /// read to its end.
    #[must_use]
    pub fn known_until_ms(&self) -> Option<i64> {
        self.known_until_ms
    }

    /// Returns the last second with known results.
    fn known_until_s(&self) -> Option<i64> {
        let known = self.known_until_ms.map(|ms| ms.div_euclid(1000));
        known.max(self.last_s())
    }

    /// Returns the second of the last transaction.
    fn last_s(&self) -> Option<i64> {
        self.seconds.last_key_value().map(|(&at, _)| at)
    }

    /// Returns the second of the first transaction, or the start of its minute.
    fn first_s(&self) -> Option<i64> {
        let (&minute, _) = self.minutes.first_key_value()?;
        let (&second, _) = self.seconds.first_key_value()?;
        Some(if bucket_of(second, MINUTE) == minute {
            second
        } else {
            minute
        })
    }

    /// Returns the sums of the seconds `from..to`, in buckets that start at multiples of `step`. Each transaction is in one
    /// bucket. Buckets without a transaction are left out.
    fn sums(&self, from: i64, to: i64, step: i64) -> BTreeMap<i64, Counts> {
        let mut sums: BTreeMap<i64, Counts> = BTreeMap::new();
        let mut add = |at: i64, counts: &Counts| {
            let bucket = bucket_of(at, step);
            sums.entry(bucket).or_default().add_all(counts);
        };
        // Buckets of whole minutes are summed by minute, and the rest at the end by second.
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

    /// Returns the transactions that a range shows at a time; `None` before the first transaction.
    #[must_use]
    pub fn slice(&self, range: Range, now_s: i64) -> Option<Slice> {
        let (first_s, last_s) = (self.first_s()?, self.last_s()?);
        let window = range.window(first_s, last_s, now_s);
        let before = MIN_ACCURACY_SECONDS.max(window.step_s);
        Some(Slice {
            window,
            sums: self.sums(window.from_s - before, window.to_s, window.step_s),
            known: (first_s, self.known_until_s()? + 1),
        })
    }

    /// Returns the records per second over the last `seconds` before a time; `None` if they are not known to the end.
    #[must_use]
    pub fn rate(&self, seconds: i64, now_s: i64) -> Option<f64> {
        self.rate_by(seconds, now_s, |counts| counts.records)
    }

    /// Returns the [rate](Self::rate) of one partition.
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
        // The topic may have records that could not be read yet.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;
    use crate::range::Window;

    fn slice(timeline: &Timeline, range: Range, now_s: i64) -> Slice {
        timeline.slice(range, now_s).unwrap()
    }

    #[test]
    fn rates_are_over_whole_seconds_and_unknown_after_the_last_reading() {
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
    fn accuracy_is_over_a_minute_and_has_a_gap_without_labels() {
        let mut timeline = Timeline::default();
        timeline.add(&summary(0, 10, 10), 1_000_000);
        timeline.add(&summary(0, 30, 40), 1_002_000);
        // One record of each transaction is wrong.
        let minute = slice(&timeline, Range::Minute, 1_010);
        let at = |at: i64| minute.accuracy().find(|&(start, _)| start == at).unwrap().1;
        assert_eq!(at(999), None);
        assert_eq!((at(1_001), at(1_002)), (Some(0.9), Some(38.0 / 40.0)));
        let later = slice(&timeline, Range::QuarterHour, 1_200);
        let gap = later.accuracy().last().unwrap();
        assert_eq!(gap, (1_190, None));
    }

    #[test]
    fn buckets_before_the_first_transaction_and_after_the_last_reading_are_left_out() {
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
    fn sums_are_exact_for_every_length_of_bucket() {
        let mut timeline = Timeline::default();
        let mut added: Vec<(i64, u64)> = Vec::new();
        let mut at = 50_000;
        // About a day, with more transactions at the end than at the beginning.
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
        // A transaction that is read late counts at its own time.
        timeline.add(&summary(0, 5, 5), 9_000_000);
        assert_eq!(timeline.seconds.len(), 2);
        let all: u64 = slice(&timeline, Range::All, 16_011)
            .buckets()
            .map(|bucket| bucket.counts.records)
            .sum();
        assert_eq!(all, 8);
    }
}
