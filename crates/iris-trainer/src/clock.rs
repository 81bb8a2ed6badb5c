//! The time of the stream, by the timestamps of its records, that no single record can move.
//!
//! The time is the median of the latest timestamps. It never goes back. A record whose timestamp is far ahead, or many such
//! records of one device, do not change it, and neither do old records that are replayed. It depends only on the records and
//! their order, unlike the time of processing: reading the same records again shows the same times.
//!
//! A record has the time at which half of those timestamps are later than its own place in the stream, not its own
//! timestamp: a replayed record counts as new, and a record after a pause is not older than it is.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The number of latest timestamps. Fewer than half of them may be wrong.
const WIDTH: usize = 101;

/// The number of timestamps from which there is a time.
const MIN_WIDTH: usize = 11;

/// The ratio of the window to the precision at which the age of records is known.
const PRECISION: i64 = 64;

/// The time at a place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reading {
    time: i64,
    /// The number of the record at this place.
    record: u64,
}

/// The stored form of [`StreamClock`]. The names in its JSON are a wire format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredClock {
    records: u64,
    now: Option<i64>,
    latest: VecDeque<i64>,
    readings: VecDeque<Reading>,
}

/// The time of the stream, and the times at which the records of the last window came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamClock {
    /// In milliseconds.
    window: i64,
    stored: StoredClock,
    /// The latest timestamps in ascending order.
    sorted: Vec<i64>,
}

impl StreamClock {
    /// Returns a clock before the first record. Records expire after `window_ms`.
    #[must_use]
    pub fn new(window_ms: i64) -> Self {
        Self::restore(window_ms, StoredClock::default())
    }

    /// Continues from a stored clock. Records expire after `window_ms`.
    #[must_use]
    pub fn restore(window_ms: i64, stored: StoredClock) -> Self {
        let mut sorted: Vec<i64> = stored.latest.iter().copied().collect();
        sorted.sort_unstable();
        Self {
            window: window_ms,
            stored,
            sorted,
        }
    }

    /// Returns the stored form.
    #[must_use]
    pub fn store(&self) -> StoredClock {
        self.stored.clone()
    }

    /// Returns the time in milliseconds since the epoch. `None` before there have been enough records.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.stored.now
    }

    /// Adds the timestamp of the next record. Returns the record's number, from 1.
    pub fn take(&mut self, timestamp: i64) -> u64 {
        let clock = &mut self.stored;
        clock.records += 1;
        clock.latest.push_back(timestamp);
        let position = self.sorted.partition_point(|&other| other < timestamp);
        self.sorted.insert(position, timestamp);
        if clock.latest.len() > WIDTH
            && let Some(oldest) = clock.latest.pop_front()
        {
            let position = self.sorted.partition_point(|&other| other < oldest);
            self.sorted.remove(position);
        }
        if clock.latest.len() >= MIN_WIDTH {
            self.read();
        }
        self.stored.records
    }

    /// Moves the time forward, and notes it for the record in the middle of the latest ones.
    fn read(&mut self) {
        let middle = (self.sorted.len() - 1) / 2;
        let clock = &mut self.stored;
        let median = self.sorted.get(middle).copied().unwrap_or_default();
        let time = clock.now.map_or(median, |now| now.max(median));
        clock.now = Some(time);
        let later = (clock.latest.len() - 1 - middle) as u64;
        let record = clock.records - later;
        // The last reading is replaced by a later one, unless that would make its records too new.
        let step = (self.window / PRECISION).max(1);
        let before_last = clock.readings.iter().nth_back(1);
        if before_last.is_some_and(|before| time.saturating_sub(before.time) < step) {
            clock.readings.pop_back();
        }
        clock.readings.push_back(Reading { time, record });
    }

    /// Returns the number up to which records are older than the window, if it has changed since the last call.
    pub fn expire(&mut self) -> Option<u64> {
        let clock = &mut self.stored;
        let now = clock.now?;
        let mut expired = None;
        while let Some(oldest) = clock.readings.front() {
            if now.saturating_sub(oldest.time) <= self.window {
                break;
            }
            expired = Some(oldest.record);
            clock.readings.pop_front();
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = 64_000;

    fn clock() -> StreamClock {
        StreamClock::new(WINDOW)
    }

    /// Returns the time after each record, and the number up to which records have expired.
    fn run(timestamps: impl IntoIterator<Item = i64>) -> Vec<(Option<i64>, u64)> {
        let mut clock = clock();
        let mut expired = 0;
        let take = |timestamp| {
            clock.take(timestamp);
            expired = clock.expire().unwrap_or(expired);
            (clock.now(), expired)
        };
        timestamps.into_iter().map(take).collect()
    }

    #[test]
    fn records_expire_after_the_window_and_half_the_latest_records() {
        // One record per second: 64 records per window.
        let times = run((0..1_000).map(|n| n * 1_000));
        assert_eq!(times[9], (None, 0));
        assert_eq!(times[10], (Some(5_000), 0));
        for (now, (time, expired)) in (0..).zip(&times).skip(400) {
            assert_eq!(*time, Some((now - 50) * 1_000));
            // The newest of the expired records has the number `expired`, and the timestamp `expired - 1`.
            let age = now - 50 - (i64::try_from(*expired).unwrap() - 1);
            assert!((65..=66).contains(&age), "{age}");
        }
    }

    #[test]
    fn a_record_after_a_pause_is_new() {
        let before = (0..200).map(|n| n * 1_000);
        let after = (0..200).map(|n| 10_000_000 + n * 10);
        let times = run(before.chain(after));
        assert_eq!(times.last(), Some(&(Some(10_001_490), 200)));
    }

    #[test]
    fn replayed_records_are_new_and_do_not_set_the_clock_back() {
        let live = || (0..200).map(|n| 90_000_000 + n * 10);
        let times = run(live().chain(0..200).chain(live()));
        assert!(
            times
                .iter()
                .skip(200)
                .all(|&(time, expired)| { time >= Some(90_001_490) && expired == 0 })
        );
    }

    #[test]
    fn a_device_ahead_does_not_move_the_clock() {
        let times = run((0..2_000).map(|n| if n % 5 == 3 { n + 3_300_000 } else { n }));
        assert!(
            times
                .iter()
                .all(|&(time, expired)| time < Some(2_000) && expired == 0)
        );
    }

    #[test]
    fn the_readings_are_bounded_and_continue_after_they_are_stored() {
        let mut clock = clock();
        for n in 0..100_000 {
            clock.take(n);
            let json = (n % 1_000 == 7).then(|| serde_json::to_string(&clock.store()).unwrap());
            if let Some(json) = json {
                let stored = serde_json::from_str(&json).unwrap();
                let restored = StreamClock::restore(WINDOW, stored);
                assert_eq!(restored, clock);
                clock = restored;
            }
            clock.expire();
            assert!(clock.stored.readings.len() <= 70);
        }
    }

    proptest! {
        #[test]
        fn no_single_record_moves_the_clock_by_more_than_one_step(
            steps in proptest::collection::vec(0_i64..1_000, 1..400),
            changed in any::<prop::sample::Index>(),
            timestamp in any::<i64>(),
        ) {
            let mut timestamps: Vec<i64> = steps
                .iter()
                .scan(0, |time, step| {
                    *time += step;
                    Some(*time)
                })
                .collect();
            let undisturbed = run(timestamps.clone());
            timestamps[changed.index(steps.len())] = timestamp;
            for ((time, _), (disturbed, _)) in undisturbed.iter().zip(run(timestamps)) {
                prop_assert_eq!(time.is_some(), disturbed.is_some());
                let (time, disturbed) = (time.unwrap_or_default(), disturbed.unwrap_or_default());
                prop_assert!(time.abs_diff(disturbed) <= 1_000, "{} {}", time, disturbed);
            }
        }
    }
}
