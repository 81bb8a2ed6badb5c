//! Finds records that were deleted before they were read.
//!
//! A gap between the position and the next record is no loss in itself: transaction markers, aborted records and compaction
//! leave gaps. Only records before the start of the log have been deleted. The start is requested only after reading has
//! restarted in a partition, because a client continues at another offset than the next one only then.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::offsets::Positions;

/// How long the brokers are not asked again after they have not answered.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Returns the offsets of the records that were deleted before they were read, if any were. `position` is the next offset to
/// read; `first` the offset of the first record that was read from there, if there was one; `log_start` the first offset that
/// exists.
fn lost(position: i64, first: Option<i64>, log_start: i64) -> Option<Range<i64>> {
    let deleted_until = first.map_or(log_start, |first| first.min(log_start));
    (deleted_until > position).then_some(position..deleted_until)
}

/// The starts of the partitions' logs, as far as they matter.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    log_starts: Positions,
    /// When the brokers did not answer.
    failed: Option<Instant>,
}

impl Gaps {
    /// Notes that a partition is read from its beginning.
    pub(crate) fn starts_at_beginning(&mut self, partition: i32) {
        self.log_starts.set(partition, 0);
    }

    /// Notes that reading has restarted, at offsets that may not exist any more.
    pub(crate) fn restarted(&mut self) {
        self.log_starts.clear();
    }

    /// Returns the lost records between a position and the `first` record that was read from there or, without a record, the
    /// start of the log. Calls `log_start` if it does not know the start of the log since reading restarted; `None` from it
    /// if the brokers do not answer.
    pub(crate) fn explain(
        &mut self,
        partition: i32,
        position: i64,
        first: Option<i64>,
        log_start: impl FnOnce() -> Option<i64>,
    ) -> Option<Range<i64>> {
        let log_start = match self.log_starts.get(partition) {
            Some(known) => known,
            None => self.request(partition, log_start)?,
        };
        lost(position, first, log_start)
    }

    /// Requests the start of a partition's log, but not again right after a failure.
    fn request(&mut self, partition: i32, log_start: impl FnOnce() -> Option<i64>) -> Option<i64> {
        if self
            .failed
            .is_some_and(|failed| failed.elapsed() < RETRY_DELAY)
        {
            return None;
        }
        let found = log_start();
        match found {
            Some(start) => self.log_starts.set(partition, start),
            None => self.failed = Some(Instant::now()),
        }
        found
    }
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

    #[test]
    fn the_start_of_the_log_is_requested_once_after_each_restart() {
        let mut gaps = Gaps::default();
        let never = || -> Option<i64> { panic!("it is known") };
        assert_eq!(gaps.explain(0, 5, Some(9), || None), None, "no answer");
        assert_eq!(
            gaps.explain(0, 5, Some(9), never),
            None,
            "not again so soon"
        );
        gaps.failed = None;
        // A marker before the deleted records.
        assert_eq!(gaps.explain(0, 5, Some(6), || Some(20)), Some(5..6));
        assert_eq!(gaps.explain(0, 8, Some(25), never), Some(8..20));
        assert_eq!(gaps.explain(0, 30, Some(35), never), None);
        gaps.restarted();
        assert_eq!(gaps.explain(0, 36, None, || Some(40)), Some(36..40));
        gaps.starts_at_beginning(1);
        assert_eq!(gaps.explain(1, 0, Some(35), never), None);
    }
}
