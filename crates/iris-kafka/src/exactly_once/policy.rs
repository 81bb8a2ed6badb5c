//! When a transaction is committed.

use std::time::Duration;

/// Records between two reads of the clock, while input keeps arriving.
const CLOCK_STRIDE: u64 = 16;

/// When a transaction is committed, and when a worker ends.
///
/// A transaction is committed as soon as the input is drained, so that a trickle is answered without delay, and by age or
/// size under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// The longest that a transaction stays open while input keeps arriving.
    pub commit_interval: Duration,
    /// The most records in one transaction.
    pub max_records: u64,
    /// How long without input until the worker ends; `None`: it runs until it is stopped.
    pub idle_timeout: Option<Duration>,
}

impl CommitPolicy {
    /// Whether a transaction with `records` records that has been open for `age` is to be committed.
    fn is_due(&self, records: u64, age: Duration, drained: bool) -> bool {
        records > 0 && (drained || records >= self.max_records || age >= self.commit_interval)
    }

    /// As [`is_due`](Self::is_due), but asks for the age only once in some records, since reading the clock for each
    /// would cost throughput.
    pub(super) fn is_due_now(
        &self,
        records: u64,
        age: impl FnOnce() -> Duration,
        drained: bool,
    ) -> bool {
        let looks = drained || records.is_multiple_of(CLOCK_STRIDE) || records >= self.max_records;
        looks && self.is_due(records, age(), drained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CommitPolicy = CommitPolicy {
        commit_interval: Duration::from_millis(100),
        max_records: 50,
        idle_timeout: None,
    };

    #[test]
    fn a_transaction_is_committed_when_the_input_is_drained_or_by_age_or_size() {
        let young = Duration::from_millis(1);
        assert!(
            !POLICY.is_due(0, Duration::from_secs(9), true),
            "there is nothing to commit"
        );
        assert!(!POLICY.is_due(49, young, false));
        assert!(POLICY.is_due(1, young, true));
        assert!(POLICY.is_due(50, young, false));
        assert!(POLICY.is_due(1, POLICY.commit_interval, false));
    }

    #[test]
    fn under_load_the_clock_is_read_once_in_some_records() {
        let old = || POLICY.commit_interval;
        assert!(!POLICY.is_due_now(CLOCK_STRIDE - 1, old, false));
        assert!(POLICY.is_due_now(CLOCK_STRIDE, old, false));
        assert!(POLICY.is_due_now(1, old, true));
        assert!(POLICY.is_due_now(POLICY.max_records, || Duration::ZERO, false));
    }
}
