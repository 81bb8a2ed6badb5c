//! Finds records that were deleted before they were read.
//!
//! A gap between the position and the next record is no loss in itself: transaction markers, aborted records and compaction
//! leave gaps. Only records before the start of the log have been deleted. The start is requested only after reading has
//! restarted in a partition, because a client continues at another offset than the next one only then.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::offsets::Positions;

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
    /// The partitions in which reading has restarted since their start was requested.
    restarted: BTreeSet<i32>,
    log_starts: Positions,
}

impl Gaps {
    /// Notes that reading has restarted in a partition.
    pub(crate) fn restarted(&mut self, partition: i32) {
        self.restarted.insert(partition);
    }

    /// Returns the partitions in which reading has restarted since their start was requested.
    pub(crate) fn unexplained(&self) -> Vec<i32> {
        self.restarted.iter().copied().collect()
    }

    /// Returns the lost records between a position and the `first` record that was read from there or, without a record, the
    /// start of the log. Calls `log_start` if reading has restarted in the partition; `None` from it if the brokers do not
    /// answer, and it is called again later.
    pub(crate) fn explain(
        &mut self,
        partition: i32,
        position: i64,
        first: Option<i64>,
        log_start: impl FnOnce() -> Option<i64>,
    ) -> Option<Range<i64>> {
        if self.restarted.contains(&partition) {
            let start = log_start()?;
            self.restarted.remove(&partition);
            self.log_starts.set(partition, start);
        }
        lost(position, first, self.log_starts.get(partition)?)
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
        let never = || -> Option<i64> { panic!("nothing has restarted") };
        assert_eq!(gaps.explain(0, 5, Some(9), never), None);
        gaps.restarted(0);
        assert_eq!(gaps.explain(0, 5, Some(9), || None), None);
        assert_eq!(gaps.unexplained(), [0], "the brokers have not answered");
        // A marker before the deleted records.
        assert_eq!(gaps.explain(0, 5, Some(6), || Some(20)), Some(5..6));
        assert_eq!(gaps.explain(0, 8, Some(25), never), Some(8..20));
        assert_eq!(gaps.explain(0, 30, Some(35), never), None);
        assert_eq!(gaps.explain(1, 0, Some(35), never), None);
        assert_eq!(gaps.unexplained(), Vec::<i32>::new());
    }
}
