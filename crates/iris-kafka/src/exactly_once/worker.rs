//! Consume, process, produce: every input offset has exactly one outcome, whatever fails in between.
//!
//! A [`Worker`] is one consumer, one transactional producer and the thread that runs them. The records that its
//! [`Processor`] sends and the offsets of the records that it processed are one transaction. After any fault, work
//! resumes at the committed offsets.
//!
//! librdkafka can hand out records again that it has handed out before: when a rebalance makes it pause and resume
//! partitions, it may go on from an earlier place. And it begins at the beginning where it is told that the offset to
//! begin at is not there, as by a broker that was away and does not know yet that another leads. So a worker keeps
//! account of where it has come to in each partition, at first by what the group and it itself have committed, and passes
//! over what lies before.
//!
//! A transaction ends at once when the input is drained, so that a trickle is answered without delay, and by time or
//! size under load. When partitions leave, the open transaction is committed while they are still ours.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::client::health::ClientHealth;
use crate::client::settings::KafkaSettings;
use crate::consume::consumer::{
    ConsumeError, Consumer, NotAMember, RebalanceListener, Revocation, Start,
};
use crate::consume::stalled::StalledPartition;
use crate::defence::Defence;
use crate::exactly_once::transaction::{Fault, Offsets, Progress, Source, TransactionalProducer};
use crate::pause::pause;
use crate::record::{OutgoingRecord, Record};

/// How long one wait for input lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How often the state of the worker is reported.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// How long the coordinator may go on writing a transaction's end after it has answered. librdkafka, told so when it begins
/// the next one, waits for 20 ms; so where the input is drained, waiting for a moment comes out sooner. Under load the
/// transaction is filled meanwhile.
const SETTLE: Duration = Duration::from_millis(5);

/// Records between two looks at the clock, while input keeps coming.
const CLOCK_STRIDE: u64 = 16;

/// How long asking for the committed offsets may take.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a stop waits for the group coordinator. During a rebalance it can answer late: the request to leave waits behind
/// one to join on the same connection, for the 5 s that librdkafka allows it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is done with each record.
pub trait Processor: Send + 'static {
    /// A transaction has been opened, and is yet empty.
    fn begun(&mut self) {}

    /// Processes a record by sending its outcome. Called again for the same record if its transaction fails.
    ///
    /// # Errors
    /// Only what [`Outbox::send`] returns: that a record cannot be processed is an outcome, not an error.
    fn process(&mut self, record: &Record<'_>, outbox: &Outbox<'_>) -> Result<(), Fault>;

    /// Sends another outcome in place of one that its topic refuses as too large: a record that says so, with the
    /// input's value or, if that was refused too, without.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    fn set_aside(
        &mut self,
        record: &Record<'_>,
        with_value: bool,
        outbox: &Outbox<'_>,
    ) -> Result<(), Fault>;

    /// The transaction of all records processed since the last commit or abort is about to be committed: what is sent now
    /// is the last of it. May be called without a commit to follow.
    ///
    /// # Errors
    /// Only what [`Outbox::send`] returns.
    fn committing(&mut self, _outbox: &Outbox<'_>) -> Result<(), Fault> {
        Ok(())
    }

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
    source: Source,
}

impl Outbox<'_> {
    /// Adds a record to the transaction.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot go on; to be passed on.
    pub fn send(&self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        self.producer.send_outcome(record, self.source)
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
    topic: String,
    offsets: Offsets,
    /// Where each partition was read to since it was assigned or gone back in.
    positions: Offsets,
    /// What was committed here of each partition since it was assigned.
    committed: Offsets,
    /// How often an outcome of a record was refused as too large.
    refusals: BTreeMap<Source, u32>,
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
        let (partition, offset) = (record.partition(), record.offset());
        let position = self.positions.entry(partition).or_default();
        if offset < *position && Defence::Position.is_on() {
            debug!(partition, offset, "handed out again, skipped");
            return Ok(());
        }
        *position = offset + 1;
        if !self.producer.is_open() {
            self.producer.begin()?;
            self.opened = Instant::now();
            self.processor.begun();
        }
        let outbox = Outbox {
            producer: &self.producer,
            source: (partition, offset),
        };
        match self.refusals.get(&outbox.source) {
            // Refused in company is not refused yet: what is too large may be what was sent with it.
            None | Some(1) => self.processor.process(record, &outbox)?,
            Some(2) => self.processor.set_aside(record, true, &outbox)?,
            Some(_) => self.processor.set_aside(record, false, &outbox)?,
        }
        self.offsets.insert(partition, offset + 1);
        self.records += 1;
        Ok(())
    }

    /// Goes on in a partition where the group has committed to, and never before what was committed here: a coordinator
    /// that was away may not know of that.
    fn resume(&mut self, partition: i32, committed: i64) {
        let known = self.committed.get(&partition).copied();
        let position = known.map_or(committed, |known| known.max(committed));
        self.positions.insert(partition, position);
    }

    fn forget(&mut self, partitions: &[i32]) {
        for offsets in [&mut self.positions, &mut self.committed] {
            offsets.retain(|partition, _| !partitions.contains(partition));
        }
    }

    /// Whether an outcome of a record was refused as too large, so that it needs a transaction to itself.
    fn is_suspect(&self, record: &Record<'_>) -> bool {
        !self.refusals.is_empty()
            && self
                .refusals
                .contains_key(&(record.partition(), record.offset()))
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

    fn commit(&mut self, group: Result<ConsumerGroupMetadata, NotAMember>) {
        if self.records == 0 || self.fault.is_some() {
            return;
        }
        let started = Instant::now();
        let committed = group
            .map_err(|error| Fault::Abortable(error.to_string()))
            .and_then(|group| {
                // No one record's outcome: it is its first record that is to stand alone if this is too large.
                let source = self.offsets.iter().next();
                let source = source.map_or((0, 0), |(&partition, &next)| (partition, next - 1));
                let outbox = Outbox {
                    producer: &self.producer,
                    source,
                };
                self.processor.committing(&outbox)?;
                self.producer.commit_with(Some(Progress {
                    topic: &self.topic,
                    offsets: &self.offsets,
                    group,
                }))
            });
        match committed {
            Ok(()) => {
                let is_open = |&(partition, offset): &Source| {
                    self.offsets
                        .get(&partition)
                        .is_none_or(|&committed| offset >= committed)
                };
                self.refusals.retain(|source, _| is_open(source));
                self.committed.append(&mut self.offsets);
                self.records = 0;
                self.processor.committed(started.elapsed());
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// Ends the transaction without its outcome. What was read will be read again.
    fn fail(&mut self, fault: Fault) {
        self.producer.give_up(&fault);
        for source in self.producer.take_too_large() {
            *self.refusals.entry(source).or_default() += 1;
        }
        self.processor.aborted(&fault);
        self.offsets.clear();
        self.positions.clear();
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
    fn assigned(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let mut transaction = self.lock();
        transaction.is_assigned = true;
        transaction.forget(partitions);
        Vec::new()
    }

    fn revoked(&self, revocation: Revocation<'_>) {
        let mut transaction = self.lock();
        if transaction.records > 0 {
            if revocation.lost {
                transaction.fail(Fault::Abortable(
                    "the partitions were given to another member".to_owned(),
                ));
            } else {
                transaction.commit(revocation.group);
            }
        }
        transaction.forget(revocation.partitions);
    }
}

/// One consumer, one transactional producer, and the loop that moves records between them.
pub struct Worker<P> {
    consumer: Consumer,
    transaction: Shared<P>,
    transactional_id: String,
    retries: ExponentialBackoff,
    last_input: Instant,
    /// When the transaction that was committed last may be taken to be settled.
    settled: Option<Instant>,
    reported: Option<Instant>,
    stalled: Option<StalledPartition>,
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
        let producer = TransactionalProducer::new(settings, service, transactional_id)?;
        let transaction = Arc::new(Mutex::new(Transaction {
            producer,
            processor,
            pace,
            topic: start.topic.clone(),
            offsets: Offsets::new(),
            positions: Offsets::new(),
            committed: Offsets::new(),
            refusals: BTreeMap::new(),
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
            settled: None,
            reported: None,
            stalled: None,
            is_started: false,
        })
    }

    /// Whether the cluster is reachable, and how far the worker has come.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        self.consumer.client_health()
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
            Ok(()) => transaction.commit(self.consumer.group()),
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
            self.go_on_if_stuck();
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

    /// Takes the records that are there, or commits, or recovers. Returns whether there was a record.
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
        if !is_open && let Some(settled) = self.settled.take() {
            thread::sleep(settled.saturating_duration_since(Instant::now()));
        }
        let records = self.consumer.read(timeout)?;
        let has_records = !records.is_empty();
        let mut transaction = self.transaction.lock();
        let mut has_committed = false;
        for record in &records {
            // After a fault, be it by a rebalance while reading, what is left is read again.
            if transaction.fault.is_some() {
                break;
            }
            if let Err(error) = self.find_position(&mut transaction, record) {
                let partition = record.partition();
                let problem = format!("asking where partition {partition} begins: {error}");
                transaction.fail(Fault::Abortable(problem));
                break;
            }
            let is_suspect = transaction.is_suspect(record);
            if is_suspect {
                transaction.commit(self.consumer.group());
            }
            if transaction.fault.is_none()
                && let Err(fault) = transaction.add(record)
            {
                transaction.fail(fault);
            }
            if is_suspect || transaction.is_due(false) {
                transaction.commit(self.consumer.group());
                has_committed = true;
            }
        }
        if !has_records && transaction.is_due(true) {
            transaction.commit(self.consumer.group());
            has_committed = true;
            self.settled = Some(Instant::now() + SETTLE);
        }
        if has_committed && transaction.fault.is_none() {
            self.retries = retries();
        }
        drop((transaction, records));
        if has_committed {
            self.last_input = Instant::now();
            self.report(report);
        }
        Ok(has_records)
    }

    /// Asks where a partition is to go on before its first record is taken, which may lie before that.
    fn find_position(
        &self,
        transaction: &mut Transaction<P>,
        record: &Record<'_>,
    ) -> Result<(), KafkaError> {
        let (partition, begun) = (record.partition(), record.offset());
        if transaction.positions.contains_key(&partition) {
            return Ok(());
        }
        let committed = self.consumer.committed(&[partition], OFFSETS_TIMEOUT)?;
        let position = committed.get(&partition).copied().unwrap_or(begun);
        transaction.resume(partition, position);
        if begun < position {
            warn!(
                "partition {partition} was begun at offset {begun}, and {position} is committed: what lies between is \
                 passed over"
            );
        }
        Ok(())
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
        // A group waits for its members' consent to let partitions go, also while one recovers.
        self.consumer.serve(Duration::ZERO)?;
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
        // Also before the first record: what the consumer learnt of them may be older than the last commit of the
        // producer that was just fenced.
        if let Err(error) = self.rewind() {
            report(Some(format!("asking for the committed offsets: {error}")));
            pause(self.retries.next().unwrap_or_default(), stop);
            return Ok(());
        }
        if self.is_started {
            info!("resuming at the committed offsets");
        }
        self.transaction.lock().fault = None;
        self.is_started = true;
        Ok(())
    }

    /// Goes back to the committed offsets.
    fn rewind(&self) -> Result<(), KafkaError> {
        let committed = self.consumer.rewind_to_committed(OFFSETS_TIMEOUT)?;
        let mut transaction = self.transaction.lock();
        transaction.positions.clear();
        for (partition, offset) in committed {
            transaction.resume(partition, offset);
        }
        Ok(())
    }

    /// Reads a partition anew that stands still although there is more in it.
    fn go_on_if_stuck(&mut self) {
        self.stalled = self.consumer.stalled_partition();
        if let Some(stalled) = self.stalled
            && stalled.should_restart
        {
            warn!("{stalled}: reading anew from the committed offsets");
            if let Err(error) = self.rewind() {
                warn!("asking for the committed offsets: {error}");
            }
        }
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
        let stalled = || self.stalled.map(|found| found.to_string());
        let problem = self.consumer.client_health().problem();
        problem.or_else(waits).or_else(stalled)
    }

    /// Ends the worker after [`run`](Self::run): its consumer leaves the group and its producer closes. Returns what `summarise`
    /// makes of the processor.
    ///
    /// Everything is committed by now, so the group is waited for 2 s at most; closing goes on meanwhile.
    pub fn finish<T>(self, summarise: impl FnOnce(&P) -> T) -> T {
        let summary = summarise(&self.transaction.lock().processor);
        let consumer = self.consumer;
        let (closed, is_closed) = mpsc::channel::<()>();
        let closing = thread::Builder::new().name("closing".to_owned());
        let started = closing.spawn(move || {
            drop(consumer);
            drop(closed);
        });
        // Without a thread the consumer has been closed here, and the channel with it.
        if started.is_ok()
            && is_closed.recv_timeout(LEAVE_TIMEOUT) == Err(RecvTimeoutError::Timeout)
        {
            debug!("the group does not answer; its coordinator ends the membership");
        }
        summary
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
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    const TOPIC: &str = "input";

    /// Knows the offsets of the records whose transactions are committed.
    #[derive(Default)]
    struct Seen {
        open: Vec<i64>,
        committed: Vec<i64>,
    }

    impl Processor for Seen {
        fn process(&mut self, record: &Record<'_>, _: &Outbox<'_>) -> Result<(), Fault> {
            self.open.push(record.offset());
            Ok(())
        }

        fn set_aside(
            &mut self,
            record: &Record<'_>,
            _: bool,
            outbox: &Outbox<'_>,
        ) -> Result<(), Fault> {
            self.process(record, outbox)
        }

        fn committed(&mut self, _: Duration) {
            self.committed.append(&mut self.open);
        }

        fn aborted(&mut self, _: &Fault) {
            self.open.clear();
        }
    }

    /// A cluster with three records, all of them read by a group, and a worker of it that has nothing to do.
    fn idle() -> (SimulatedCluster, Worker<Seen>) {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let start = || Start {
            topic: TOPIC.to_owned(),
            group_id: "group".to_owned(),
            partitions: Some(vec![0]),
        };
        let settings = &cluster.settings;
        let reader = Consumer::start(settings, "test", start(), None).unwrap();
        reader.commit_in_background([(0, 3)]);
        let give_up = Instant::now() + PATIENCE;
        while reader.committed(&[0], OFFSETS_TIMEOUT).unwrap() != [(0, 3)].into() {
            assert!(Instant::now() < give_up, "nothing was committed");
        }
        drop(reader);
        let pace = Pace {
            commit_interval: Duration::from_millis(100),
            max_records: 50,
            idle_timeout: None,
        };
        let seen = Seen::default();
        let mut worker = Worker::start(settings, "test", start(), "id", pace, seen).unwrap();
        let give_up = Instant::now() + PATIENCE;
        while !worker.is_started {
            worker.step_once();
            assert!(Instant::now() < give_up, "the worker has not started");
        }
        (cluster, worker)
    }

    impl Worker<Seen> {
        fn step_once(&mut self) {
            self.step(&CancellationToken::new(), &mut |_| ()).unwrap();
        }

        /// The offsets of the records that were processed, up to and with one of them.
        fn until(&mut self, offset: i64) -> Vec<i64> {
            let give_up = Instant::now() + PATIENCE;
            loop {
                self.step_once();
                let seen = self.transaction.lock().processor.committed.clone();
                if seen.contains(&offset) {
                    return seen;
                }
                assert!(Instant::now() < give_up, "{seen:?} without {offset}");
            }
        }
    }

    #[test]
    fn a_client_that_is_sent_to_the_beginning_is_not_followed() {
        let (cluster, mut worker) = idle();
        cluster.send_to_the_beginning();
        cluster.append(TOPIC, 1);
        assert_eq!(worker.until(3), [3]);
    }

    #[test]
    fn a_partition_that_is_new_to_a_worker_goes_on_where_the_group_has_committed_to() {
        let (cluster, mut worker) = idle();
        worker.transaction.lock().forget(&[0]);
        cluster.send_to_the_beginning();
        cluster.append(TOPIC, 1);
        assert_eq!(worker.until(3), [3]);
    }

    #[test]
    fn what_was_committed_here_is_not_processed_again_when_the_group_knows_nothing_of_it() {
        let (cluster, mut worker) = idle();
        cluster.append(TOPIC, 2);
        assert_eq!(worker.until(4), [3, 4]);
        let fault = Fault::Lost("as a test wants it".to_owned());
        worker.transaction.lock().fail(fault);
        cluster.append(TOPIC, 1);
        assert_eq!(worker.until(5), [3, 4, 5]);
    }

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
