//! Finds records that were deleted before they were read.

use std::ops::Range;

/// Returns the offsets of the records that were deleted before they were read, if any were. `position` is the next offset to
/// read; `first` the offset of the first record that was read from there, if there was one; `log_start` the first offset that
/// exists.
///
/// A gap between the position and the first record is no loss in itself: transaction markers, aborted records and compaction
/// leave gaps. Only records before the start of the log have been deleted.
pub(crate) fn lost(position: i64, first: Option<i64>, log_start: i64) -> Option<Range<i64>> {
    let deleted_until = first.map_or(log_start, |first| first.min(log_start));
    (deleted_until > position).then_some(position..deleted_until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_before_the_start_of_the_log_are_lost_and_other_gaps_are_not() {
        for (position, first, log_start, expected) in [
            // The next record, or none yet.
            (20, Some(20), 0, None),
            (20, None, 0, None),
            (20, None, 20, None),
            // Transaction markers and aborted records.
            (20, Some(25), 0, None),
            (20, Some(25), 20, None),
            // Retention, with and without a record after it.
            (20, Some(30), 30, Some(20..30)),
            (20, None, 30, Some(20..30)),
            // Markers at the start of the log; a log that was truncated again since.
            (20, Some(32), 30, Some(20..30)),
            (20, Some(30), 90, Some(20..30)),
            // The client has restarted at an earlier offset.
            (20, Some(3), 0, None),
            (20, Some(3), 3, None),
        ] {
            let found = lost(position, first, log_start);
            assert_eq!(found, expected, "{position} {first:?} {log_start}");
        }
    }
}
