//! When a transaction is committed.

use std::time::Duration;

/// Records between two reads of the clock, while input keeps arriving.
const CLOCK_STRIDE: u64 = 16;

/// When a transaction is committed, and when a worker ends.
///
/// A transaction is committed when the input is drained, without a linger at once, so that a trickle is answered without delay,
/// and by age or size under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitPolicy {
    /// The longest that a transaction stays open while input keeps arriving.
    pub commit_interval: Duration,
    /// How long a transaction stays open at least when the input is drained, for records that may arrive.
    pub linger: Duration,
    /// The most records in one transaction.
    pub max_records: u64,
    /// How long without input until the worker ends; `None`: it runs until it is stopped.
    pub idle_timeout: Option<Duration>,
}

impl CommitPolicy {
    /// Whether a transaction with `records` records that has been open for `age` is to be committed.
    fn is_due(&self, records: u64, age: Duration, drained: bool) -> bool {
        let is_drained = drained && self.linger_left(age).is_zero();
        records > 0 && (is_drained || records >= self.max_records || age >= self.commit_interval)
    }

    /// Returns how much longer a transaction that has been open for `age` waits for records after the input is drained.
    pub(super) fn linger_left(&self, age: Duration) -> Duration {
        self.linger.saturating_sub(age)
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
        linger: Duration::ZERO,
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
    fn a_transaction_of_a_drained_input_lingers() {
        let policy = CommitPolicy {
            linger: Duration::from_millis(20),
            ..POLICY
        };
        for (age, is_due, left) in [(0, false, 20), (19, false, 1), (20, true, 0), (90, true, 0)] {
            let age = Duration::from_millis(age);
            assert_eq!(policy.is_due(1, age, true), is_due, "{age:?}");
            assert!(!policy.is_due(1, age, false), "{age:?}");
            assert_eq!(policy.linger_left(age), Duration::from_millis(left));
        }
        assert!(policy.is_due(50, Duration::ZERO, false));
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
