//! The schedule of a session: when it stops waiting for records, and when it writes a checkpoint.

use std::time::Duration;

use crate::settings::TrainerSettings;

/// The maximum number of feedback records that wait for the next checkpoint.
const MAX_FEEDBACK: usize = 1_000;

/// The schedule of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Whether the session ends at the end of its input.
    is_once: bool,
    /// How long to wait for more records before the pending examples are learned.
    idle_timeout: Duration,
    checkpoint_interval: Duration,
}

impl Schedule {
    pub(crate) fn new(settings: &TrainerSettings, is_once: bool) -> Self {
        Self {
            is_once,
            idle_timeout: Duration::from_millis(settings.retrain_after_ms),
            checkpoint_interval: settings.checkpoint_interval(),
        }
    }

    /// Whether no more records are expected. `is_at_end`: all records have been processed; `since_input`: the time since the
    /// last one.
    pub(crate) fn is_input_over(self, is_at_end: bool, since_input: Duration) -> bool {
        is_at_end && (self.is_once || since_input >= self.idle_timeout)
    }

    /// Whether the session ends. `is_at_end`: all records have been processed.
    pub(crate) fn is_finished(self, is_at_end: bool) -> bool {
        is_at_end && self.is_once
    }

    /// Whether uncommitted changes are written, this long after the last commit.
    pub(crate) fn is_checkpoint_due(self, has_changes: bool, since_commit: Duration) -> bool {
        has_changes && since_commit >= self.checkpoint_interval
    }

    /// Whether this number of feedback records is written at once.
    pub(crate) fn is_feedback_due(feedback: usize) -> bool {
        feedback >= MAX_FEEDBACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(99);
    const LONG: Duration = Duration::from_millis(100);

    fn schedule(is_once: bool) -> Schedule {
        let settings = TrainerSettings {
            retrain_after_ms: 100,
            checkpoint_interval_ms: 100,
            ..TrainerSettings::default()
        };
        Schedule::new(&settings, is_once)
    }

    #[test]
    fn a_service_waits_for_the_idle_timeout_at_the_end_of_its_input() {
        for (is_at_end, since_input, is_input_over) in [
            (false, LONG, false),
            (true, SHORT, false),
            (true, LONG, true),
        ] {
            let found = schedule(false).is_input_over(is_at_end, since_input);
            assert_eq!(found, is_input_over, "{is_at_end} {since_input:?}");
            assert!(!schedule(false).is_finished(is_at_end));
        }
    }

    #[test]
    fn a_run_with_once_ends_at_the_end_of_its_input_without_waiting() {
        assert!(
            schedule(true).is_input_over(true, Duration::ZERO) && schedule(true).is_finished(true)
        );
        assert!(!schedule(true).is_input_over(false, LONG) && !schedule(true).is_finished(false));
    }

    #[test]
    fn changes_are_written_after_an_interval_and_much_feedback_at_once() {
        assert!(schedule(false).is_checkpoint_due(true, LONG));
        assert!(!schedule(false).is_checkpoint_due(true, SHORT));
        assert!(!schedule(false).is_checkpoint_due(false, LONG));
        assert!(Schedule::is_feedback_due(MAX_FEEDBACK));
        assert!(!Schedule::is_feedback_due(MAX_FEEDBACK - 1));
    }
}
