//! Calls of the store, repeated until they succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iris_feedback_store::StoreError;
use iris_kafka::{Backoff, pause};
use iris_service::Part;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// How long the store may take to answer. Short enough that a stalled sink reports the cause within 15 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// The shortest and the longest pause before a call is repeated.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// Calls the store from a thread, and reports the sink as not ready while the store fails.
#[derive(Clone)]
pub(crate) struct StoreCaller {
    pub(crate) runtime: Handle,
    pub(crate) part: Arc<Part>,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    /// Whether the latest call failed.
    pub(crate) is_failing: Arc<AtomicBool>,
}

impl StoreCaller {
    /// Repeats a call until it succeeds; logs when calls start to fail and when they succeed again. Returns `None` if the
    /// service is stopped first.
    ///
    /// # Errors
    /// An error that is permanent.
    pub(crate) fn call<T>(
        &self,
        operation: &'static str,
        call: impl AsyncFnMut() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        self.call_while(operation, call, || Ok(()))
    }

    /// Repeats a call as [`call`](Self::call) does, and runs `meanwhile` before each repetition.
    ///
    /// # Errors
    /// An error that is permanent, or that of `meanwhile`.
    pub(crate) fn call_while<T, E: From<StoreError>>(
        &self,
        operation: &'static str,
        mut call: impl AsyncFnMut() -> Result<T, StoreError>,
        mut meanwhile: impl FnMut() -> Result<(), E>,
    ) -> Result<Option<T>, E> {
        let [shortest, longest] = PAUSES;
        let mut backoff = Backoff::new(shortest, longest);
        loop {
            let error = match self.call_once(operation, &mut call) {
                Ok(value) => {
                    if self.is_failing.swap(false, Ordering::Relaxed) {
                        info!("the feedback store works again");
                    }
                    return Ok(Some(value));
                }
                Err(error) if is_permanent(&error) => return Err(error.into()),
                Err(error) => error,
            };
            let cause = format!("{:#}", anyhow::Error::new(error));
            if !self.is_failing.swap(true, Ordering::Relaxed) {
                warn!("{cause}; retrying until it succeeds");
            }
            self.part.report(Some(cause));
            if !pause(backoff.next_delay(), &self.stop) {
                return Ok(None);
            }
            meanwhile()?;
        }
    }

    /// Calls once. Returns `None` if a repetition may help.
    ///
    /// # Errors
    /// An error that is permanent.
    pub(crate) fn attempt<T>(
        &self,
        operation: &'static str,
        call: &mut impl AsyncFnMut() -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match self.call_once(operation, call) {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_permanent(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Calls once, and records how long it took.
    fn call_once<T>(
        &self,
        operation: &'static str,
        call: &mut impl AsyncFnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let answer = async { tokio::time::timeout(ANSWER_TIMEOUT, call()).await };
        let result = self
            .runtime
            .block_on(answer)
            .unwrap_or(Err(StoreError::NoAnswer { operation }));
        self.metrics
            .operation(operation, result.is_ok(), started.elapsed());
        result
    }
}

/// Returns whether repeating the call cannot help.
fn is_permanent(error: &StoreError) -> bool {
    matches!(error, StoreError::Unusable { .. })
}

#[cfg(test)]
mod tests {
    use iris_service::Service;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::NAME;

    fn caller(stop: CancellationToken, runtime: &Runtime) -> StoreCaller {
        let service = Service::detached(NAME);
        StoreCaller {
            runtime: runtime.handle().clone(),
            part: service.health.part("sink"),
            metrics: Metrics::register(&service),
            stop,
            is_failing: Arc::default(),
        }
    }

    fn no_answer() -> StoreError {
        StoreError::NoAnswer {
            operation: "read_row",
        }
    }

    #[test]
    fn a_call_that_fails_is_repeated_until_it_succeeds() {
        let runtime = Runtime::new().unwrap();
        let caller = caller(CancellationToken::new(), &runtime);
        let mut calls = 0;
        let answer = caller.call("test", async || {
            calls += 1;
            if calls == 1 { Err(no_answer()) } else { Ok(7) }
        });
        assert_eq!((answer.unwrap(), calls), (Some(7), 2));
    }

    #[test]
    fn something_else_is_done_before_each_repetition_and_its_error_ends_them() {
        let runtime = Runtime::new().unwrap();
        let caller = caller(CancellationToken::new(), &runtime);
        let mut done = 0;
        let meanwhile = || {
            done += 1;
            if done == 2 { Err(no_answer()) } else { Ok(()) }
        };
        let mut calls = 0;
        let answer = caller.call_while(
            "test",
            async || {
                calls += 1;
                Err::<(), _>(no_answer())
            },
            meanwhile,
        );
        assert!(answer.is_err());
        assert_eq!((calls, done), (2, 2));
    }

    #[test]
    fn a_call_is_not_repeated_after_a_stop() {
        let runtime = Runtime::new().unwrap();
        let stop = CancellationToken::new();
        let caller = caller(stop.clone(), &runtime);
        let mut calls = 0;
        let answer = caller.call("test", async || {
            calls += 1;
            stop.cancel();
            Err::<(), _>(no_answer())
        });
        assert!(matches!(answer, Ok(None)), "{answer:?}");
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_permanent_error_is_returned_at_once() {
        let runtime = Runtime::new().unwrap();
        let caller = caller(CancellationToken::new(), &runtime);
        let mut calls = 0;
        let refused = caller.call("test", async || {
            calls += 1;
            Err::<(), _>(StoreError::Unusable {
                store: "sqlite://x".to_owned(),
                cause: "it is not a database".to_owned(),
            })
        });
        assert!(
            matches!(refused, Err(StoreError::Unusable { .. })),
            "{refused:?}"
        );
        assert_eq!(calls, 1);
        let attempt = caller.attempt("test", &mut async || Err::<(), _>(no_answer()));
        assert!(matches!(attempt, Ok(None)), "{attempt:?}");
    }
}
