//! When a worker without progress ends: with success if there is nothing left to read, with an error otherwise.

use std::time::Duration;

/// How much longer than the idle timeout a worker with unprocessed records may be without progress. The client's own
/// recovery from a leader change or a lost connection takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// The decision about a worker without progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Idleness {
    /// It continues.
    Continues,
    /// All records are processed: it ends.
    Drained,
    /// Records are left, and it cannot process them: it fails with this problem.
    Stuck(String),
}

/// Decides about a worker that has made no progress for `idle`. `problem` returns the reason why records are left; `None` if
/// there are none. It is called only after the timeout, because it may ask the brokers.
pub(super) fn judge(
    idle: Duration,
    timeout: Option<Duration>,
    problem: impl FnOnce() -> Option<String>,
) -> Idleness {
    let Some(timeout) = timeout.filter(|&timeout| idle >= timeout) else {
        return Idleness::Continues;
    };
    match problem() {
        None => Idleness::Drained,
        Some(problem) if idle >= timeout.saturating_add(PATIENCE) => Idleness::Stuck(problem),
        Some(_) => Idleness::Continues,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_ends_with_success_only_if_nothing_is_left() {
        let problem = || Some("the topic refuses it".to_owned());
        let stuck = Idleness::Stuck("the topic refuses it".to_owned());
        let seconds = Duration::from_secs;
        let timeout = Some(seconds(2));
        for (idle, timeout, is_left, expected) in [
            (seconds(900), None, false, Idleness::Continues),
            (seconds(900), None, true, Idleness::Continues),
            (seconds(1), timeout, false, Idleness::Continues),
            (seconds(2), timeout, false, Idleness::Drained),
            (seconds(2), timeout, true, Idleness::Continues),
            (seconds(11), timeout, true, Idleness::Continues),
            (seconds(12), timeout, true, stuck),
            (seconds(12), timeout, false, Idleness::Drained),
        ] {
            let left = || if is_left { problem() } else { None };
            assert_eq!(judge(idle, timeout, left), expected, "{idle:?} {is_left}");
        }
    }
}
