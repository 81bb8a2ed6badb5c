//! The ranges of time that charts show, and which seconds a range means at a given moment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most buckets that a window is divided into, and so the most points of a chart.
pub const MAX_BUCKETS: i64 = 120;

/// Seconds in a day.
const DAY: i64 = 86_400;

/// Lengths that people read easily off a clock or a calendar, in seconds.
pub(crate) const ROUND_LENGTHS: [i64; 18] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, DAY,
];

/// A range of time to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Range {
    /// One minute.
    #[default]
    #[serde(rename = "1m")]
    Minute,
    /// 15 minutes.
    #[serde(rename = "15m")]
    QuarterHour,
    /// Everything that the timeline keeps.
    #[serde(rename = "all")]
    All,
}

impl Range {
    /// All ranges, shortest first.
    pub const EVERY: [Self; 3] = [Self::Minute, Self::QuarterHour, Self::All];

    /// The value of the query parameter `range`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::QuarterHour => "15m",
            Self::All => "all",
        }
    }

    /// The text of the button that chooses it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Minute => "1 min",
            Self::QuarterHour => "15 min",
            Self::All => "All",
        }
    }

    /// The range in a sentence, as in "showing the last minute".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Minute => "the last minute",
            Self::QuarterHour => "the last 15 minutes",
            Self::All => "all records",
        }
    }

    /// Its length in seconds; `None` if it has none of its own.
    fn seconds(self) -> Option<i64> {
        match self {
            Self::Minute => Some(60),
            Self::QuarterHour => Some(900),
            Self::All => None,
        }
    }

    /// The seconds that this range means at `now_s`, if the first record was seen in second `first_s` and the last one in
    /// second `last_s`.
    ///
    /// The window ends now, before the second in progress. If it had no records then, it ends with the last record.
    #[must_use]
    pub fn window(self, first_s: i64, last_s: i64, now_s: i64) -> Window {
        // The clock of the host that wrote the record may be ahead.
        let now_s = now_s.max(last_s);
        let Some(length) = self.seconds() else {
            let from_s = first_s.min(now_s - Self::default().seconds().unwrap_or_default());
            return Window::new(from_s, now_s, None);
        };
        if last_s >= now_s - length {
            return Window::new(now_s - length, now_s, None);
        }
        Window::new(last_s + 1 - length, last_s + 1, Some(last_s))
    }
}

/// A stretch of time divided into buckets. Times are in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Window {
    /// The first second: a multiple of `step_s`.
    pub from_s: i64,
    /// The second after the last one.
    pub to_s: i64,
    /// The length of a bucket in seconds. Buckets start at multiples of it; the last one may be shorter.
    pub step_s: i64,
    /// Set if nothing arrived in the range until now: the second of the last record, with which the window ends.
    pub no_records_since_s: Option<i64>,
}

impl Window {
    fn new(from_s: i64, to_s: i64, no_records_since_s: Option<i64>) -> Self {
        let step_s = step(to_s - from_s);
        Self {
            from_s: bucket_of(from_s, step_s),
            to_s,
            step_s,
            no_records_since_s,
        }
    }

    /// The start and the length of each bucket, in seconds.
    pub fn buckets(self) -> impl Iterator<Item = (i64, i64)> {
        let starts = (0..).map(move |number| self.from_s + number * self.step_s);
        starts
            .take_while(move |&start| start < self.to_s)
            .map(move |start| (start, self.step_s.min(self.to_s - start)))
    }
}

/// The start of the bucket that a second is in.
pub(crate) fn bucket_of(second: i64, step: i64) -> i64 {
    second.div_euclid(step) * step
}

/// The shortest round length, in seconds, that divides a span into at most [`MAX_BUCKETS`], wherever the span starts.
fn step(span: i64) -> i64 {
    // A span that does not start at a multiple of the length reaches into one bucket more.
    let is_enough = |step: i64| span <= step * (MAX_BUCKETS - 1);
    ROUND_LENGTHS
        .into_iter()
        .find(|&step| is_enough(step))
        .unwrap_or_else(|| (span / (DAY * (MAX_BUCKETS - 1)) + 1) * DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_records_ends_now() {
        let window = |range: Range| {
            let window = range.window(10_000, 99_990, 100_000);
            (window.from_s, window.to_s, window.step_s)
        };
        assert_eq!(window(Range::Minute), (99_940, 100_000, 1));
        assert_eq!(window(Range::QuarterHour), (99_100, 100_000, 10));
        assert_eq!(window(Range::All), (9_900, 100_000, 900));
    }

    #[test]
    fn a_range_without_records_shows_the_last_one_of_its_length_that_had_some() {
        let minute = |now_s| Range::Minute.window(0, 1_000, now_s);
        assert_eq!(minute(1_060).no_records_since_s, None);
        let window = minute(1_061);
        assert_eq!(window.no_records_since_s, Some(1_000));
        assert_eq!((window.from_s, window.to_s), (941, 1_001));
        let quarter = Range::QuarterHour.window(0, 1_000, 1_061);
        assert_eq!((quarter.to_s, quarter.no_records_since_s), (1_061, None));
        let all = Range::All.window(0, 1_000, 500_000);
        assert_eq!((all.from_s, all.no_records_since_s), (0, None));
    }

    #[test]
    fn everything_is_at_least_a_minute_and_a_clock_that_is_ahead_hides_no_record() {
        let all = Range::All.window(1_000, 1_000, 1_000);
        assert_eq!((all.from_s, all.to_s), (940, 1_000));
        let ahead = Range::Minute.window(0, 1_005, 1_000);
        assert_eq!((ahead.to_s, ahead.no_records_since_s), (1_005, None));
    }

    #[test]
    fn buckets_are_bounded_in_number_start_at_round_times_and_cover_the_window() {
        for length in (1..200_000).step_by(97).chain([31_536_000, 3_153_600_000]) {
            for from_s in [0, 1, 59, 12_345_678] {
                let window = Window::new(from_s, from_s + length, None);
                let buckets: Vec<(i64, i64)> = window.buckets().collect();
                assert!(buckets.len() <= 120, "{length} s: {}", buckets.len());
                assert!(window.from_s <= from_s && buckets[0].0 == window.from_s);
                assert!(buckets.iter().all(|(start, _)| start % window.step_s == 0));
                let covered: i64 = buckets.iter().map(|(_, seconds)| seconds).sum();
                assert_eq!(covered, window.to_s - window.from_s);
            }
        }
    }

    #[test]
    fn a_range_is_named_in_the_address_as_in_json() {
        for range in Range::EVERY {
            let json = serde_json::to_value(range).unwrap();
            assert_eq!(json, range.name());
            assert_eq!(serde_json::from_value::<Range>(json).unwrap(), range);
        }
    }
}
