//! The row, the time and the partition of each record, as functions of the record's number.

use std::time::Duration;

/// A schedule for sending a dataset's rows in rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// The number of rows in the dataset.
    pub(crate) rows: u64,
    /// The number of times that the dataset is sent.
    pub(crate) rounds: u64,
    /// The time between records.
    pub(crate) interval: Duration,
    /// The number of partitions to send to.
    pub(crate) partitions: u64,
}

impl Schedule {
    /// Returns the number of records to send.
    pub(crate) fn total(&self) -> u64 {
        self.rows.saturating_mul(self.rounds)
    }

    /// Returns the row of the `n`-th record.
    pub(crate) fn row(&self, n: u64) -> u64 {
        n % self.rows
    }

    /// Returns the partition of the `n`-th record if it has no key: the partitions in turn.
    pub(crate) fn partition(&self, n: u64) -> i32 {
        i32::try_from(n % self.partitions).unwrap_or(0)
    }

    /// Returns the time at which the `n`-th record is due, since the start, so that delays do not add up.
    pub(crate) fn due(&self, n: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(n));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_repeat_and_partitions_are_used_in_turn() {
        let schedule = Schedule {
            rows: 3,
            rounds: 2,
            interval: Duration::from_millis(100),
            partitions: 2,
        };
        let plan: Vec<_> = (0..schedule.total())
            .map(|n| (schedule.row(n), schedule.partition(n)))
            .collect();
        assert_eq!(plan, [(0, 0), (1, 1), (2, 0), (0, 1), (1, 0), (2, 1)]);
        assert_eq!(schedule.due(4), Duration::from_millis(400));
    }
}
