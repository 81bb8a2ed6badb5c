//! Calls of the client library with a time limit that holds.
//!
//! librdkafka's own does not always: `rd_kafka_send_offsets_to_transaction` waits without end for a group's coordinator that
//! was forgotten (its issues 5456 and 5511), and others of its calls have no limit at all. So they are made on a thread of
//! their own. A call that does not come back is given up together with its thread and its client; they stay until it does.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

type Job<C> = Box<dyn FnOnce(&C) + Send>;

/// A client, and the thread that makes its calls. What needs no limit goes to the [client](Self::client) itself.
#[derive(Debug)]
pub(crate) struct Caller<C> {
    jobs: mpsc::Sender<Job<C>>,
    client: Arc<C>,
}

impl<C: Send + Sync + 'static> Caller<C> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there cannot be one.
    pub(crate) fn start(client: C) -> io::Result<Self> {
        let client = Arc::new(client);
        let (jobs, to_do) = mpsc::channel::<Job<C>>();
        let theirs = Arc::clone(&client);
        let thread = thread::Builder::new().name("calls".to_owned());
        thread.spawn(move || to_do.into_iter().for_each(|job| job(&theirs)))?;
        Ok(Self { jobs, client })
    }

    pub(crate) fn client(&self) -> &C {
        &self.client
    }

    /// Makes a call. `None` if it is not back within `limit`; then the caller is not to be used any more.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce(&C) -> T + Send + 'static,
    ) -> Option<T> {
        self.call_while(limit, limit, |_| (), call)
    }

    /// Makes a call, and at every `step` until it is back something else.
    pub(crate) fn call_while<T: Send + 'static>(
        &self,
        limit: Duration,
        step: Duration,
        mut meanwhile: impl FnMut(&C),
        call: impl FnOnce(&C) -> T + Send + 'static,
    ) -> Option<T> {
        let give_up = Instant::now() + limit;
        let (answer, answered) = mpsc::sync_channel(1);
        let job = move |client: &C| {
            // Nobody waits any more only if it was given up.
            let _ = answer.send(call(client));
        };
        self.jobs.send(Box::new(job)).ok()?;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            match answered.recv_timeout(step.min(left)) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => meanwhile(&self.client),
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn calls_are_made_one_after_the_other_and_answered() {
        let caller = Caller::start(5).unwrap();
        for n in 0..3 {
            assert_eq!(caller.call(LONG, move |&five| five + n), Some(5 + n));
        }
    }

    #[test]
    fn a_call_that_does_not_come_back_is_given_up_and_so_are_those_behind_it() {
        let caller = Caller::start(()).unwrap();
        let (go_on, wait) = mpsc::channel::<()>();
        let limit = Duration::from_millis(20);
        assert_eq!(caller.call(limit, move |()| wait.recv().is_ok()), None);
        assert_eq!(caller.call(limit, |()| true), None);
        drop(go_on);
        assert_eq!(caller.call(LONG, |()| true), Some(true));
    }

    #[test]
    fn something_else_is_done_while_a_call_lasts() {
        let (tell, told) = mpsc::channel::<()>();
        let caller = Caller::start(()).unwrap();
        let step = Duration::from_millis(1);
        let meanwhile = |()| tell.send(()).unwrap();
        let lasted = caller.call_while(
            LONG,
            step,
            |&()| meanwhile(()),
            move |()| told.recv().is_ok(),
        );
        assert_eq!(lasted, Some(true));
    }

    #[test]
    fn a_call_that_panics_is_given_up_at_once() {
        let caller = Caller::start(()).unwrap();
        let answer = caller.call::<()>(LONG, |()| panic!("on purpose"));
        assert_eq!(answer, None);
    }
}
