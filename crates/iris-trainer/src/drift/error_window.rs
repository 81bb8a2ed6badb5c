//! The window of recent errors, and the test for a change of the error rate within it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The maximum number of buckets of each size.
const BUCKETS: usize = 5;

/// A change of the error rate between two parts of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateChange {
    /// The error rate before the change.
    pub before: f64,
    /// The error rate after the change.
    pub after: f64,
    /// The number of newest predictions that are after the change.
    pub records: u64,
}

impl RateChange {
    /// Whether the error rate has risen.
    #[must_use]
    pub fn is_rise(&self) -> bool {
        self.after > self.before
    }
}

/// The labelled predictions since the latest change of the error rate, as an exponential histogram: buckets of 1, 2, 4, …
/// predictions, at most 5 of each size, with the number of errors in each.
///
/// This is the adaptive window of ADWIN (Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", 2007)
/// with another test. ADWIN compares the difference of two rates with a bound that holds for any bounded values. Here, the
/// values are errors or not, so the generalized likelihood ratio of two Bernoulli rates is used (Siegmund and Venkatraman,
/// "Using the generalized likelihood ratio statistic for sequential detection of a change-point", 1995). For each cut between
/// two buckets it is `n0 KL(p0, p) + n1 KL(p1, p)`: `n0` and `n1` are the numbers of predictions before and after the cut, `p0`,
/// `p1` and `p` the error rates before, after and over both, and `KL` the Kullback-Leibler divergence.
///
/// A cut is a change if its statistic exceeds a threshold. The threshold is the natural logarithm of the wanted mean number of
/// predictions between two false rises. By simulation at constant error rates from 1% to 40% (4,000,000 predictions or more for
/// each rate and threshold; the tests of this file repeat it with fewer), the mean number at the worst rate is 1.25 to 1.8
/// times the wanted one:
///
/// | threshold | wanted | at the worst rate |
/// |---|---|---|
/// | 6 | 403 | 632 |
/// | 7 | 1,097 | 1,956 |
/// | 8 | 2,981 | 5,305 |
/// | 9 | 8,103 | 10,132 |
/// | 9.21 | 10,000 | 16,529 |
/// | 10 | 22,026 | 30,675 |
///
/// The length of the window has little influence: with a new window every 2,000 predictions, or one window for 20,000,000, the
/// mean number for 9.21 is 16,529 and 18,587 at the worst rate. A rise is found sooner the larger it is. With 10,000 wanted and
/// 3,000 predictions before the change, the median delay is 4 predictions for a rise from 5% to 95%, 10 from 5% to 50%, 107 from
/// 5% to 15%, and 167 from 10% to 20%.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorWindow {
    /// The errors in each bucket of 1, 2, 4, … predictions, the oldest bucket first.
    levels: Vec<VecDeque<u64>>,
}

impl ErrorWindow {
    /// Adds a prediction. Returns the change of the error rate, if there is one; the window then begins after it.
    ///
    /// `false_alarm_records` is the mean number of predictions between two rises that are reported although the error rate
    /// is constant.
    pub fn add(&mut self, is_error: bool, false_alarm_records: u64) -> Option<RateChange> {
        self.push(u64::from(is_error));
        let (statistic, change) = self.likeliest_change()?;
        if statistic <= (false_alarm_records as f64).ln() {
            return None;
        }
        self.keep(change.records);
        Some(change)
    }

    /// Adds a bucket of one prediction, and joins the two oldest buckets of each size that has too many.
    fn push(&mut self, errors: u64) {
        let mut errors = errors;
        for level in &mut self.levels {
            level.push_back(errors);
            if level.len() <= BUCKETS {
                return;
            }
            errors = level.drain(..2).sum();
        }
        self.levels.push(VecDeque::from([errors]));
    }

    /// Returns the cut with the largest statistic. `None` if there is only one bucket.
    fn likeliest_change(&self) -> Option<(f64, RateChange)> {
        let whole = self.buckets().fold(Part::default(), Part::with);
        let of_whole = whole.log_likelihood();
        let mut newer = Part::default();
        let mut best: Option<(f64, Part)> = None;
        for bucket in self.buckets() {
            newer = newer.with(bucket);
            let older = whole.without(newer);
            if older.records == 0 {
                break;
            }
            let statistic = older.log_likelihood() + newer.log_likelihood() - of_whole;
            if best.is_none_or(|(largest, _)| statistic > largest) {
                best = Some((statistic, newer));
            }
        }
        let (statistic, newer) = best?;
        let change = RateChange {
            before: whole.without(newer).rate(),
            after: newer.rate(),
            records: newer.records,
        };
        Some((statistic, change))
    }

    /// Returns the buckets, the newest first.
    fn buckets(&self) -> impl Iterator<Item = Part> {
        let sizes = (0..u64::BITS).map(|level| 1 << level);
        self.levels.iter().zip(sizes).flat_map(|(level, records)| {
            let bucket = move |&errors| Part { records, errors };
            level.iter().rev().map(bucket)
        })
    }

    /// Drops all buckets but the newest, which contain this number of predictions.
    fn keep(&mut self, records: u64) {
        let mut left = records;
        for (level, size) in self.levels.iter_mut().zip((0..u64::BITS).map(|n| 1 << n)) {
            let kept = level
                .len()
                .min(usize::try_from(left / size).unwrap_or(usize::MAX));
            level.drain(..level.len() - kept);
            left -= kept as u64 * size;
        }
        while self.levels.last().is_some_and(VecDeque::is_empty) {
            self.levels.pop();
        }
    }
}

/// A number of predictions and the errors among them.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    records: u64,
    errors: u64,
}

impl Part {
    fn with(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            errors: self.errors + other.errors,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            records: self.records - other.records,
            errors: self.errors - other.errors,
        }
    }

    fn rate(self) -> f64 {
        self.errors as f64 / self.records as f64
    }

    /// Returns the maximum of the log-likelihood over all error rates.
    fn log_likelihood(self) -> f64 {
        let term = |count: u64| match count {
            0 => 0.0,
            count => count as f64 * (count as f64).ln(),
        };
        term(self.errors) + term(self.records.saturating_sub(self.errors)) - term(self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property;

    fn random_errors(seed: u64, rate: f64) -> impl Iterator<Item = bool> {
        let mut random = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(move || random.f64() < rate)
    }

    #[test]
    fn false_rises_are_as_rare_as_wanted_at_every_error_rate() {
        let records = (property::config(1).cases as usize * 5).min(20_000);
        for rate in [0.01, 0.02, 0.05, 0.1, 0.2, 0.4] {
            for wanted in [500, 2_000, 10_000] {
                let mut window = ErrorWindow::default();
                let rises = random_errors(1, rate)
                    .take(records)
                    .filter_map(|is_error| window.add(is_error, wanted))
                    .filter(RateChange::is_rise)
                    .count();
                let expected = records as f64 / wanted as f64;
                let most = expected + 3.0 * expected.sqrt();
                assert!(rises as f64 <= most, "{rate} {wanted}: {rises} of {most}");
            }
        }
    }

    /// Returns the sorted delays until a rise is found after a change from one rate to another, and the sorted lengths of
    /// the part after the change.
    fn delays(before: f64, after: f64) -> (Vec<u64>, Vec<u64>) {
        let runs = u64::from(property::config(1).cases / 50).clamp(20, 100);
        let found = |seed| {
            let mut window = ErrorWindow::default();
            for is_error in random_errors(seed, before).take(1_000) {
                window.add(is_error, 10_000);
            }
            let after = random_errors(seed + runs, after).take(10_000);
            (1_u64..).zip(after).find_map(|(delay, is_error)| {
                let change = window.add(is_error, 10_000)?;
                change.is_rise().then_some((delay, change.records))
            })
        };
        let (mut delays, mut lengths): (Vec<u64>, Vec<u64>) = (0..runs)
            .map(|seed| found(seed).unwrap_or((u64::MAX, u64::MAX)))
            .unzip();
        delays.sort_unstable();
        lengths.sort_unstable();
        (delays, lengths)
    }

    #[test]
    fn a_rise_is_found_soon_and_the_change_is_dated() {
        for (before, after, median, late) in [
            (0.05, 0.95, 5, 10),
            (0.05, 0.5, 15, 40),
            (0.05, 0.15, 200, 1_000),
            (0.1, 0.2, 300, 1_500),
        ] {
            let (delays, lengths) = delays(before, after);
            let middle = delays.len() / 2;
            let text = format!("{before} to {after}: {delays:?} {lengths:?}");
            assert!(delays[middle] <= median, "{text}");
            assert!(delays[delays.len() * 19 / 20 - 1] <= late, "{text}");
            let length = lengths[middle] as f64 / delays[middle] as f64;
            assert!((0.5..=1.5).contains(&length), "{text}");
        }
    }

    #[test]
    fn a_fall_shortens_the_window() {
        let mut window = ErrorWindow::default();
        let errors = (0..100).map(|number| number < 50);
        let changes: Vec<_> = errors
            .filter_map(|error| window.add(error, 10_000))
            .collect();
        let [change] = changes[..] else {
            panic!("{changes:?}")
        };
        assert!(!change.is_rise());
        assert_eq!((change.before, change.after), (1.0, 0.0));
        let whole = window.buckets().fold(Part::default(), Part::with);
        assert_eq!((whole.records, whole.errors), (50, 0));
    }

    #[test]
    fn the_window_is_kept_after_a_rise() {
        let mut window = ErrorWindow::default();
        let errors = (0..1_000).map(|number| number >= 300);
        let changes: Vec<_> = errors
            .filter_map(|error| window.add(error, 10_000))
            .collect();
        assert_eq!(changes.len(), 1, "{changes:?}");
        let whole = window.buckets().fold(Part::default(), Part::with);
        assert_eq!((whole.records, whole.errors), (700, 700));
    }

    #[test]
    fn memory_grows_with_the_logarithm_of_the_window() {
        let mut window = ErrorWindow::default();
        for number in 0..100_000_u64 {
            window.push(u64::from(number % 10 == 0));
        }
        let whole = window.buckets().fold(Part::default(), Part::with);
        assert_eq!((whole.records, whole.errors), (100_000, 10_000));
        assert!(window.buckets().count() < 5 * 17);
        assert!(window.levels.iter().all(|level| level.len() <= BUCKETS));
    }

    #[test]
    fn a_state_of_another_test_is_read_as_an_empty_window() {
        let state = r#"{"answers":60,"mean":0.25,"sum":-5.0,"least":-5.5}"#;
        let window: ErrorWindow = serde_json::from_str(state).unwrap();
        assert_eq!(window, ErrorWindow::default());
    }
}
