//! Numbers, times and short texts as the page shows them.

use std::borrow::Borrow;

use jiff::Timestamp;

use crate::board::partition::PartitionState;
use crate::models::ModelFigures;
use crate::recent::PredictionRow;

/// The number of characters of a model version that are shown; `iris-admin` accepts a prefix of this length.
const VERSION_CHARACTERS: usize = 8;

/// The number of features of a record that are shown, at most.
const MAX_FEATURES: usize = 16;

/// Formats a time in UTC; empty if it is out of range.
fn formatted(ms: i64, format: &str) -> String {
    Timestamp::from_millisecond(ms)
        .map(|time| time.strftime(format).to_string())
        .unwrap_or_default()
}

/// Returns a time of day in UTC.
#[must_use]
pub fn clock(ms: impl Borrow<i64>) -> String {
    formatted(*ms.borrow(), "%H:%M:%S")
}

/// Returns a time of day to the minute in UTC.
#[must_use]
pub fn clock_to_the_minute(ms: i64) -> String {
    formatted(ms, "%H:%M")
}

/// Returns a day and a time of day to the minute in UTC.
#[must_use]
pub fn day_and_clock(ms: i64) -> String {
    formatted(ms, "%m-%d %H:%M")
}

/// Returns a date and a time of day in UTC.
#[must_use]
pub fn moment(ms: impl Borrow<i64>) -> String {
    formatted(*ms.borrow(), "%Y-%m-%d %H:%M:%S")
}

/// Returns a time of day in UTC, with the date unless it is today's.
#[must_use]
pub fn time(ms: i64, now_ms: i64) -> String {
    if formatted(ms, "%Y-%m-%d") == formatted(now_ms, "%Y-%m-%d") {
        clock(ms)
    } else {
        moment(ms)
    }
}

/// Returns a date and a time of day in UTC, or `unknown`.
#[must_use]
pub fn moment_or_unknown(ms: impl Borrow<Option<i64>>) -> String {
    ms.borrow().map_or_else(unknown, moment)
}

/// Returns a time of day in UTC, or `unknown`.
#[must_use]
pub fn clock_or_unknown(ms: impl Borrow<Option<i64>>) -> String {
    ms.borrow().map_or_else(unknown, clock)
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Returns a count with a comma between thousands.
#[must_use]
pub fn count(count: impl Borrow<u64>) -> String {
    grouped(&count.borrow().to_string())
}

/// Returns a count in floating point, with a comma between thousands.
#[must_use]
pub fn whole(count: f64) -> String {
    grouped(&format!("{count:.0}"))
}

/// Puts a comma between thousands.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a shortened number: 950, 1.2k, 3.4M.
#[must_use]
pub fn short(value: impl Borrow<f64>) -> String {
    let (value, unit) = match *value.borrow() {
        value if value >= 1e9 => (value / 1e9, "G"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let text = if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    format!("{}{unit}", text.trim_end_matches(".0"))
}

/// Returns a shortened rate, or `unknown`.
#[must_use]
pub fn rate(rate: impl Borrow<Option<f64>>) -> String {
    rate.borrow().map_or_else(unknown, short)
}

/// Returns a share as a percentage, or `none yet`.
#[must_use]
pub fn percent(share: impl Borrow<Option<f64>>) -> String {
    share.borrow().map_or_else(
        || "none yet".to_owned(),
        |share| format!("{:.1}%", share * 100.0),
    )
}

/// Returns a score from -1 to 1, or `none yet`.
#[must_use]
pub fn score(score: impl Borrow<Option<f64>>) -> String {
    score
        .borrow()
        .map_or_else(|| "none yet".to_owned(), |score| format!("{score:.3}"))
}

/// Returns a number, or `unknown`.
#[must_use]
pub fn or_unknown(number: impl Borrow<Option<i64>>) -> String {
    number
        .borrow()
        .map_or_else(unknown, |number| number.to_string())
}

/// Returns a partition and an offset, as far as they are known.
#[must_use]
pub fn partition_offset(
    partition: impl Borrow<Option<i64>>,
    offset: impl Borrow<Option<i64>>,
) -> String {
    match (partition.borrow(), offset.borrow()) {
        (Some(partition), Some(offset)) => format!("{partition}:{offset}"),
        (Some(partition), None) => format!("{partition}:unknown"),
        (None, _) => unknown(),
    }
}

/// Returns a length of time in the largest unit that it is a multiple of.
#[must_use]
pub fn span(seconds: i64) -> String {
    match seconds {
        seconds if seconds % 86_400 == 0 => format!("{} d", seconds / 86_400),
        seconds if seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Returns the upper bound of a bucket of latencies, given in milliseconds.
#[must_use]
pub fn latency(ms: u64) -> String {
    match ms {
        u64::MAX => "longer".to_owned(),
        ms if ms >= 1_000 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// Returns the start of a model version.
#[must_use]
pub fn version(version: &str) -> &str {
    version.get(..VERSION_CHARACTERS).unwrap_or(version)
}

/// Returns the features of a record, in the order of the settings.
#[must_use]
pub fn features(row: &PredictionRow) -> String {
    let value = |value: &Option<f64>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
    let shown = row.features.iter().take(MAX_FEATURES).map(value);
    let mut texts: Vec<String> = shown.collect();
    match row.features.len().saturating_sub(MAX_FEATURES) {
        0 => {}
        more => texts.push(format!("and {more} more")),
    }
    texts.join(", ")
}

/// Returns whether a prediction is right.
#[must_use]
pub fn verdict(row: &PredictionRow) -> &'static str {
    match row.is_right() {
        Some(true) => "right",
        Some(false) => "wrong",
        None => "unknown",
    }
}

/// Returns the votes for a prediction.
#[must_use]
pub fn votes(row: &PredictionRow) -> String {
    let votes: Vec<String> = row.votes.iter().map(ToString::to_string).collect();
    votes.join(" : ")
}

/// Returns the CSS class of a partition's state.
#[must_use]
pub fn state_class(state: impl Borrow<PartitionState>) -> &'static str {
    match state.borrow() {
        PartitionState::CaughtUp | PartitionState::Behind => "ok",
        PartitionState::Stalled => "problem",
        PartitionState::NoCommitYet | PartitionState::Unknown => "waiting",
        PartitionState::Superseded | PartitionState::Empty => "quiet",
    }
}

/// Returns the number of training rows of a model, by source.
#[must_use]
pub fn rows(model: &ModelFigures) -> String {
    let rows: Vec<String> = model
        .rows
        .iter()
        .map(|(source, rows)| format!("{} {source}", count(*rows)))
        .collect();
    rows.join(", ")
}

/// Returns the periods in which a model was the champion.
#[must_use]
pub fn reigns(model: &ModelFigures) -> Vec<String> {
    let reign = |reign: &crate::models::Reign| {
        let from = moment_or_unknown(reign.from_ms);
        let until = reign.until_ms.map_or_else(|| "now".to_owned(), moment);
        format!("{from} to {until}")
    };
    model.reigns.iter().map(reign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_formatted() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([30.0, 1_200.0].map(whole), ["30", "1,200"]);
        assert_eq!(
            (percent(Some(0.9733)), percent(None)),
            ("97.3%".to_owned(), "none yet".to_owned())
        );
        assert_eq!(
            (score(Some(0.96)), score(None)),
            ("0.960".to_owned(), "none yet".to_owned())
        );
        assert_eq!(clock(3_661_000), "01:01:01");
        assert_eq!([5, 2_000, u64::MAX].map(latency), ["5 ms", "2 s", "longer"]);
        assert_eq!(
            [10, 60, 900, 7_200, 172_800].map(span),
            ["10 s", "1 min", "15 min", "2 h", "2 d"]
        );
    }

    #[test]
    fn a_time_of_another_day_has_its_date() {
        let day = 86_400_000;
        assert_eq!(time(day + 1_000, day + 60_000), "00:00:01");
        assert_eq!(time(day - 1_000, day + 60_000), "1970-01-01 23:59:59");
    }

    #[test]
    fn numbers_are_shortened() {
        let shortened = [0.0, 7.25, 950.0, 1_240.0, 512_000.0, 3_400_000.0].map(short);
        assert_eq!(shortened, ["0", "7.2", "950", "1.2k", "512k", "3.4M"]);
    }

    #[test]
    fn unknown_numbers_are_not_shown_as_zero() {
        assert_eq!(rate(None), "unknown");
        assert_eq!(or_unknown(None), "unknown");
        assert_eq!(partition_offset(Some(3), None), "3:unknown");
        assert_eq!(partition_offset(Some(3), Some(0)), "3:0");
    }

    #[test]
    fn a_version_is_shown_by_its_start() {
        assert_eq!(version("e01454b61de2d075"), "e01454b6");
        assert_eq!(version("e01"), "e01");
    }

    #[test]
    fn features_beyond_the_limit_are_counted() {
        let row = |features: usize| PredictionRow {
            partition: 0,
            offset: 0,
            created_ms: None,
            id: None,
            features: vec![Some(1.5); features],
            predicted: String::new(),
            actual: None,
            model_version: None,
            input_offset: None,
            votes: Vec::new(),
        };
        assert_eq!(super::features(&row(2)), "1.5, 1.5");
        assert!(super::features(&row(18)).ends_with("1.5, and 2 more"));
    }
}
