//! When a session stops waiting for more to learn, and when it writes its state.

use std::time::Duration;

use crate::settings::TrainerSettings;

/// The most feedback that waits for the next checkpoint.
const MOST_FEEDBACK: usize = 1_000;

/// How a session divides its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Whether to learn what there is, and to end.
    is_once: bool,
    /// How long to wait for more records before what there is to learn is learned.
    patience: Duration,
    checkpoint_interval: Duration,
}

impl Pace {
    pub(crate) fn new(settings: &TrainerSettings, is_once: bool) -> Self {
        Self {
            is_once,
            patience: Duration::from_millis(settings.retrain_after_ms),
            checkpoint_interval: settings.checkpoint_interval(),
        }
    }

    /// Whether a session that has taken all records in (`is_at_end`), the last one so long ago, awaits no more of them.
    pub(crate) fn awaits_nothing(self, is_at_end: bool, since_input: Duration) -> bool {
        is_at_end && (self.is_once || since_input >= self.patience)
    }

    /// Whether a session that has taken all records in is over.
    pub(crate) fn is_over(self, is_at_end: bool) -> bool {
        is_at_end && self.is_once
    }

    /// Whether news is written, so long after the last commit.
    pub(crate) fn is_checkpoint_due(self, has_news: bool, since_commit: Duration) -> bool {
        has_news && since_commit >= self.checkpoint_interval
    }

    /// Whether so much feedback is written at once.
    pub(crate) fn is_feedback_due(feedback: usize) -> bool {
        feedback >= MOST_FEEDBACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(99);
    const LONG: Duration = Duration::from_millis(100);

    fn pace(is_once: bool) -> Pace {
        let settings = TrainerSettings {
            retrain_after_ms: 100,
            checkpoint_interval_ms: 100,
            ..TrainerSettings::default()
        };
        Pace::new(&settings, is_once)
    }

    #[test]
    fn at_the_end_of_its_input_a_service_waits_for_as_long_as_its_patience_lasts() {
        for (is_at_end, since_input, awaits_nothing) in [
            (false, LONG, false),
            (true, SHORT, false),
            (true, LONG, true),
        ] {
            let found = pace(false).awaits_nothing(is_at_end, since_input);
            assert_eq!(found, awaits_nothing, "{is_at_end} {since_input:?}");
            assert!(!pace(false).is_over(is_at_end));
        }
    }

    #[test]
    fn a_run_that_is_to_end_does_so_at_the_end_of_its_input_without_waiting() {
        assert!(pace(true).awaits_nothing(true, Duration::ZERO) && pace(true).is_over(true));
        assert!(!pace(true).awaits_nothing(false, LONG) && !pace(true).is_over(false));
    }

    #[test]
    fn news_is_written_after_an_interval_and_much_feedback_at_once() {
        assert!(pace(false).is_checkpoint_due(true, LONG));
        assert!(!pace(false).is_checkpoint_due(true, SHORT));
        assert!(!pace(false).is_checkpoint_due(false, LONG));
        assert!(Pace::is_feedback_due(MOST_FEEDBACK));
        assert!(!Pace::is_feedback_due(MOST_FEEDBACK - 1));
    }
}
