//! The ranges of time that charts show, and the seconds of a range at a given time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The number of buckets of a window, and so of points of a chart, at most.
pub const MAX_BUCKETS: i64 = 120;

/// Seconds in a day.
const DAY: i64 = 86_400;

/// Lengths that are round on a clock or a calendar, in seconds.
pub(crate) const ROUND_LENGTHS: [i64; 18] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, DAY,
];

/// A range of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Range {
    /// One minute.
    #[default]
    #[serde(rename = "1m")]
    Minute,
    /// 15 minutes.
    #[serde(rename = "15m")]
    QuarterHour,
    /// The whole history.
    #[serde(rename = "all")]
    All,
}

impl Range {
    /// All ranges, the shortest first.
    pub const EVERY: [Self; 3] = [Self::Minute, Self::QuarterHour, Self::All];

    /// Returns the value of the query parameter `range`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::QuarterHour => "15m",
            Self::All => "all",
        }
    }

    /// Returns the text of its button.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Minute => "1 min",
            Self::QuarterHour => "15 min",
            Self::All => "All",
        }
    }

    /// Returns the range as part of a sentence, as in "showing the last minute".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Minute => "the last minute",
            Self::QuarterHour => "the last 15 minutes",
            Self::All => "all records",
        }
    }

    /// Returns the length in seconds; `None` if it depends on the history.
    fn seconds(self) -> Option<i64> {
        match self {
            Self::Minute => Some(60),
            Self::QuarterHour => Some(900),
            Self::All => None,
        }
    }

    /// Returns the seconds of this range at `now_s`, for records from second `first_s` to second `last_s`.
    ///
    /// The window ends before the current second. If it had no records then, it ends with the last record.
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

/// A period of time divided into buckets. Times are in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Window {
    /// The first second, a multiple of `step_s`.
    pub from_s: i64,
    /// The second after the last one.
    pub to_s: i64,
    /// The length of a bucket in seconds. Buckets start at multiples of it; the last bucket may be shorter.
    pub step_s: i64,
    /// The second of the last record, if no records arrived in the range; the window then ends with that second.
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

    /// Returns the start and the length of each bucket, in seconds.
    pub fn buckets(self) -> impl Iterator<Item = (i64, i64)> {
        let starts = (0..).map(move |number| self.from_s + number * self.step_s);
        starts
            .take_while(move |&start| start < self.to_s)
            .map(move |start| (start, self.step_s.min(self.to_s - start)))
    }
}

/// Returns the start of the bucket that contains a second.
pub(crate) fn bucket_of(second: i64, step: i64) -> i64 {
    second.div_euclid(step) * step
}

/// Returns the shortest round length, in seconds, that divides a span into at most [`MAX_BUCKETS`], for every start.
fn step(span: i64) -> i64 {
    // A span that does not start at a multiple of the length touches one bucket more.
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
    fn a_range_without_records_ends_with_the_last_record() {
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
    fn the_whole_history_is_at_least_a_minute_and_a_clock_ahead_hides_no_record() {
        let all = Range::All.window(1_000, 1_000, 1_000);
        assert_eq!((all.from_s, all.to_s), (940, 1_000));
        let ahead = Range::Minute.window(0, 1_005, 1_000);
        assert_eq!((ahead.to_s, ahead.no_records_since_s), (1_005, None));
    }

    #[test]
    fn buckets_are_few_start_at_round_times_and_cover_the_window() {
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
    fn a_range_has_the_same_name_in_the_address_and_in_json() {
        for range in Range::EVERY {
            let json = serde_json::to_value(range).unwrap();
            assert_eq!(json, range.name());
            assert_eq!(serde_json::from_value::<Range>(json).unwrap(), range);
        }
    }
}
