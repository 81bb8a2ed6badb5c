//! Detects a consumer that its group has removed and that does not join again.
//!
//! When librdkafka loses its membership it revokes the partitions, and joins again once the application has agreed. It can fail
//! to: while it waits for the end of an earlier rebalance, it skips the revocation. With librdkafka 2.12.1 and a coordinator that
//! stops at that moment, the wait never ends: the consumer goes on reading the partitions that it has, its commits are refused,
//! and nobody reads the partitions that the group would give it. Only a new client helps.

use std::time::{Duration, Instant};

/// How often the client is asked for its membership; no broker is asked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a consumer that polls may have partitions without being a member. librdkafka revokes them at the next poll.
const REMOVED_AFTER: Duration = Duration::from_secs(10);

/// Notes since when a consumer has partitions without being a member.
#[derive(Debug, Default)]
pub(crate) struct RemovalDetector {
    checked: Option<Instant>,
    since: Option<Instant>,
}

impl RemovalDetector {
    /// Returns whether the consumer has had partitions for long without being a member. `is_outside` returns whether it has now.
    pub(crate) fn check(&mut self, now: Instant, is_outside: impl FnOnce() -> bool) -> bool {
        let elapsed = |since: Instant| now.saturating_duration_since(since);
        if self
            .checked
            .is_none_or(|checked| elapsed(checked) >= CHECK_INTERVAL)
        {
            self.checked = Some(now);
            self.since = is_outside().then(|| self.since.unwrap_or(now));
        }
        self.since
            .is_some_and(|since| elapsed(since) >= REMOVED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_removed_if_it_has_partitions_without_membership_for_long() {
        let (mut detector, start) = (RemovalDetector::default(), Instant::now());
        let mut check = |tenths: u64, is_outside: bool| {
            detector.check(start + Duration::from_millis(100 * tenths), || is_outside)
        };
        assert!(!check(0, true));
        assert!(!check(99, true));
        // It has joined again.
        assert!(!check(110, false));
        assert!(!check(120, true));
        assert!(!check(219, true));
        assert!(check(220, true));
        assert!(check(230, true));
        assert!(!check(240, false));
    }

    #[test]
    fn the_client_is_asked_once_a_second() {
        let (mut detector, start) = (RemovalDetector::default(), Instant::now());
        let mut asked = 0;
        for millis in (0..5_000).step_by(50) {
            detector.check(start + Duration::from_millis(millis), || {
                asked += 1;
                false
            });
        }
        assert_eq!(asked, 5);
    }
}
