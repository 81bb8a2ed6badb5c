//! Which row is sent when, and where to: a plan that is a function of its number alone.

use std::time::Duration;

/// A plan for sending a dataset's rows in rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Rows in the dataset.
    pub(crate) rows: u64,
    /// How often the dataset is sent.
    pub(crate) rounds: u64,
    /// The time between records.
    pub(crate) interval: Duration,
    /// Partitions to send to.
    pub(crate) partitions: u64,
}

impl Schedule {
    /// How many records there are to send.
    pub(crate) fn total(&self) -> u64 {
        self.rows.saturating_mul(self.rounds)
    }

    /// The row that the `n`-th record is made of.
    pub(crate) fn row(&self, n: u64) -> u64 {
        n % self.rows
    }

    /// The partition of the `n`-th record, where no key decides: the partitions in turn.
    pub(crate) fn partition(&self, n: u64) -> i32 {
        i32::try_from(n % self.partitions).unwrap_or(0)
    }

    /// When the `n`-th record is due, from the start. Counted from there, so that delays do not add up.
    pub(crate) fn due(&self, n: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(n));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_repeat_and_partitions_go_on_in_turn() {
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
