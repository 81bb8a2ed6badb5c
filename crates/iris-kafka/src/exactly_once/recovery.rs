//! Recovery after a fault: a usable producer, and every partition at its committed offset.
//!
//! librdkafka can redeliver records. After a rebalance has paused and resumed partitions, it may continue at an earlier offset
//! (for example [#4637](https://github.com/confluentinc/librdkafka/issues/4637)). It also restarts at the beginning of a
//! partition when a broker reports the offset as out of range, as a broker does that was unavailable and does not know yet
//! that another one leads. So a worker keeps its own position in each partition, starting from the offsets that the group and
//! the worker itself have committed, and skips all records before it.

use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::change::identity::TopicState;
use crate::consume::consumer::Consumer;
use crate::consume::stalled::OPEN_OFFSETS;
use crate::exactly_once::error::WorkerError;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::open_transaction::OpenTransaction;
use crate::exactly_once::processor::Processor;
use crate::exactly_once::progress::Progress;
use crate::exactly_once::rebalance::SharedTransaction;
use crate::exactly_once::topics::Change;
use crate::pause::Backoff;
use crate::record::Record;

/// How long a request for the committed offsets may take.
pub(super) const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);

const REQUEST: &str = "requesting the committed offsets";

/// How long a request for the partitions of one topic may take.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

/// How long after a recovery the position of the consumer may not be known yet: its statistics are up to 1 s old.
const FETCH_TIME: Duration = Duration::from_secs(3);

/// The delays between failed transactions.
const MIN_DELAY: Duration = Duration::from_millis(50);
/// Tests do not wait that long.
const MAX_DELAY: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 5_000 });

/// Receives, several times a second, the problem that keeps a worker from its work; `None` if there is none.
pub type Report<'a> = dyn FnMut(Option<String>) + Send + 'a;

/// How often a worker has failed in succession, and whether it has ever worked.
pub(super) struct Recovery {
    transactional_id: String,
    backoff: Backoff,
    /// The transaction's steps forward at the last recovery.
    progress: u64,
    /// The last fault, and when the worker resumed after it.
    resumed: Option<(Instant, String)>,
    is_started: bool,
}

impl Recovery {
    pub(super) fn new(transactional_id: &str) -> Self {
        Self {
            transactional_id: transactional_id.to_owned(),
            backoff: Backoff::new(MIN_DELAY, MAX_DELAY),
            progress: 0,
            resumed: None,
            is_started: false,
        }
    }

    pub(super) fn transactional_id(&self) -> &str {
        &self.transactional_id
    }

    /// Whether the worker has been ready to process records.
    pub(super) fn is_started(&self) -> bool {
        self.is_started
    }

    /// Returns the last fault, if the worker resumed after it so recently that the records to retry may not be fetched yet.
    pub(super) fn recent_fault(&self) -> Option<String> {
        let (resumed, fault) = self.resumed.as_ref()?;
        (resumed.elapsed() < FETCH_TIME).then(|| fault.clone())
    }

    /// Makes the producer usable again and rewinds to the committed offsets. Leaves the fault in place if that failed or
    /// `stop` was cancelled, and if the input topic was recreated. Returns whether it was: then the consumer must be replaced
    /// before the next call.
    ///
    /// # Errors
    /// [`WorkerError`] if a retry cannot help.
    pub(super) fn recover<P: Processor>(
        &mut self,
        consumer: &Consumer,
        transaction: &SharedTransaction<P>,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<bool, WorkerError> {
        let (fault, progress) = {
            let transaction = transaction.lock();
            (transaction.fault().cloned(), transaction.progress())
        };
        let Some(fault) = fault else { return Ok(false) };
        if let Fault::NotAuthorised(_) = fault {
            return Err(self.not_authorised(consumer, fault));
        }
        consumer.serve(Duration::ZERO)?;
        if self.progress != progress {
            self.progress = progress;
            self.backoff.reset();
        }
        let is_restarting = transaction.lock().topics.is_restarting();
        self.pause_after(&fault, transaction, stop, report);
        if !self.prepare(consumer, transaction, stop, report)? {
            return Ok(false);
        }
        match look(consumer, &mut transaction.lock()) {
            Ok(false) => {}
            Ok(true) => return Ok(true),
            Err(problem) => {
                report(Some(problem));
                self.backoff.pause(stop);
                return Ok(false);
            }
        }
        match settle(consumer, &mut transaction.lock()) {
            Ok(()) => {}
            Err(refused @ Fault::NotAuthorised(_)) => {
                return Err(self.not_authorised(consumer, refused));
            }
            Err(fault) => {
                report(Some(fault.to_string()));
                self.backoff.pause(stop);
                return Ok(false);
            }
        }
        // Also before the first record: the committed offsets that the consumer knows may be older than the last commit of
        // the producer that was just fenced.
        if !self.rewind(consumer, transaction, stop, report)? {
            return Ok(false);
        }
        if self.is_started {
            if !is_restarting {
                info!("resuming at the committed offsets");
            }
            self.resumed = Some((Instant::now(), fault.to_string()));
        }
        {
            let mut transaction = transaction.lock();
            transaction.topics.restarted();
            transaction.recovered();
        }
        self.is_started = true;
        Ok(false)
    }

    /// Reports the fault and pauses, unless the worker starts or waits for its topics.
    fn pause_after<P: Processor>(
        &mut self,
        fault: &Fault,
        transaction: &SharedTransaction<P>,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) {
        let (waits_for_topic, is_restarting) = {
            let topics = &transaction.lock().topics;
            (topics.problem().is_some(), topics.is_restarting())
        };
        if !self.is_started || (waits_for_topic && !is_restarting) {
            return;
        }
        if !is_restarting {
            warn!("the transaction failed, processing its records again: {fault}");
            report(Some(fault.to_string()));
        }
        self.backoff.pause(stop);
    }

    /// Makes the producer usable. Serves the consumer between two attempts: a rebalance waits until every member has agreed to give
    /// partitions up. Returns whether it succeeded; not if `stop` was cancelled.
    ///
    /// # Errors
    /// [`WorkerError`] if a retry cannot help.
    fn prepare<P: Processor>(
        &self,
        consumer: &Consumer,
        transaction: &SharedTransaction<P>,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<bool, WorkerError> {
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        while !stop.is_cancelled() {
            let prepared = transaction.lock().producer.try_to_prepare();
            match prepared {
                Ok(()) => return Ok(true),
                Err(fault @ Fault::NotAuthorised(_)) => {
                    return Err(self.not_authorised(consumer, fault));
                }
                Err(fault) => {
                    report(Some(fault.to_string()));
                    backoff.pause(stop);
                    consumer.serve(Duration::ZERO)?;
                }
            }
        }
        Ok(false)
    }

    /// Rewinds to the committed offsets. Returns whether that succeeded.
    ///
    /// # Errors
    /// [`WorkerError`] if the user may not read them.
    fn rewind<P: Processor>(
        &mut self,
        consumer: &Consumer,
        transaction: &SharedTransaction<P>,
        stop: &CancellationToken,
        report: &mut Report<'_>,
    ) -> Result<bool, WorkerError> {
        let Err(error) = rewind(consumer, transaction) else {
            return Ok(true);
        };
        if let refused @ Fault::NotAuthorised(_) = Fault::of(REQUEST, &error) {
            return Err(self.not_authorised(consumer, refused));
        }
        report(Some(unknown_offsets(&error)));
        self.backoff.pause(stop);
        Ok(false)
    }

    fn not_authorised(&self, consumer: &Consumer, fault: Fault) -> WorkerError {
        WorkerError::NotAuthorised {
            transactional_id: self.transactional_id.clone(),
            group_id: consumer.reads().group_id.clone(),
            fault,
        }
    }
}

/// Looks up the topics. If the input topic was recreated, forgets the positions in the previous one. Returns whether it was.
///
/// # Errors
/// A message, if the cluster does not answer or the input topic does not exist.
fn look<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
) -> Result<bool, String> {
    let (input, _) =
        note_topics(consumer, transaction, OFFSETS_TIMEOUT).map_err(|error| error.to_string())?;
    let id = input.into_id(&consumer.reads().topic)?;
    let is_recreated = transaction.topics.start(id);
    if is_recreated {
        transaction.topics.restart();
        transaction.forget_topic();
        consumer.note_recreated();
    }
    Ok(is_recreated)
}

/// Aborts what a former producer of the transactional id has left open, if this was not done yet.
fn settle<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
) -> Result<(), Fault> {
    let outputs = transaction.processor.partitioned_outputs();
    let last = transaction.processor.transaction_output();
    let outputs: Vec<&str> = outputs.iter().chain(&last).map(String::as_str).collect();
    let topic = &consumer.reads().topic;
    let any_position = [(0, 0)].into();
    let progress = consumer.group_without_proof().map(|group| Progress {
        topic,
        positions: &any_position,
        topic_id: None,
        group,
    });
    if transaction.producer.settle(&outputs, progress)? {
        transaction.forget_committed();
    }
    Ok(())
}

/// Looks up the topics and notes how they have changed. Returns the state of the input topic.
///
/// # Errors
/// The client's error if the cluster does not answer in time.
pub(super) fn note_topics<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
    timeout: Duration,
) -> Result<(TopicState, Change), KafkaError> {
    let outputs = transaction.processor.partitioned_outputs();
    let last = transaction.processor.transaction_output();
    let mut names = vec![consumer.reads().topic.as_str()];
    names.extend(outputs.iter().chain(&last).map(String::as_str));
    let mut states = transaction
        .producer
        .topic_states(&names, timeout)?
        .into_iter();
    let input = states.next().unwrap_or(TopicState::Missing);
    let mut outputs: Vec<(&str, TopicState)> = names.into_iter().skip(1).zip(states).collect();
    if last.is_some()
        && let Some((topic, state)) = outputs.pop()
    {
        count_partitions(transaction, topic, &state, &input);
    }
    let change = transaction.topics.note(&input, &outputs);
    Ok((input, change))
}

/// Tells the processor how many partitions its transaction output has, if the number has changed.
fn count_partitions<P: Processor>(
    transaction: &mut OpenTransaction<P>,
    topic: &str,
    state: &TopicState,
    input: &TopicState,
) {
    let &TopicState::Exists { partitions, .. } = state else {
        return;
    };
    transaction.topics.compare(topic, partitions, input);
    if !transaction.topics.has_counted(partitions) {
        // The producer's own view may be older, and it refuses records for partitions that it does not know.
        let known = transaction
            .producer
            .refresh_partitions(topic, REFRESH_TIMEOUT);
        match known {
            Ok(known) => {
                transaction.topics.count(known);
                let known = i32::try_from(known).unwrap_or(i32::MAX);
                transaction.processor.counted_partitions(known);
            }
            Err(error) => debug!("requesting the partitions of topic `{topic}`: {error}"),
        }
    }
}

/// Rewinds all assigned partitions to their committed offsets.
///
/// # Errors
/// If the committed offsets are not known in time; then nothing has changed.
pub(super) fn rewind<P: Processor>(
    consumer: &Consumer,
    transaction: &SharedTransaction<P>,
) -> Result<(), KafkaError> {
    let id = transaction.lock().topics.id().cloned();
    let committed = consumer.rewind_to_committed(id.as_ref(), OFFSETS_TIMEOUT)?;
    let mut transaction = transaction.lock();
    transaction.forget_positions();
    for (partition, offset) in committed {
        transaction.resume(partition, offset);
    }
    Ok(())
}

/// Describes why the committed offsets are not known. A coordinator does not answer before the transaction that may change them
/// has ended.
pub(super) fn unknown_offsets(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::OperationTimedOut) => format!(
            "the group's committed offsets cannot be read: its coordinator does not answer, or {OPEN_OFFSETS}"
        ),
        _ => format!("{REQUEST}: {error}"),
    }
}

/// Requests the committed offsets of assigned partitions without a position whose oldest records were deleted. Those after the
/// committed offset may be among them, and the next record may be long in coming.
pub(super) fn find_truncated<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
) {
    let mut partitions = consumer.assignment();
    partitions.retain(|&partition| {
        !transaction.has_position(partition) && consumer.is_truncated(partition)
    });
    if partitions.is_empty() {
        return;
    }
    match consumer.committed(&partitions, transaction.topics.id(), OFFSETS_TIMEOUT) {
        Ok(committed) => {
            for (partition, offset) in committed {
                transaction.resume(partition, offset);
            }
        }
        Err(error) => debug!("{}", unknown_offsets(&error)),
    }
}

/// Requests the committed offset of a record's partition, if the position in it is not known yet. The record may lie before
/// that offset.
///
/// # Errors
/// A message, if the committed offset is not known in time, or if reading has started behind it.
pub(super) fn find_position<P: Processor>(
    consumer: &Consumer,
    transaction: &mut OpenTransaction<P>,
    record: &Record<'_>,
) -> Result<(), String> {
    let (partition, begun) = (record.partition(), record.offset());
    if transaction.has_position(partition) {
        return Ok(());
    }
    let id = transaction.topics.id();
    let committed = consumer
        .committed(&[partition], id, OFFSETS_TIMEOUT)
        .map_err(|error| format!("partition {partition}: {}", unknown_offsets(&error)))?;
    let position = committed.get(partition).unwrap_or(begun);
    if position == 0 && begun > 0 {
        return Err(format!(
            "partition {partition} starts at offset {begun}, and nothing is committed: starting at its beginning"
        ));
    }
    transaction.resume(partition, position);
    if begun < position {
        warn!(
            "partition {partition} starts at offset {begun}, before its committed offset {position}: skipping the records \
             in between"
        );
    }
    Ok(())
}
