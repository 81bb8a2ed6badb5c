//! When a worker without progress ends: with success if there is nothing left to read, with an error otherwise.
//!
//! The workers of a process end together. If one ended while another still had records, its partitions would move during that
//! work, and the group could wait for it: librdkafka may fail to leave a group that is rebalancing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How much longer than the idle timeout a worker with unprocessed records may be without progress. The client's own
/// recovery from a leader change or a lost connection takes less.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a drained worker checks that it still is, while it waits for others.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Workers that end together when all of them are drained.
#[derive(Clone, Debug)]
pub struct IdleGroup {
    /// The number of workers that are not drained, or have not started yet.
    busy: Arc<AtomicUsize>,
}

impl IdleGroup {
    /// Returns a group of this number of workers.
    #[must_use]
    pub fn of(workers: usize) -> Self {
        Self {
            busy: Arc::new(AtomicUsize::new(workers)),
        }
    }
}

/// A worker's part in its group.
#[derive(Debug)]
pub(super) struct IdleMember {
    group: IdleGroup,
    /// When the worker was last found to be drained; `None` if it is not.
    drained: Option<Instant>,
    /// The number of rebalances when that was last judged.
    rebalances: u64,
}

impl IdleMember {
    /// Starts one of the group's workers, which is not drained at first.
    pub(super) fn new(group: &IdleGroup) -> Self {
        Self {
            group: group.clone(),
            drained: None,
            rebalances: 0,
        }
    }

    /// Notes whether the worker is drained.
    pub(super) fn note(&mut self, is_drained: bool) {
        match (self.drained.is_some(), is_drained) {
            (false, true) => self.group.busy.fetch_sub(1, Ordering::SeqCst),
            (true, false) => self.group.busy.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        self.drained = is_drained.then(Instant::now);
    }

    /// Notes the number of rebalances so far. After another one, the worker may have partitions that are not drained.
    pub(super) fn note_rebalances(&mut self, rebalances: u64) {
        if std::mem::replace(&mut self.rebalances, rebalances) != rebalances {
            self.note(false);
        }
    }

    /// Whether the worker was found to be drained so recently that it need not be checked again.
    pub(super) fn is_known(&self) -> bool {
        let is_recent = |drained: Instant| drained.elapsed() < CHECK_INTERVAL;
        self.drained.is_some_and(is_recent)
    }

    /// Whether this worker is drained, and all others are drained or have ended.
    pub(super) fn may_end(&self) -> bool {
        self.drained.is_some() && self.group.busy.load(Ordering::SeqCst) == 0
    }
}

impl Drop for IdleMember {
    fn drop(&mut self) {
        self.note(true);
    }
}

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
    fn workers_end_when_all_of_them_are_drained_or_have_ended() {
        let group = IdleGroup::of(3);
        let [mut first, mut second, third] = [(); 3].map(|()| IdleMember::new(&group));
        first.note(true);
        assert!(first.is_known() && !first.may_end());
        second.note(true);
        second.note(true);
        assert!(!second.may_end());
        drop(third);
        assert!(first.may_end() && second.may_end());
        first.note(false);
        assert!(!first.is_known() && !first.may_end() && !second.may_end());
        first.note(true);
        drop(second);
        assert!(first.may_end());
        first.note_rebalances(1);
        assert!(!first.may_end());
        first.note(true);
        first.note_rebalances(1);
        assert!(first.may_end());
    }

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
