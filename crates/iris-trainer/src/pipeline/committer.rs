//! Commits in the background: while a transaction is written, the session learns from the next records and prepares the next
//! one.
//!
//! There is one transaction at a time, so they are committed in the order in which they were submitted, and none after one that
//! has failed.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iris_contract::registry::Entry;
use iris_contract::{LoopFigures, Topics};
use iris_kafka::{SourceTopic, TopicWatcher};
use iris_registry::RegistryWriter;
use tracing::debug;

use super::error::SessionError;
use super::outgoing;
use crate::checkpoint::KeyedValue;
use crate::observation::RawPrediction;
use crate::outcome::Outcome;

/// How long the check that a topic has not changed may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The records of a transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) entries: Vec<Entry>,
    pub(super) feedback: Vec<RawPrediction>,
    pub(super) state: Vec<KeyedValue>,
}

/// The content of a transaction, to be logged and counted once it is committed.
#[derive(Debug)]
pub(super) struct Content {
    /// The decisions, each with the time since which it was due.
    pub(super) decisions: Vec<(Outcome, Instant)>,
    pub(super) figures: LoopFigures,
    pub(super) feedback: usize,
}

/// A transaction that is committed.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) content: Content,
    /// When the commit was acknowledged.
    pub(super) at: Instant,
}

/// The decisions that wait for the transaction before theirs.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) entries: Vec<Entry>,
    /// Each with the time since which it was due.
    pub(super) decisions: Vec<(Outcome, Instant)>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }
}

/// Writes transactions.
pub(super) trait Write: Send + 'static {
    /// Writes a transaction.
    ///
    /// # Errors
    /// [`SessionError`] if it is not known to be committed.
    fn write(&mut self, transaction: &Transaction) -> Result<(), SessionError>;
}

/// Writes transactions to the registry and the other topics.
#[derive(Debug)]
pub(super) struct TopicWriter {
    pub(super) registry: RegistryWriter,
    pub(super) topics: Topics,
    /// The topics that are read.
    pub(super) sources: [SourceTopic; 2],
    /// Asks for their states.
    pub(super) watcher: TopicWatcher,
}

impl Write for TopicWriter {
    fn write(&mut self, transaction: &Transaction) -> Result<(), SessionError> {
        let begun = Instant::now();
        self.check_sources()?;
        let checked = Instant::now();
        let Topics {
            feedback,
            trainer_state,
            ..
        } = &self.topics;
        let records = transaction.feedback.iter();
        let records = records.map(|record| outgoing::late_feedback(feedback, record));
        let state = transaction.state.iter();
        let state = state.map(|(key, value)| outgoing::state(trainer_state, key, value.as_deref()));
        let entries = &transaction.entries;
        self.registry.write(entries, records.chain(state))?;
        debug!(
            "committed {} registry records: topics checked in {:.1?}, transaction written in {:.1?}",
            entries.len(),
            checked - begun,
            checked.elapsed()
        );
        Ok(())
    }
}

impl TopicWriter {
    /// Checks that the topics are still the ones that the offsets belong to. They were read before.
    fn check_sources(&self) -> Result<(), SessionError> {
        let states = self.watcher.states(CHECK_TIMEOUT)?;
        for (source, state) in self.sources.iter().zip(&states) {
            source.check(state)?;
        }
        Ok(())
    }
}

/// The thread that commits, and the transaction that it has not finished.
#[derive(Debug)]
pub(super) struct Committer {
    transactions: Option<Sender<Transaction>>,
    results: Receiver<Result<Instant, SessionError>>,
    pending: Option<Content>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start(mut writer: impl Write) -> Self {
        let (transactions, received) = channel::<Transaction>();
        let (sender, results) = channel();
        let thread = thread::spawn(move || {
            for transaction in received {
                let result = writer.write(&transaction).map(|()| Instant::now());
                if sender.send(result).is_err() {
                    break;
                }
            }
        });
        Self {
            transactions: Some(transactions),
            results,
            pending: None,
            thread: Some(thread),
        }
    }

    /// Submits a transaction. The previous one has to be [finished](Self::finish).
    pub(super) fn submit(&mut self, transaction: Transaction, content: Content) {
        debug_assert!(self.pending.is_none(), "one transaction at a time");
        // If the thread has panicked, the result shows it.
        let _ = self.transactions.as_ref().map(|to| to.send(transaction));
        self.pending = Some(content);
    }

    /// Waits until the transaction that was submitted last is committed, and returns it; `None` if it was returned before.
    ///
    /// # Errors
    /// [`SessionError`] if it is not known to be committed.
    pub(super) fn finish(&mut self) -> Result<Option<Committed>, SessionError> {
        let Some(content) = self.pending.take() else {
            return Ok(None);
        };
        match self.results.recv() {
            Ok(result) => result.map(|at| Some(Committed { content, at })),
            Err(_) => self.resume_panic(),
        }
    }

    /// As [`finish`](Self::finish), but returns `None` instead of waiting.
    ///
    /// # Errors
    /// [`SessionError`] if the transaction is not known to be committed.
    pub(super) fn finish_if_done(&mut self) -> Result<Option<Committed>, SessionError> {
        match self.results.try_recv() {
            Ok(result) => {
                let content = self.pending.take();
                result.map(|at| content.map(|content| Committed { content, at }))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => self.resume_panic(),
        }
    }

    /// Whether no transaction is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_none()
    }

    /// Waits for the thread, which has ended although nothing asked it to, and continues its panic.
    fn resume_panic(&mut self) -> ! {
        let ended = self.thread.take().map(JoinHandle::join);
        let panic = ended.and_then(Result::err);
        std::panic::resume_unwind(panic.unwrap_or_else(|| Box::new("the committer has ended")))
    }
}

/// Waits for the transaction that is being written: the next session takes its turn after it, not beside it.
impl Drop for Committer {
    fn drop(&mut self) {
        self.transactions = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been continued, or the session has failed anyway.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use iris_registry::RegistryTopicError;

    use super::*;

    /// Writes once it may, unless the key of the state is `fail`.
    struct Simulated {
        may_write: Receiver<()>,
        written: Arc<Mutex<Vec<String>>>,
    }

    impl Write for Simulated {
        fn write(&mut self, transaction: &Transaction) -> Result<(), SessionError> {
            let _ = self.may_write.recv();
            let key = transaction.state[0].0.clone();
            if key == "fail" {
                return Err(RegistryTopicError::Stopped.into());
            }
            assert_ne!(key, "panic");
            self.written.lock().unwrap().push(key);
            Ok(())
        }
    }

    struct Fixture {
        committer: Committer,
        allow: Sender<()>,
        written: Arc<Mutex<Vec<String>>>,
    }

    fn fixture() -> Fixture {
        let (allow, may_write) = channel();
        let written = Arc::default();
        let simulated = Simulated {
            may_write,
            written: Arc::clone(&written),
        };
        Fixture {
            committer: Committer::start(simulated),
            allow,
            written,
        }
    }

    fn submit(committer: &mut Committer, key: &str, feedback: usize) {
        let transaction = Transaction {
            entries: Vec::new(),
            feedback: Vec::new(),
            state: vec![(key.to_owned(), None)],
        };
        let content = Content {
            decisions: Vec::new(),
            figures: crate::evaluation::Evaluation::default().figures(),
            feedback,
        };
        committer.submit(transaction, content);
    }

    #[test]
    fn a_transaction_is_returned_once_it_is_committed() {
        let mut fixture = fixture();
        let committer = &mut fixture.committer;
        assert!(committer.finish().unwrap().is_none());
        for (key, feedback) in [("first", 7), ("second", 8)] {
            submit(committer, key, feedback);
            assert!(committer.finish_if_done().unwrap().is_none() && !committer.is_idle());
            fixture.allow.send(()).unwrap();
            let committed = committer.finish().unwrap().unwrap();
            assert_eq!(committed.content.feedback, feedback);
            assert!(committer.finish().unwrap().is_none() && committer.is_idle());
        }
        assert_eq!(*fixture.written.lock().unwrap(), ["first", "second"]);
    }

    #[test]
    fn a_failure_is_returned() {
        let mut fixture = fixture();
        fixture.allow.send(()).unwrap();
        submit(&mut fixture.committer, "fail", 0);
        let result = fixture.committer.finish();
        assert!(matches!(
            result,
            Err(SessionError::Registry(RegistryTopicError::Stopped))
        ));
    }

    #[test]
    fn dropping_the_committer_waits_for_the_transaction() {
        let mut fixture = fixture();
        submit(&mut fixture.committer, "last", 0);
        fixture.allow.send(()).unwrap();
        drop(fixture.committer);
        assert_eq!(*fixture.written.lock().unwrap(), ["last"]);
    }

    #[test]
    #[should_panic(expected = "panic")]
    fn a_panic_of_the_thread_is_continued() {
        let mut fixture = fixture();
        fixture.allow.send(()).unwrap();
        submit(&mut fixture.committer, "panic", 0);
        let _ = fixture.committer.finish();
    }
}
