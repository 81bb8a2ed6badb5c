//! Calls of the client library with an enforced time limit.
//!
//! librdkafka does not always enforce its own: `rd_kafka_send_offsets_to_transaction` ignores its timeout while the group's
//! coordinator is unreachable ([#5456](https://github.com/confluentinc/librdkafka/issues/5456)) or decommissioned
//! ([#5511](https://github.com/confluentinc/librdkafka/issues/5511)), and other calls have no timeout at all. So each call
//! runs on a thread of its own. A call that does not return in time is abandoned together with its thread and its client;
//! they stay until it returns.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

type Job<C> = Box<dyn FnOnce(&C) + Send>;

/// A client, and the thread that makes its calls. Calls that need no limit are made on the [client](Self::client) itself.
#[derive(Debug)]
pub(crate) struct Caller<C> {
    jobs: mpsc::Sender<Job<C>>,
    client: Arc<C>,
}

impl<C: Send + Sync + 'static> Caller<C> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system cannot start one.
    pub(crate) fn start(client: C) -> io::Result<Self> {
        let client = Arc::new(client);
        let (jobs, to_do) = mpsc::channel::<Job<C>>();
        let theirs = Arc::clone(&client);
        let thread = thread::Builder::new().name("calls".to_owned());
        thread.spawn(move || to_do.into_iter().for_each(|job| job(&theirs)))?;
        Ok(Self { jobs, client })
    }

    /// Returns the client, for calls without a limit.
    pub(crate) fn client(&self) -> &C {
        &self.client
    }

    /// Makes a call. Returns `None` if it takes longer than `limit`; then the caller must not be used any more.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce(&C) -> T + Send + 'static,
    ) -> Option<T> {
        self.begin(limit, call).wait()
    }

    /// Makes a call, and runs `meanwhile` at every `step` until it returns.
    pub(crate) fn call_while<T: Send + 'static>(
        &self,
        limit: Duration,
        step: Duration,
        mut meanwhile: impl FnMut(&C),
        call: impl FnOnce(&C) -> T + Send + 'static,
    ) -> Option<T> {
        let begun = self.begin(limit, call);
        loop {
            let left = begun.left();
            match begun.answered.recv_timeout(step.min(left)) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => meanwhile(&self.client),
                Err(_) => return None,
            }
        }
    }

    /// Begins a call, which is made after those that were begun before, and does not wait for it.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce(&C) -> T + Send + 'static,
    ) -> Begun<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let job = move |client: &C| {
            // Only an abandoned call has no receiver.
            let _ = answer.send(call(client));
        };
        // If the thread has ended, the job is dropped, and so is the sender of its answer.
        let _ = self.jobs.send(Box::new(job));
        Begun {
            deadline: Instant::now() + limit,
            answered,
        }
    }
}

/// A call that was begun.
#[derive(Debug)]
pub(crate) struct Begun<T> {
    deadline: Instant,
    answered: mpsc::Receiver<T>,
}

impl<T> Begun<T> {
    /// Waits for the answer. Returns `None` if the call takes longer than its limit; then its caller must not be used any more.
    pub(crate) fn wait(self) -> Option<T> {
        self.answered.recv_timeout(self.left()).ok()
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn calls_are_made_one_after_the_other() {
        let caller = Caller::start(5).unwrap();
        for n in 0..3 {
            assert_eq!(caller.call(LONG, move |&five| five + n), Some(5 + n));
        }
    }

    #[test]
    fn a_call_that_does_not_return_in_time_is_abandoned_and_so_are_later_ones() {
        let caller = Caller::start(()).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let limit = Duration::from_millis(20);
        assert_eq!(caller.call(limit, move |()| released.recv().is_ok()), None);
        assert_eq!(caller.call(limit, |()| true), None);
        drop(release);
        assert_eq!(caller.call(LONG, |()| true), Some(true));
    }

    #[test]
    fn a_call_that_was_begun_is_made_while_its_caller_does_something_else() {
        let (signal, signalled) = mpsc::channel::<()>();
        let caller = Caller::start(5).unwrap();
        let begun = caller.begin(LONG, move |&five| signalled.recv().map(|()| five));
        let next = caller.begin(LONG, |&five| five + 1);
        signal.send(()).unwrap();
        assert_eq!(next.wait(), Some(6));
        assert_eq!(begun.wait(), Some(Ok(5)));
    }

    #[test]
    fn meanwhile_runs_while_a_call_lasts() {
        let (signal, signalled) = mpsc::channel::<()>();
        let caller = Caller::start(()).unwrap();
        let step = Duration::from_millis(1);
        let meanwhile = |()| signal.send(()).unwrap();
        let lasted = caller.call_while(
            LONG,
            step,
            |&()| meanwhile(()),
            move |()| signalled.recv().is_ok(),
        );
        assert_eq!(lasted, Some(true));
    }

    #[test]
    fn a_call_that_panics_is_abandoned_at_once() {
        let caller = Caller::start(()).unwrap();
        let answer = caller.call::<()>(LONG, |()| panic!("on purpose"));
        assert_eq!(answer, None);
    }
}
