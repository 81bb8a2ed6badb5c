//! A thread that reads topics into the state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iris_kafka::{LagMetrics, pause};
use iris_service::Part;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::settings::Settings;
use crate::shared::SharedState;

/// How long one wait for records lasts, and so how soon a stop is noticed.
pub(super) const WAIT: Duration = Duration::from_millis(100);

/// How long to wait before reading is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The shortest pause between two readings of the same kind.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two readings of the same kind. A reading that is slow because the cluster does not answer costs
/// nothing, and what it shows should be new soon after the cluster answers.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Each kind of reading takes one part in this many of the time, unless the longest pause is too short for that.
const TIME_SHARE: u32 = 10;

/// The resources of a reader.
pub(super) struct Reader {
    pub(super) settings: Settings,
    pub(super) shared: Arc<SharedState>,
    pub(super) lag: LagMetrics,
    pub(super) part: Arc<Part>,
    pub(super) stop: CancellationToken,
}

impl Reader {
    /// Reads until the service is stopped. An error is logged and reported, and reading is retried.
    pub(super) fn retry<E: Into<anyhow::Error>>(
        &self,
        mut read: impl FnMut(&Self) -> Result<(), E>,
    ) {
        let mut reported = None;
        while !self.stop.is_cancelled() {
            if let Err(error) = read(self)
                && !self.stop.is_cancelled()
            {
                let problem = format!("{:#}", error.into());
                self.part.report(Some(problem.clone()));
                if reported.as_ref() != Some(&problem) {
                    warn!("{problem}; retrying every {} s", RETRY_DELAY.as_secs());
                    reported = Some(problem);
                }
                pause(RETRY_DELAY, &self.stop);
            }
        }
        self.part.finish();
    }

    /// Reports a reading that began at `started`, and pauses until the next one.
    pub(super) fn has_read(&self, started: Instant) {
        self.part.report(None);
        pause(pause_after(started.elapsed()), &self.stop);
    }
}

/// Returns how long to pause after a reading: the longer it took, the longer the pause.
fn pause_after(took: Duration) -> Duration {
    (took * (TIME_SHARE - 1)).clamp(MIN_PAUSE, MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_a_bounded_share_of_the_time_and_a_slow_one_is_repeated_soon() {
        let ms = Duration::from_millis;
        for (took, pause) in [(5, 500), (100, 900), (300, 2_000), (10_000, 2_000)] {
            assert_eq!(pause_after(ms(took)), ms(pause));
        }
    }
}
