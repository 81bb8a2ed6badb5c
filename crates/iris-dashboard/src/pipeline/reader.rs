//! A thread that reads topics into the state.

use std::sync::Arc;
use std::time::Duration;

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
}
