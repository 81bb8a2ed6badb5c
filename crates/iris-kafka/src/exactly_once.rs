//! Consume, process, produce: every input offset has exactly one outcome, whatever fails in between.
//!
//! A [`Worker`] is one consumer, one transactional producer and the thread that runs them. The records that its
//! [`Processor`] sends and the offsets of the records that it processed are one transaction. After any fault, work
//! resumes at the committed offsets.
//!
//! A transaction ends at once when the input is drained, so that a trickle is answered without delay, and by time or
//! size under load. When partitions leave, the open transaction is committed while they are still ours.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::consumer::{ConsumeError, Consumer, RebalanceListener, Revocation, Start};
use crate::pause::pause;
use crate::record::{OutgoingRecord, Record};
use crate::settings::KafkaSettings;
use crate::transaction::{Fault, Offsets, TransactionalProducer};

/// How long one wait for input lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How often the state of the worker is reported.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// Records between two looks at the clock, while input keeps coming.
const CLOCK_STRIDE: u64 = 16;

/// How long asking for the committed offsets may take.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(10);

/// What is done with each record.
pub trait Processor: Send + 'static {
    /// Processes a record by sending its outcome. Called again for the same record if its transaction fails.
    ///
    /// # Errors
    /// Only what [`Outbox::send`] returns: that a record cannot be processed is an outcome, not an error.
    fn process(&mut self, record: &Record<'_>, outbox: &Outbox<'_>) -> Result<(), Fault>;

    /// The transaction of all records processed since the last call of this or of [`aborted`](Self::aborted) is
    /// committed; committing took `duration`.
    fn committed(&mut self, duration: Duration);

    /// That transaction failed: its records will be processed again, here or elsewhere.
    fn aborted(&mut self, fault: &Fault);
}

/// Where a processor puts outcomes: into the open transaction.
#[derive(Debug)]
pub struct Outbox<'a> {
    producer: &'a TransactionalProducer,
}

impl Outbox<'_> {
    /// Adds a record to the transaction.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot go on; to be passed on.
    pub fn send(&self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        self.producer.send(record)
    }
}

/// When a transaction ends, and when a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest that a transaction stays open while input keeps coming.
    pub commit_interval: Duration,
    /// The most records in one transaction.
    pub max_records: u64,
    /// The worker ends by itself after this long without input; `None`: it runs until stopped.
    pub idle_timeout: Option<Duration>,
}

impl Pace {
    /// Whether a transaction with `records` in it, open for `age`, is to be committed.
    fn is_due(&self, records: u64, age: Duration, drained: bool) -> bool {
        records > 0 && (drained || records >= self.max_records || age >= self.commit_interval)
    }
}

/// Why a worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Reading failed for good.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// A permission is missing.
    #[error(
        "transactional id `{transactional_id}`: not authorised: {fault}; `iris-admin topics describe` shows what the user may see"
    )]
    NotAuthorised {
        /// The worker's transactional id.
        transactional_id: String,
        /// What was refused.
        #[source]
        fault: Fault,
    },
}

/// The open transaction: what the thread that polls and the rebalance callback share.
struct Transaction<P> {
    producer: TransactionalProducer,
    processor: P,
    pace: Pace,
    offsets: Offsets,
    records: u64,
    opened: Instant,
    /// What went wrong, until the worker has recovered from it.
    fault: Option<Fault>,
    /// Whether the group has ever answered with an assignment, be it an empty one.
    is_assigned: bool,
}

impl<P: Processor> Transaction<P> {
    /// Processes one record within the open transaction, opening one if there is none.
    fn add(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        if !self.producer.is_open() {
            self.producer.begin()?;
            self.opened = Instant::now();
        }
        self.processor.process(
            record,
            &Outbox {
                producer: &self.producer,
            },
        )?;
        self.offsets.insert(record.partition(), record.offset() + 1);
        self.records += 1;
        Ok(())
    }

    fn is_due(&self, drained: bool) -> bool {
        let looks = drained
            || self.records.is_multiple_of(CLOCK_STRIDE)
            || self.records >= self.pace.max_records;
        looks
            && self
                .pace
                .is_due(self.records, self.opened.elapsed(), drained)
    }

    fn commit(&mut self, group: Option<&rdkafka::consumer::ConsumerGroupMetadata>) {
        if self.records == 0 || self.fault.is_some() {
            return;
        }
        let started = Instant::now();
        let group = group.ok_or_else(|| Fault::Abortable("the consumer has no group".to_owned()));
        match group.and_then(|group| self.producer.commit(&self.offsets, group)) {
            Ok(()) => {
                self.offsets.clear();
                self.records = 0;
                self.processor.committed(started.elapsed());
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// Ends the transaction without its outcome. What was read will be read again.
    fn fail(&mut self, fault: Fault) {
        self.producer.give_up(&fault);
        self.processor.aborted(&fault);
        self.offsets.clear();
        self.records = 0;
        self.fault = Some(fault);
    }
}

struct Shared<P>(Arc<Mutex<Transaction<P>>>);

impl<P> Shared<P> {
    fn lock(&self) -> MutexGuard<'_, Transaction<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Processor> RebalanceListener for Shared<P> {
    fn assigned(&self, _: &[i32]) -> Vec<(i32, i64)> {
        self.lock().is_assigned = true;
        Vec::new()
    }

    fn revoked(&self, revocation: Revocation<'_>) {
        let mut transaction = self.lock();
        if transaction.records == 0 {
            return;
        }
        if revocation.lost {
            transaction.fail(Fault::Abortable(
                "the partitions were given to another member".to_owned(),
            ));
        } else {
            transaction.commit(revocation.group.as_ref());
        }
    }
}

/// One consumer, one transactional producer, and the loop that moves records between them.
pub struct Worker<P> {
    consumer: Consumer,
    transaction: Shared<P>,
    transactional_id: String,
    retries: ExponentialBackoff,
    last_input: Instant,
    reported: Option<Instant>,
    is_started: bool,
}

impl<P> std::fmt::Debug for Worker<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("transactional_id", &self.transactional_id)
            .finish_non_exhaustive()
    }
}

/// Told, several times a second while a worker makes progress, what keeps it from more: `None` if nothing does.
pub type Report<'a> = dyn FnMut(Option<String>) + Send + 'a;

impl<P: Processor> Worker<P> {
    /// Starts reading; nothing is processed before [`run`](Self::run).
    ///
    /// # Errors
    /// [`ConsumeError`] if the settings are not usable.
    pub fn start(
        settings: &KafkaSettings,
        service: &str,
        start: Start,
        transactional_id: &str,
        pace: Pace,
        processor: P,
    ) -> Result<Self, ConsumeError> {
        let producer =
            TransactionalProducer::new(settings, service, transactional_id, &start.topic)?;
        let transaction = Arc::new(Mutex::new(Transaction {
            producer,
            processor,
            pace,
            offsets: Offsets::new(),
            records: 0,
            opened: Instant::now(),
            // There is no producer yet: the first step is the same as recovering from losing one.
            fault: Some(Fault::Lost("not started".to_owned())),
            is_assigned: false,
        }));
        let listener = Box::new(Shared(Arc::clone(&transaction)));
        let consumer = Consumer::start(settings, service, start, Some(listener))?;
        Ok(Self {
            consumer,
            transaction: Shared(transaction),
            transactional_id: transactional_id.to_owned(),
            retries: retries(),
            last_input: Instant::now(),
            reported: None,
            is_started: false,
        })
    }

    /// Works until `stop` is cancelled or the input has been idle for long enough; then commits what is open.
    ///
    /// # Errors
    /// [`WorkerError`] if trying again would not help.
    pub fn run(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<(), WorkerError> {
        self.last_input = Instant::now();
        let worked = self.work(stop, report);
        let mut transaction = self.transaction.lock();
        match &worked {
            Ok(()) => transaction.commit(self.consumer.group_metadata().as_ref()),
            Err(error) => transaction.fail(Fault::Abortable(error.to_string())),
        }
        worked
    }

    fn work(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<(), WorkerError> {
        let idle_timeout = self.transaction.lock().pace.idle_timeout;
        while !stop.is_cancelled() {
            if self.step(stop, report)? {
                continue;
            }
            let problem = self.report(report);
            if problem.is_some() {
                self.last_input = Instant::now();
            }
            if idle_timeout.is_some_and(|timeout| self.last_input.elapsed() >= timeout) {
                debug!("no input for {} ms", self.last_input.elapsed().as_millis());
                break;
            }
        }
        Ok(())
    }

    /// Takes one record, or commits, or recovers. Returns whether there was a record.
    ///
    /// # Errors
    /// [`WorkerError`] if trying again would not help.
    pub fn step(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<bool, WorkerError> {
        let (is_broken, is_open) = {
            let transaction = self.transaction.lock();
            (transaction.fault.is_some(), transaction.producer.is_open())
        };
        if is_broken {
            self.recover(stop, report)?;
            return Ok(false);
        }
        let timeout = if is_open {
            Duration::ZERO
        } else {
            POLL_TIMEOUT
        };
        let record = self.consumer.poll(timeout)?;
        let is_record = record.is_some();
        let mut transaction = self.transaction.lock();
        if let Some(record) = record {
            if transaction.fault.is_some() {
                // Failed during the poll, by a rebalance: what was read is read again after recovering.
                return Ok(false);
            }
            if let Err(fault) = transaction.add(&record) {
                transaction.fail(fault);
            }
        }
        if transaction.is_due(!is_record) {
            transaction.commit(self.consumer.group_metadata().as_ref());
            if transaction.fault.is_none() {
                self.retries = retries();
            }
            drop(transaction);
            self.last_input = Instant::now();
            self.report(report);
        }
        Ok(is_record)
    }

    /// Makes the producer usable again and goes back to the committed offsets.
    fn recover(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<(), WorkerError> {
        let fault = self.transaction.lock().fault.clone();
        let Some(fault) = fault else { return Ok(()) };
        if let Fault::NotAuthorised(_) = fault {
            return Err(WorkerError::NotAuthorised {
                transactional_id: self.transactional_id.clone(),
                fault,
            });
        }
        if self.is_started {
            let delay = self.retries.next().unwrap_or_default();
            warn!("the transaction failed and its records are processed again: {fault}");
            report(Some(fault.to_string()));
            pause(delay, stop);
        }
        let prepared = self
            .transaction
            .lock()
            .producer
            .prepare(stop, &mut |cause| report(Some(cause)));
        let is_usable = prepared.map_err(|fault| WorkerError::NotAuthorised {
            transactional_id: self.transactional_id.clone(),
            fault,
        })?;
        if !is_usable {
            return Ok(());
        }
        if self.is_started {
            if let Err(error) = self.consumer.rewind_to_committed(OFFSETS_TIMEOUT) {
                report(Some(format!("asking for the committed offsets: {error}")));
                return Ok(());
            }
            info!("resuming at the committed offsets");
        }
        self.transaction.lock().fault = None;
        self.is_started = true;
        Ok(())
    }

    /// Reports, if it is time to, what keeps the worker from its work.
    fn report(&mut self, report: &mut Report<'_>) -> Option<String> {
        let problem = self.problem();
        if self
            .reported
            .is_none_or(|last| last.elapsed() >= REPORT_INTERVAL)
        {
            self.reported = Some(Instant::now());
            report(problem.clone());
        }
        problem
    }

    fn problem(&self) -> Option<String> {
        let waits = || {
            (!self.transaction.lock().is_assigned)
                .then(|| "waiting for the group to assign partitions".to_owned())
        };
        self.consumer.connection().problem().or_else(waits)
    }

    /// Hands back the processor. The consumer leaves its group and the producer closes.
    pub fn finish(self) -> Option<P> {
        let Self {
            consumer,
            transaction,
            ..
        } = self;
        drop(consumer);
        let transaction = Arc::into_inner(transaction.0)?;
        Some(
            transaction
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .processor,
        )
    }
}

fn retries() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_ends_when_the_input_is_drained_or_by_time_or_by_size() {
        let pace = Pace {
            commit_interval: Duration::from_millis(100),
            max_records: 50,
            idle_timeout: None,
        };
        let young = Duration::from_millis(1);
        assert!(
            !pace.is_due(0, Duration::from_secs(9), true),
            "there is nothing to commit"
        );
        assert!(!pace.is_due(49, young, false));
        assert!(pace.is_due(1, young, true));
        assert!(pace.is_due(50, young, false));
        assert!(pace.is_due(1, pace.commit_interval, false));
    }
}
