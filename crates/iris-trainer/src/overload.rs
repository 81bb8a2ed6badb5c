//! Overload: how many of the records the trainer takes when the stream is faster than it is.
//!
//! A trainer that does not process all that is available within a quarter of the maximum takes every second id, then every fourth,
//! and so on, until it does; later it takes more again, step by step. The records that it leaves out are counted. Deliberately
//! absent: clocks.

use std::time::{Duration, Instant};

/// The smallest ratio of records that are taken.
const MIN_RATIO: f64 = 1.0 / 1024.0;

/// The trainer takes fewer records when it has been behind for this part of the maximum, and again after each further step. So
/// the smallest ratio is reached in little more than half of the maximum, and the rest is left to catch up.
const BEHIND: u32 = 4;

/// The time between two smaller ratios, as a part of the maximum.
const STEP: u32 = 32;

/// The ratio of records to take, by how long the trainer has been behind.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    /// How long the trainer may be behind; `None`: without limit.
    max_lag: Option<Duration>,
    /// When all available records had been processed.
    drained: Instant,
    /// When the ratio changed.
    changed: Instant,
    ratio: f64,
}

impl Overload {
    /// Takes all records until the trainer is behind.
    pub(crate) fn new(max_lag: Option<Duration>, now: Instant) -> Self {
        Self {
            max_lag,
            drained: now,
            changed: now,
            ratio: 1.0,
        }
    }

    /// Returns the ratio of records to take.
    pub(crate) fn ratio(&self) -> f64 {
        self.ratio
    }

    /// Notes whether all available records have been processed. Returns the ratio if it changes.
    pub(crate) fn observe(&mut self, is_drained: bool, now: Instant) -> Option<f64> {
        let max_lag = self.max_lag?;
        let since_change = now.saturating_duration_since(self.changed);
        if is_drained {
            self.drained = now;
            if self.ratio < 1.0 && since_change >= max_lag / 2 {
                return Some(self.change(self.ratio * 2.0, now));
            }
            return None;
        }
        let behind = now.saturating_duration_since(self.drained);
        let is_due = behind >= max_lag / BEHIND && since_change >= max_lag / STEP;
        (is_due && self.ratio > MIN_RATIO).then(|| self.change(self.ratio / 2.0, now))
    }

    fn change(&mut self, ratio: f64, now: Instant) -> f64 {
        self.changed = now;
        self.ratio = ratio;
        ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(16);

    /// A trainer that takes `capacity` records a second of a stream. Returns its largest lag in seconds of the stream, and the
    /// ratio, after each second.
    fn simulate(seconds: u64, rate: impl Fn(u64) -> f64, capacity: f64) -> (Vec<f64>, Vec<f64>) {
        let start = Instant::now();
        let mut overload = Overload::new(Some(MAX_LAG), start);
        let (mut waiting, mut lags, mut ratios) = (0.0_f64, Vec::new(), Vec::new());
        for second in 1..=seconds {
            waiting += rate(second);
            // A record that is left out costs a hundredth of one that is taken.
            let cost = overload.ratio() + (1.0 - overload.ratio()) / 100.0;
            waiting = (waiting - capacity / cost).max(0.0);
            lags.push(waiting / rate(second));
            overload.observe(waiting == 0.0, start + Duration::from_secs(second));
            ratios.push(overload.ratio());
        }
        (lags, ratios)
    }

    #[test]
    fn the_lag_stays_below_its_maximum_and_all_records_are_taken_again_afterwards() {
        for factor in [0.5, 0.99, 1.5, 3.0, 10.0, 40.0] {
            let rate = |second| if second <= 300 { factor * 1e3 } else { 100.0 };
            let (lags, ratios) = simulate(600, rate, 1e3);
            let longest = lags.into_iter().fold(0.0, f64::max);
            assert!(longest <= MAX_LAG.as_secs_f64(), "{factor}: {longest} s");
            let smallest = ratios.iter().copied().fold(1.0, f64::min);
            assert_eq!(smallest < 1.0, factor > 1.0, "{factor}: {smallest}");
            assert_eq!(ratios.last(), Some(&1.0), "{factor}");
            // It does not leave out more than it has to for long.
            let mean = ratios[100..300].iter().sum::<f64>() / 200.0;
            assert!(mean >= (0.4 / factor).min(0.9), "{factor}: {mean}");
        }
    }

    #[test]
    fn without_a_maximum_all_records_are_taken() {
        let start = Instant::now();
        let mut overload = Overload::new(None, start);
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            assert_eq!(overload.observe(false, now), None);
        }
        assert_eq!(overload.ratio(), 1.0);
    }

    #[test]
    fn the_ratio_changes_step_by_step_and_has_a_minimum() {
        let start = Instant::now();
        let mut overload = Overload::new(Some(MAX_LAG), start);
        let mut changes = Vec::new();
        for second in 0..100 {
            changes.extend(overload.observe(false, start + Duration::from_secs(second)));
        }
        assert_eq!(changes.len(), 10);
        assert_eq!((changes[0], changes[9]), (0.5, MIN_RATIO));
        assert_eq!(
            overload.observe(true, start + Duration::from_secs(200)),
            Some(2.0 * MIN_RATIO)
        );
    }
}
