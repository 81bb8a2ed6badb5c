//! The partitions of the input topic, and the progress of consumer groups in them.

use iris_contract::PartitionProgress;
use serde::Serialize;
use utoipa::ToSchema;

/// A partition with unread records and no progress for this long is stalled, in milliseconds.
const STALLED_MS: i64 = 5_000;

/// Whether a consumer group keeps up with a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Every record has been read.
    CaughtUp,
    /// There are unread records, and they are being read.
    Behind,
    /// There are unread records, and none has been read for 5 s.
    Stalled,
    /// Another group has made progress since.
    Superseded,
    /// There are records, and no transaction has read any of them.
    NoCommitYet,
    /// There are no records.
    Empty,
    /// The end offset is not known.
    Unknown,
}

impl PartitionState {
    /// Returns the state in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::CaughtUp => "caught up",
            Self::Behind => "behind",
            Self::Stalled => "stalled",
            Self::Superseded => "taken over by another group",
            Self::NoCommitYet => "no commit yet",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }
}

/// A partition of the input topic, and the progress of one consumer group in it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Partition {
    /// The number of the partition.
    pub partition: i32,
    /// The consumer group; null if none has committed anything.
    pub group: Option<String>,
    /// The offset after the last committed record; null if it is not known.
    pub end_offset: Option<i64>,
    /// The offset that the group reads next.
    pub next_offset: Option<i64>,
    /// The number of offsets from the next one to the end. It includes transaction markers and aborted records before the end.
    pub lag: Option<i64>,
    /// Records with an outcome.
    pub records: u64,
    /// Records per second over the last 10 s; null if it is not known.
    pub records_per_second: Option<f64>,
    /// Whether the group keeps up.
    pub state: PartitionState,
    /// The process and the worker that were the last to commit records of the partition; null if it is not known.
    pub worker: Option<String>,
    /// If the partition is stalled, the time since which it has had unread records without progress, in milliseconds since the
    /// epoch; else null.
    pub stalled_since_ms: Option<i64>,
}

impl Partition {
    /// Returns a partition in which no group has committed anything.
    pub(super) fn without_group(partition: i32, end: i64, records_per_second: Option<f64>) -> Self {
        Self {
            partition,
            group: None,
            end_offset: Some(end),
            next_offset: None,
            lag: None,
            records: 0,
            records_per_second,
            state: if end > 0 {
                PartitionState::NoCommitYet
            } else {
                PartitionState::Empty
            },
            worker: None,
            stalled_since_ms: None,
        }
    }
}

/// The summaries of a partition are in several partitions of their topic, and may be read in another order than they were
/// written in. The clocks of the hosts that wrote them differ by less than this, in milliseconds.
const CLOCK_DIFFERENCE_MS: i64 = 60_000;

/// The progress of a consumer group in a partition. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) records: u64,
    /// The offset after the last record with an outcome.
    pub(super) next_offset: i64,
    /// The offset that the group has committed, if it was asked.
    pub(super) committed: Option<i64>,
    /// The time of the last progress.
    pub(super) moved: i64,
    /// The worker of the last progress.
    pub(super) worker: Option<String>,
    /// The time since which there have been unread records without progress.
    waiting_since: Option<i64>,
}

impl Progress {
    /// Adds the records of a worker's transaction that ended at `at`. An earlier transaction than the last one adds records, but
    /// is no progress.
    pub(super) fn advance(&mut self, read: &PartitionProgress, worker: Option<&String>, at: i64) {
        self.records += read.records;
        // After the topic was recreated, a later transaction has a lower offset.
        let is_ahead = read.next_offset > self.next_offset && at + CLOCK_DIFFERENCE_MS > self.moved;
        if at >= self.moved || is_ahead {
            self.next_offset = read.next_offset;
            self.moved = self.moved.max(at);
            if self.worker.as_ref() != worker {
                self.worker = worker.cloned();
            }
            self.waiting_since = None;
        }
    }

    /// Returns the time since which there have been unread records without progress, if the partition is stalled.
    pub(super) fn stalled_since(&self, state: PartitionState) -> Option<i64> {
        self.waiting_since
            .filter(|_| state == PartitionState::Stalled)
    }

    /// Returns the offset that the group reads next. Behind the last record there may be transaction markers and aborted
    /// records, which have no outcome.
    pub(super) fn position(&self) -> i64 {
        self.next_offset.max(self.committed.unwrap_or(0))
    }

    /// Compares the progress with the end of the partition at `at`; `None` if it is not known.
    pub(super) fn compare(&mut self, end: Option<i64>, at: i64) {
        let has_unread = end.is_some_and(|end| end > self.position());
        self.waiting_since = has_unread.then(|| self.waiting_since.unwrap_or(at));
    }

    /// Returns the state of a partition whose end is at `end`, if it is known.
    pub(super) fn state(&self, end: Option<i64>, is_superseded: bool, now: i64) -> PartitionState {
        match (end, self.waiting_since) {
            _ if is_superseded => PartitionState::Superseded,
            (None, _) => PartitionState::Unknown,
            (Some(_), None) => PartitionState::CaughtUp,
            (Some(_), Some(since)) if now - since >= STALLED_MS => PartitionState::Stalled,
            (Some(_), Some(_)) => PartitionState::Behind,
        }
    }
}
