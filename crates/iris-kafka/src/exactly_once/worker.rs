//! The loop of a worker: reads records, processes them in a transaction, commits it, and reports problems.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::client::health::ClientHealth;
use crate::client::settings::KafkaSettings;
use crate::consume::consumer::{Consumer, Start};
use crate::consume::error::ConsumeError;
use crate::consume::stalled::StalledPartition;
use crate::exactly_once::consumers::Consumers;
use crate::exactly_once::ends::{note_deleted, pass_markers, place_unread};
use crate::exactly_once::error::WorkerError;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::idle::{self, IdleGroup, IdleMember, Idleness};
use crate::exactly_once::open_transaction::OpenTransaction;
use crate::exactly_once::policy::CommitPolicy;
use crate::exactly_once::processor::Processor;
use crate::exactly_once::producer::TransactionalProducer;
use crate::exactly_once::rebalance::SharedTransaction;
use crate::exactly_once::recovery::{
    Recovery, Report, find_position, find_truncated, note_topics, rewind, unknown_offsets,
};
use crate::exactly_once::topics::Change;
use crate::record::Record;
use crate::sys::membership::NotAMember;

/// How long one wait for input lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How often the worker reports its state.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// How often the worker checks whether its topics have changed, and an idle one whether records were deleted.
const TOPICS_INTERVAL: Duration = Duration::from_secs(2);

/// How long such a check may take.
const TOPICS_TIMEOUT: Duration = Duration::from_secs(1);

/// How often an idle worker looks for partitions from which it has read no record.
const UNREAD_INTERVAL: Duration = Duration::from_millis(500);

/// One consumer, one transactional producer, and the loop that moves records between them.
pub struct Worker<P> {
    consumers: Consumers,
    consumer: Consumer,
    transaction: SharedTransaction<P>,
    recovery: Recovery,
    idle: IdleMember,
    /// When the worker has last committed, or tried a refused record in another way.
    last_progress: Instant,
    progress: u64,
    reported: Option<Instant>,
    stalled: Option<StalledPartition>,
    /// Why a stalled partition cannot be restarted.
    unknown_offsets: Option<String>,
    /// When the topics were last checked.
    watched: Option<Instant>,
    /// When partitions without a position were last searched for deleted records.
    searched: Option<Instant>,
    /// When partitions from which no record was read were last looked for.
    placed: Option<Instant>,
}

impl<P> std::fmt::Debug for Worker<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("transactional_id", &self.recovery.transactional_id())
            .finish_non_exhaustive()
    }
}

impl<P: Processor> Worker<P> {
    /// Starts reading; no record is processed before [`run`](Self::run).
    ///
    /// # Errors
    /// [`ConsumeError`] if a setting cannot be used.
    pub fn start(
        settings: &KafkaSettings,
        service: &str,
        start: Start,
        transactional_id: &str,
        policy: CommitPolicy,
        processor: P,
    ) -> Result<Self, ConsumeError> {
        let producer = TransactionalProducer::new(settings, service, transactional_id)?;
        let transaction = OpenTransaction::new(&start.topic, producer, policy, processor);
        let mut transaction = SharedTransaction::new(transaction);
        let consumers = Consumers::new(settings, service, start);
        let consumer = consumers.start(&mut transaction)?;
        Ok(Self {
            consumers,
            consumer,
            transaction,
            recovery: Recovery::new(transactional_id),
            idle: IdleMember::new(&IdleGroup::of(1)),
            last_progress: Instant::now(),
            progress: 0,
            reported: None,
            stalled: None,
            unknown_offsets: None,
            watched: None,
            searched: None,
            placed: None,
        })
    }

    /// Makes the worker end together with the others of a group when the input is idle.
    #[must_use]
    pub fn ending_with(mut self, group: &IdleGroup) -> Self {
        self.idle = IdleMember::new(group);
        self
    }

    /// Returns the client's health: whether the cluster is reachable, and how far each partition has been read.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        self.consumer.client_health()
    }

    /// Works until `stop` is cancelled or the input has been idle for long enough; then commits the open transaction.
    ///
    /// # Errors
    /// [`WorkerError`] if a retry cannot help, or if records are left when the input has been idle for long enough.
    pub fn run(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<(), WorkerError> {
        self.last_progress = Instant::now();
        let worked = self.work(stop, report);
        let mut transaction = self.transaction.lock();
        match &worked {
            Ok(()) => match pass_markers(&self.consumer, &mut transaction) {
                Ok(()) => transaction.commit(|| self.consumer.group()),
                Err(fault) => transaction.fail(fault),
            },
            Err(error) => transaction.fail(Fault::Abortable(error.to_string())),
        }
        worked
    }

    fn work(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<(), WorkerError> {
        let idle_timeout = self.transaction.lock().policy.idle_timeout;
        while !stop.is_cancelled() {
            if self.step(stop, report)? {
                self.idle.note(false);
                continue;
            }
            self.transaction.lock().producer.serve();
            self.skip_deleted();
            self.commit_ends();
            self.restart_if_stalled();
            self.report(report);
            if self.consumer.problem().is_some() {
                // The input is not known, so the worker is not idle.
                self.last_progress = Instant::now();
            }
            let idle = self.last_progress.elapsed();
            let rebalances = self.consumer.client_health().rebalances();
            self.idle.note_rebalances(rebalances);
            if !self.idle.is_known() {
                match idle::judge(idle, idle_timeout, || self.unprocessed()) {
                    Idleness::Continues => self.idle.note(false),
                    Idleness::Drained => self.idle.note(true),
                    Idleness::Stuck(problem) => return Err(WorkerError::Stuck { idle, problem }),
                }
            }
            if self.idle.may_end() {
                debug!("no input for {} ms", idle.as_millis());
                break;
            }
        }
        Ok(())
    }

    /// Returns why not all records are processed; `None` if they are.
    fn unprocessed(&self) -> Option<String> {
        let fault = self.transaction.lock().fault().map(Fault::to_string);
        fault
            .or_else(|| self.recovery.recent_fault())
            .or_else(|| self.transaction.lock().topics.problem().map(str::to_owned))
            .or_else(|| self.stalled.map(|stalled| stalled.to_string()))
            .or_else(|| self.consumer.unread())
    }

    /// Processes the available records, or commits, or recovers. Returns whether there was a record.
    ///
    /// # Errors
    /// [`WorkerError`] if a retry cannot help.
    pub fn step(
        &mut self,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<bool, WorkerError> {
        self.watch_topics();
        if self.consumer.is_removed() {
            self.replace_removed()?;
            return Ok(false);
        }
        let (is_broken, timeout) = {
            let transaction = self.transaction.lock();
            let timeout = if transaction.producer.is_open() {
                transaction.linger_left()
            } else {
                POLL_TIMEOUT
            };
            (transaction.fault().is_some(), timeout.min(POLL_TIMEOUT))
        };
        if is_broken {
            let recovery = &mut self.recovery;
            if recovery.recover(&self.consumer, &self.transaction, stop, report)? {
                self.consumer = self.consumers.start(&mut self.transaction)?;
            }
            return Ok(false);
        }
        let records = self.consumer.read(timeout)?;
        let has_records = !records.is_empty();
        let mut transaction = self.transaction.lock();
        let mut has_committed = add_all(&self.consumer, &mut transaction, &records);
        if !has_records && transaction.is_due(true) {
            match pass_markers(&self.consumer, &mut transaction) {
                Ok(()) => transaction.commit_drained(|| self.consumer.group()),
                Err(fault) => transaction.fail(fault),
            }
            has_committed = true;
        }
        let progress = transaction.progress();
        drop((transaction, records));
        if self.progress != progress {
            self.progress = progress;
            self.last_progress = Instant::now();
        }
        if has_committed {
            self.report(report);
        }
        Ok(has_records)
    }

    /// Replaces a consumer that the group has removed and that does not join again.
    fn replace_removed(&mut self) -> Result<(), ConsumeError> {
        {
            let mut transaction = self.transaction.lock();
            if transaction.fault().is_none() {
                transaction.fail(Fault::Abortable(NotAMember.to_string()));
            }
        }
        warn!("{NotAMember}; joining it again with a new client");
        self.consumer = self.consumers.start(&mut self.transaction)?;
        Ok(())
    }

    /// Checks every few seconds whether topics have changed. Fails the transaction if its records are to be read again.
    fn watch_topics(&mut self) {
        let mut transaction = self.transaction.lock();
        let is_due = self
            .watched
            .is_none_or(|last| last.elapsed() >= TOPICS_INTERVAL);
        if !is_due || transaction.fault().is_some() {
            return;
        }
        match note_topics(&self.consumer, &mut transaction, TOPICS_TIMEOUT) {
            Ok((_, Change::Recreated)) => {
                let topic = &self.consumer.reads().topic;
                let problem = format!("topic `{topic}` was deleted and recreated");
                transaction.topics.restart();
                transaction.fail(Fault::Abortable(problem));
            }
            Ok((_, Change::Released(first)))
                if self
                    .consumer
                    .assignment()
                    .iter()
                    .any(|&partition| partition >= first) =>
            {
                let problem = "more partitions can be processed now".to_owned();
                transaction.topics.restart();
                transaction.fail(Fault::Abortable(problem));
            }
            Ok(_) => {}
            // The client's health reports brokers that do not answer.
            Err(error) => debug!("describing topics: {error}"),
        }
        self.watched = Some(Instant::now());
    }

    /// Commits positions behind records that were deleted before they were read, in partitions that have no record after them.
    fn skip_deleted(&mut self) {
        let mut transaction = self.transaction.lock();
        let is_due = self
            .searched
            .is_none_or(|last| last.elapsed() >= TOPICS_INTERVAL);
        if is_due && transaction.fault().is_none() {
            find_truncated(&self.consumer, &mut transaction);
            self.searched = Some(Instant::now());
        }
        let mut has_skipped = false;
        for (partition, position) in transaction.positions().clone().iter() {
            let Some(offsets) = self.consumer.deleted_after(partition, position) else {
                continue;
            };
            if let Err(fault) = transaction.skip(partition, offsets) {
                return transaction.fail(fault);
            }
            has_skipped = true;
        }
        if has_skipped {
            transaction.commit(|| self.consumer.group());
        }
    }

    /// Commits positions behind transaction markers and aborted records, where no record is committed.
    fn commit_ends(&mut self) {
        let is_due = self
            .placed
            .is_none_or(|last| last.elapsed() >= UNREAD_INTERVAL);
        if is_due && self.transaction.lock().is_idle() {
            if let Err(error) = place_unread(&self.consumer, &self.transaction) {
                debug!("{}", unknown_offsets(&error));
            }
            self.placed = Some(Instant::now());
        }
        let mut transaction = self.transaction.lock();
        if !transaction.linger_left().is_zero() {
            return;
        }
        match pass_markers(&self.consumer, &mut transaction) {
            Ok(()) if transaction.has_progress() => {
                transaction.commit_drained(|| self.consumer.group());
            }
            Ok(()) => {}
            Err(fault) => transaction.fail(fault),
        }
    }

    /// Restarts a stalled partition at its committed offset.
    fn restart_if_stalled(&mut self) {
        self.stalled = self.consumer.stalled_partition();
        let Some(stalled) = self.stalled else {
            self.unknown_offsets = None;
            return;
        };
        if stalled.should_restart {
            warn!("{stalled}: restarting at the committed offsets");
            let restarted = rewind(&self.consumer, &self.transaction);
            self.unknown_offsets = restarted.err().map(|error| unknown_offsets(&error));
            if let Some(problem) = &self.unknown_offsets {
                warn!("{problem}");
            }
        }
    }

    /// Reports the problem that keeps the worker from its work, if a report is due.
    fn report(&mut self, report: &mut Report<'_>) {
        if self
            .reported
            .is_none_or(|last| last.elapsed() >= REPORT_INTERVAL)
        {
            self.reported = Some(Instant::now());
            let stalled = || self.stalled.map(|found| found.to_string());
            let stalled = || self.unknown_offsets.clone().or_else(stalled);
            let topics = || self.transaction.lock().topics.problem().map(str::to_owned);
            let problem = topics().or_else(|| self.consumer.problem());
            report(problem.or_else(|| self.fault()).or_else(stalled));
        }
    }

    /// Returns the fault of the last transaction, until the worker has recovered from it.
    fn fault(&self) -> Option<String> {
        let transaction = self.transaction.lock();
        let fault = transaction.fault().filter(|_| self.recovery.is_started());
        fault.map(Fault::to_string)
    }

    /// Ends the worker after [`run`](Self::run): its consumer leaves the group and its producer closes. Returns the result of
    /// `summarise`.
    ///
    /// All work is committed by then, so the group coordinator is waited for at most 2 s; closing continues after that.
    pub fn finish<T>(self, summarise: impl FnOnce(&P) -> T) -> T {
        summarise(&self.transaction.lock().processor)
    }
}

/// Processes records until one fails. Returns whether a transaction was ended on the way.
fn add_all<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
    records: &[Record<'_>],
) -> bool {
    let mut has_committed = false;
    for record in records {
        // After a fault, even one during the rebalance that preceded these records, the rest is read again.
        if transaction.fault().is_some() {
            break;
        }
        if transaction.topics.is_held(record.partition()) {
            continue;
        }
        if let Err(problem) = find_position(consumer, transaction, record) {
            transaction.fail(Fault::Abortable(problem));
            break;
        }
        let is_suspect = transaction.is_suspect(record);
        if is_suspect {
            transaction.commit(|| consumer.group());
        }
        if transaction.fault().is_none()
            && let Err(fault) = transaction.add(record, || consumer.group())
        {
            transaction.fail(fault);
        }
        if let Some(gap) = transaction.topics.take_gap()
            && transaction.fault().is_none()
            && let Err(fault) = note_deleted(
                consumer,
                transaction,
                gap.partition,
                gap.position..gap.first,
            )
        {
            transaction.fail(fault);
        }
        if is_suspect || transaction.is_due(false) {
            transaction.commit(|| consumer.group());
            has_committed = true;
        }
    }
    has_committed
}

#[cfg(test)]
mod tests {
    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};
    use crate::exactly_once::processor::{Outcomes, Refusal};
    use crate::exactly_once::recovery::OFFSETS_TIMEOUT;
    use crate::record::InputRecord;

    const TOPIC: &str = "input";

    /// Lists the offsets of the records whose transactions are committed.
    #[derive(Default)]
    struct Seen {
        open: Vec<i64>,
        committed: Vec<i64>,
        processed: usize,
    }

    impl Processor for Seen {
        fn process(&mut self, record: &InputRecord<'_>, _: &mut dyn Outcomes) -> Result<(), Fault> {
            self.processed += 1;
            self.open.push(record.offset);
            Ok(())
        }

        fn dead_letter(
            &mut self,
            record: &InputRecord<'_>,
            _: Refusal<'_>,
            outcomes: &mut dyn Outcomes,
        ) -> Result<(), Fault> {
            self.process(record, outcomes)
        }

        fn committed(&mut self, _: Duration) {
            self.committed.append(&mut self.open);
        }

        fn aborted(&mut self, _: &Fault) {
            self.open.clear();
        }
    }

    /// Returns a cluster with three records, all of them committed by a group, and an idle worker of that group. The cluster has
    /// two brokers, because a worker does not remember its commits in a cluster of one.
    fn idle() -> (SimulatedCluster, Worker<Seen>) {
        let cluster = SimulatedCluster::new(2, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let start = || Start {
            topic: TOPIC.to_owned(),
            group_id: "group".to_owned(),
            partitions: Some(vec![0]),
            instance: None,
        };
        let settings = &cluster.settings;
        let reader = Consumer::start(settings, "test", start(), None).unwrap();
        reader.commit_in_background([(0, 3)]);
        let deadline = Instant::now() + PATIENCE;
        while reader.committed(&[0], None, OFFSETS_TIMEOUT).unwrap() != [(0, 3)].into() {
            assert!(Instant::now() < deadline, "nothing was committed");
        }
        drop(reader);
        let policy = CommitPolicy {
            commit_interval: Duration::from_millis(100),
            linger: Duration::ZERO,
            max_records: 50,
            idle_timeout: None,
        };
        let seen = Seen::default();
        let mut worker = Worker::start(settings, "test", start(), "id", policy, seen).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !worker.recovery.is_started() {
            worker.step_once();
            assert!(Instant::now() < deadline, "the worker has not started");
        }
        (cluster, worker)
    }

    impl Worker<Seen> {
        fn step_once(&mut self) {
            self.step(&CancellationToken::new(), &mut |_| ()).unwrap();
        }

        /// Works until a record is committed. Returns the offsets of all committed records.
        fn until(&mut self, offset: i64) -> Vec<i64> {
            let deadline = Instant::now() + PATIENCE;
            loop {
                self.step_once();
                let seen = self.transaction.lock().processor.committed.clone();
                if seen.contains(&offset) {
                    return seen;
                }
                assert!(Instant::now() < deadline, "{seen:?} without {offset}");
            }
        }
    }

    #[test]
    fn records_are_skipped_if_the_client_restarts_at_the_beginning() {
        let (cluster, mut worker) = idle();
        cluster.reset_next_fetch();
        cluster.append(TOPIC, 1);
        assert_eq!(worker.until(3), [3]);
    }

    #[test]
    fn nothing_more_is_committed_at_the_end_of_a_partition_without_transactions() {
        let (cluster, mut worker) = idle();
        cluster.append(TOPIC, 2);
        worker.until(4);
        let progress = worker.transaction.lock().progress();
        for _ in 0..5 {
            worker.step_once();
            worker.placed = None;
            worker.commit_ends();
        }
        let transaction = worker.transaction.lock();
        assert_eq!(transaction.progress(), progress);
        assert!(!transaction.producer.is_open() && transaction.is_idle());
    }

    #[test]
    fn records_that_arrive_while_a_transaction_lingers_are_committed_with_it() {
        let (cluster, mut worker) = idle();
        {
            let policy = &mut worker.transaction.lock().policy;
            (policy.commit_interval, policy.linger) = (PATIENCE, PATIENCE);
        }
        let progress = worker.transaction.lock().progress();
        for processed in [1, 2] {
            cluster.append(TOPIC, 1);
            let deadline = Instant::now() + PATIENCE;
            while worker.transaction.lock().processor.processed < processed {
                worker.step_once();
                worker.commit_ends();
                assert!(Instant::now() < deadline, "record {processed}");
            }
        }
        assert_eq!(worker.transaction.lock().progress(), progress);
        worker.transaction.lock().policy.linger = Duration::ZERO;
        assert_eq!(worker.until(4), [3, 4]);
        assert_eq!(worker.transaction.lock().progress(), progress + 1);
    }

    /// Returns how many records the worker has processed when the coordinator refuses to add offsets to the transaction.
    fn processed_before_offsets_are_refused(drained: Option<Instant>) -> usize {
        let (cluster, mut worker) = idle();
        cluster.append(TOPIC, 1);
        worker.until(3);
        worker.transaction.lock().drained = drained;
        let refused = Answer::RD_KAFKA_RESP_ERR_UNKNOWN;
        cluster
            .brokers
            .request_errors(Api::AddOffsetsToTxn, &[refused]);
        cluster.append(TOPIC, 1);
        let deadline = Instant::now() + PATIENCE;
        let processed = loop {
            worker.step_once();
            let transaction = worker.transaction.lock();
            if transaction.fault().is_some() {
                break transaction.processor.processed;
            }
            assert!(Instant::now() < deadline, "no offsets were added");
        };
        assert_eq!(worker.until(4), [3, 4]);
        processed
    }

    #[test]
    fn a_transaction_soon_after_drained_input_adds_offsets_before_records() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(1));
        assert_eq!(processed_before_offsets_are_refused(long_ago), 2);
        // The future is as if no time had passed.
        let now = Some(Instant::now() + PATIENCE);
        assert_eq!(processed_before_offsets_are_refused(now), 1);
    }

    #[test]
    fn a_newly_assigned_partition_continues_at_its_committed_offset() {
        let (cluster, mut worker) = idle();
        worker.transaction.lock().forget(&[0]);
        cluster.reset_next_fetch();
        cluster.append(TOPIC, 1);
        assert_eq!(worker.until(3), [3]);
    }

    #[test]
    fn committed_records_are_not_processed_again_if_the_coordinator_does_not_know_the_commit() {
        let (cluster, mut worker) = idle();
        cluster.append(TOPIC, 2);
        assert_eq!(worker.until(4), [3, 4]);
        let fault = Fault::Lost("by a test".to_owned());
        worker.transaction.lock().fail(fault);
        cluster.append(TOPIC, 1);
        assert_eq!(worker.until(5), [3, 4, 5]);
    }
}
