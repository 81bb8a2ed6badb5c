//! The charts of a range of time: throughput, accuracy and latency, each with its figures as a table.

mod accuracy;
mod latency;
mod line;
mod throughput;

use crate::board::{Board, VersionFigures};
use crate::format;
use crate::range::Range;
use crate::timeline::Slice;
use crate::view::empty::empty;

/// Shown before the first transaction.
const NO_TRANSACTION: &str = "No transaction of a classifier has been read yet.";

/// The pieces of the page that depend on the range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charts {
    /// A sentence if nothing arrived in the range; else empty.
    pub note: String,
    /// Records per second over time.
    pub throughput: String,
    /// Accuracy over time, and the model versions.
    pub accuracy: String,
    /// Records by latency.
    pub latency: String,
}

impl Charts {
    /// Renders the charts of a range at a time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// If a template cannot be rendered.
    pub(crate) fn render(
        board: &Board,
        versions: &[VersionFigures],
        range: Range,
        now_ms: i64,
    ) -> askama::Result<Self> {
        let Some(slice) = board.timeline().slice(range, now_ms.div_euclid(1000)) else {
            return Ok(Self {
                note: String::new(),
                throughput: empty(NO_TRANSACTION)?,
                accuracy: accuracy::without_chart(versions)?,
                latency: empty(NO_TRANSACTION)?,
            });
        };
        let period = period(&slice, now_ms);
        Ok(Self {
            note: note(range, &slice, now_ms),
            throughput: throughput::throughput(&slice, &period)?,
            accuracy: accuracy::accuracy(&slice, versions, &period)?,
            latency: latency::latency(&slice, &period)?,
        })
    }
}

/// Returns the window in words.
fn period(slice: &Slice, now_ms: i64) -> String {
    let time = |second: i64| format::time(second * 1000, now_ms);
    let window = slice.window;
    format!("{} to {} UTC", time(window.from_s), time(window.to_s))
}

/// Returns a sentence if nothing arrived in the range; else an empty text.
fn note(range: Range, slice: &Slice, now_ms: i64) -> String {
    let Some(since) = slice.window.no_records_since_s else {
        return String::new();
    };
    format!(
        "No records since {} UTC; showing {} with data.",
        format::time(since * 1000, now_ms),
        range.words()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;

    /// 1970-01-01 12:03:10 UTC, in milliseconds since the epoch.
    const LAST: i64 = 43_390_000;

    fn board() -> Board {
        let mut board = Board::default();
        board.add(&summary(0, 300, 300), LAST - 10_000);
        board.add(&summary(0, 30, 330), LAST);
        board
    }

    fn charts(board: &Board, range: Range, now_ms: i64) -> Charts {
        Charts::render(board, &board.versions(), range, now_ms).unwrap()
    }

    #[test]
    fn a_range_without_new_records_shows_the_last_data_and_a_note() {
        let mut board = board();
        board.is_known_until(LAST + 600_000);
        let live = charts(&board, Range::Minute, LAST + 30_000);
        assert_eq!(live.note, "");
        let minute = charts(&board, Range::Minute, LAST + 120_000);
        assert_eq!(
            minute.note,
            "No records since 12:03:10 UTC; showing the last minute with data."
        );
        for chart in [&minute.throughput, &minute.accuracy, &minute.latency] {
            assert!(chart.contains("12:02:11 to 12:03:11 UTC"), "{chart}");
        }
        assert!(minute.throughput.contains("at most 300, 30 at the end"));
        let quarter = charts(&board, Range::QuarterHour, LAST + 120_000);
        assert_eq!(quarter.note, "");
        assert!(quarter.throughput.contains("at most 30, 0 at the end"));
        let later = charts(&board, Range::QuarterHour, LAST + 86_400_000);
        assert_eq!(
            later.note,
            "No records since 1970-01-01 12:03:10 UTC; showing the last 15 minutes with data."
        );
        assert_eq!(charts(&board, Range::All, LAST + 86_400_000).note, "");
    }

    #[test]
    fn a_chart_has_a_bounded_number_of_points_and_round_times() {
        let mut board = Board::default();
        for minute in 0..2_000 {
            board.add(&summary(0, 60, 60), minute * 60_000);
        }
        let all = charts(&board, Range::All, 2_000 * 60_000);
        let points = all.throughput.matches('L').count();
        assert!((50..=120).contains(&points), "{points}");
        assert!(all.throughput.contains("01-01 12:00"), "{}", all.throughput);
    }

    #[test]
    fn without_a_transaction_there_is_no_chart() {
        let charts = charts(&Board::default(), Range::Minute, 60_000);
        assert!(charts.throughput.contains(NO_TRANSACTION));
        assert!(charts.latency.contains(NO_TRANSACTION));
        assert!(charts.accuracy.contains("No model has predicted yet"));
        assert!(!charts.accuracy.contains("<svg"));
    }
}
