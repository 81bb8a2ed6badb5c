//! Detects stalled partitions: those with unread records and no progress.
//!
//! A client that returns no records may have none left to read, or may be stuck, for example after leader changes. It does
//! not report which. An idle consumer therefore asks the brokers for the end of each of its partitions and compares it with
//! its own position.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// How often an idle consumer asks for the ends of its partitions.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);

/// How long a partition with unread records may make no progress before it counts as stalled.
const STALL_AFTER: Duration = Duration::from_secs(6);

/// How to find the transaction that may change committed offsets.
pub(crate) const OPEN_OFFSETS: &str =
    "an open transaction may change them, see `iris-admin transactions --topic __consumer_offsets`";

/// How far one partition has been read, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadPosition {
    pub(crate) partition: i32,
    /// The next offset to fetch; negative if the client does not know it yet.
    pub(crate) next: i64,
    /// The offset after the last committed record.
    pub(crate) end: i64,
}

impl ReadPosition {
    /// Returns a description of the unread records; `None` if there are none.
    pub(crate) fn unread(&self) -> Option<String> {
        let Self {
            partition,
            next,
            end,
        } = self;
        (next < end).then(|| {
            format!("partition {partition} is read to offset {next}; its end is at offset {end}")
        })
    }
}

/// A partition with unread records and no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StalledPartition {
    /// The partition's number.
    pub partition: i32,
    next: i64,
    end: i64,
    /// Whether to restart reading at the committed offset. False if that was just done, and while the client still waits for
    /// the committed offset.
    pub should_restart: bool,
}

impl fmt::Display for StalledPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            next,
            end,
            ..
        } = self;
        if *next >= 0 {
            write!(
                f,
                "partition {partition} is stalled at offset {next}; its end is at offset {end}"
            )
        } else {
            write!(
                f,
                "partition {partition} waits for the group's committed offsets; {OPEN_OFFSETS}"
            )
        }
    }
}

/// Finds stalled partitions by comparing successive checks of a consumer's positions.
#[derive(Debug, Default)]
pub(crate) struct StallDetector {
    checked: Option<Instant>,
    /// The position of each partition with unread records, and the time since which it is there.
    since: BTreeMap<i32, (i64, Instant)>,
    stalled: Option<StalledPartition>,
}

impl StallDetector {
    /// Whether the next check is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.checked
            .is_none_or(|checked| now.saturating_duration_since(checked) >= CHECK_INTERVAL)
    }

    /// Records the positions of partitions. A partition that is not listed was revoked, or its broker does not answer, which the
    /// client's health reports.
    pub(crate) fn check(&mut self, now: Instant, positions: &[ReadPosition]) {
        let mut since = BTreeMap::new();
        let previous = self.stalled.take();
        for &ReadPosition {
            partition,
            next,
            end,
        } in positions
        {
            if next >= end {
                continue;
            }
            let from = match self.since.get(&partition) {
                Some(&(earlier, from)) if earlier == next => from,
                _ => now,
            };
            since.insert(partition, (next, from));
            let is_long = now.saturating_duration_since(from) >= STALL_AFTER;
            let is_same = previous
                .is_some_and(|previous| (previous.partition, previous.next) == (partition, next));
            if is_long || is_same {
                self.stalled = Some(StalledPartition {
                    partition,
                    next,
                    end,
                    should_restart: is_long && next >= 0,
                });
            }
        }
        self.since = since;
        self.checked = Some(now);
    }

    /// Returns a stalled partition, if there is one.
    pub(crate) fn stalled(&self) -> Option<StalledPartition> {
        self.stalled
    }

    /// Forgets all positions after reading was restarted. A stalled partition stays stalled until it makes progress.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.checked = Some(now);
        self.since.clear();
        if let Some(stalled) = &mut self.stalled {
            stalled.should_restart = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(next: i64, end: i64) -> ReadPosition {
        ReadPosition {
            partition: 2,
            next,
            end,
        }
    }

    #[test]
    fn a_partition_with_unread_records_and_no_progress_is_stalled() {
        let (mut detector, start) = (StallDetector::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(detector.is_due(start));
        detector.check(start, &[position(10, 20)]);
        assert!(!detector.is_due(after(2)) && detector.is_due(after(3)));
        assert_eq!(detector.stalled(), None);
        detector.check(after(6), &[position(10, 21)]);
        assert_eq!(
            detector.stalled().unwrap().to_string(),
            "partition 2 is stalled at offset 10; its end is at offset 21"
        );
        assert!(detector.stalled().unwrap().should_restart);
        detector.reset(after(6));
        detector.check(after(9), &[position(10, 21)]);
        assert!(
            !detector.stalled().unwrap().should_restart,
            "it was just restarted"
        );
        detector.check(after(15), &[position(10, 21)]);
        assert!(
            detector.stalled().unwrap().should_restart,
            "the restart did not help"
        );
        detector.check(after(18), &[position(11, 21)]);
        assert_eq!(detector.stalled(), None, "it made progress");
    }

    #[test]
    fn a_position_before_the_end_has_unread_records() {
        assert_eq!(position(20, 20).unread(), None);
        let text = "partition 2 is read to offset 19; its end is at offset 20";
        assert_eq!(position(19, 20).unread().unwrap(), text);
    }

    #[test]
    fn a_partition_read_to_its_end_is_not_stalled() {
        let (mut detector, start) = (StallDetector::default(), Instant::now());
        detector.check(start, &[position(20, 20)]);
        detector.check(start + Duration::from_secs(60), &[position(20, 20)]);
        assert_eq!(detector.stalled(), None);
        detector.check(start + Duration::from_secs(90), &[position(20, 25)]);
        assert_eq!(detector.stalled(), None, "the records are new");
    }

    #[test]
    fn an_unknown_position_does_not_restart_reading() {
        let (mut detector, start) = (StallDetector::default(), Instant::now());
        detector.check(start, &[position(-1001, 5)]);
        detector.check(start + Duration::from_secs(7), &[position(-1001, 5)]);
        let stalled = detector.stalled().unwrap();
        assert!(!stalled.should_restart);
        assert!(
            stalled
                .to_string()
                .contains("waits for the group's committed offsets; an open transaction")
        );
    }
}
