//! A worker's transaction: the state that its loop shares with the rebalance callback.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::ConsumerGroupMetadata;
use tracing::debug;

use crate::defence::Defence;
use crate::exactly_once::attempt::Attempt;
use crate::exactly_once::deleted::DeletedRecords;
use crate::exactly_once::fault::Fault;
use crate::exactly_once::policy::CommitPolicy;
use crate::exactly_once::processor::{Outcomes, Processor, Refusal};
use crate::exactly_once::producer::TransactionalProducer;
use crate::exactly_once::progress::Progress;
use crate::exactly_once::refusals::Owner;
use crate::exactly_once::refused::{Cause, Refused};
use crate::exactly_once::topics::Topics;
use crate::offsets::{PartitionOffset, Positions, Step};
use crate::record::{OutgoingRecord, Record};
use crate::sys::membership::NotAMember;

/// How long after a commit the coordinator may still write the end of the transaction. It usually takes 1 to 5 ms, and longer
/// when the broker's JVM collects garbage.
const ENDING: Duration = Duration::from_millis(50);

/// Adds outcomes of one input record, or records of the whole transaction, to the open transaction.
struct TransactionHandle<'a> {
    producer: &'a mut TransactionalProducer,
    owner: Owner,
}

/// A record with a refused outcome: how it is sent next, and the refusal that led to that.
#[derive(Debug)]
struct Retry {
    attempt: Attempt,
    refused: Refused,
}

impl Outcomes for TransactionHandle<'_> {
    fn send(&mut self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        self.producer.send_owned(record, self.owner)
    }
}

/// The state of a worker's transactions: its producer and processor, the positions and records of the open transaction, and the
/// state that is kept between transactions: committed positions, retries of refused records, and the fault.
///
/// A transaction is opened by the first record or position that is added, and ends when it is committed or fails.
pub(super) struct OpenTransaction<P> {
    pub(super) producer: TransactionalProducer,
    pub(super) processor: P,
    pub(super) policy: CommitPolicy,
    topic: String,
    /// The input and output topics as they change.
    pub(super) topics: Topics,
    /// Records that were deleted before they were read.
    pub(super) deleted: DeletedRecords,
    /// The positions behind the records of the open transaction.
    processed: Positions,
    /// The positions behind offsets that have no record, where they are beyond those of `processed`.
    passed: Positions,
    /// How far each partition has been read since it was assigned or rewound. Records before that are redelivered.
    read: Positions,
    /// The positions that this worker has committed since the partitions were assigned.
    committed: Positions,
    /// The records whose outcome a topic has refused.
    retries: BTreeMap<PartitionOffset, Retry>,
    /// The number of steps forward: commits, and refused records that will be sent in another way.
    progress: u64,
    records: u64,
    opened: Instant,
    /// When the last transaction was committed, if it was because the input was drained.
    pub(super) drained: Option<Instant>,
    /// The fault that the worker has not recovered from yet.
    fault: Option<Fault>,
}

impl<P: Processor> OpenTransaction<P> {
    /// Returns the state before the first transaction. The producer, which is not connected yet, counts as lost, so that a
    /// worker's first step is the same as recovery.
    pub(super) fn new(
        topic: &str,
        producer: TransactionalProducer,
        policy: CommitPolicy,
        processor: P,
    ) -> Self {
        Self {
            producer,
            processor,
            policy,
            topic: topic.to_owned(),
            topics: Topics::new(topic),
            deleted: DeletedRecords::new(topic),
            processed: Positions::new(),
            passed: Positions::new(),
            read: Positions::new(),
            committed: Positions::new(),
            retries: BTreeMap::new(),
            progress: 0,
            records: 0,
            opened: Instant::now(),
            drained: None,
            fault: Some(Fault::Lost("not started".to_owned())),
        }
    }

    /// Processes one record in the open transaction, or opens one.
    pub(super) fn add(
        &mut self,
        record: &Record<'_>,
        group: impl FnOnce() -> Result<ConsumerGroupMetadata, NotAMember>,
    ) -> Result<(), Fault> {
        let input = record.partition_offset();
        match self.read.step(input) {
            Step::Next => {}
            Step::Gap(position) => self.topics.skipped_to(input, position),
            Step::Redelivered if Defence::Position.is_on() => {
                let PartitionOffset { partition, offset } = input;
                debug!(partition, offset, "redelivered, skipped");
                return Ok(());
            }
            Step::Redelivered => self.read.advance(input),
        }
        self.open()?;
        if self.drained.take().is_some_and(|at| at.elapsed() < ENDING) {
            self.await_last_end(input.partition, group)?;
        }
        let mut handle = TransactionHandle {
            producer: &mut self.producer,
            owner: Owner::Record(input),
        };
        let values = record.input(&self.topic);
        match self.retries.get(&input) {
            Some(&Retry {
                attempt: Attempt::DeadLetter(omitted),
                ref refused,
            }) => {
                let refusal = Refusal { refused, omitted };
                self.processor.dead_letter(&values, refusal, &mut handle)?;
            }
            _ => self.processor.process(&values, &mut handle)?,
        }
        self.processed.advance(input);
        self.records += 1;
        Ok(())
    }

    fn open(&mut self) -> Result<(), Fault> {
        if !self.producer.is_open() {
            self.producer.begin()?;
            self.opened = Instant::now();
            self.processor.begun();
        }
        Ok(())
    }

    /// Waits until the coordinator has written the end of the last transaction. It is busy until then, and when librdkafka finds
    /// it so, it repeats a request with offsets after `retry.backoff.ms`, but one with the partitions of records after 20 ms.
    /// So the offset that is already committed goes first; the commit replaces it. Under load this is not worth a wait: the
    /// transaction fills meanwhile.
    fn await_last_end(
        &self,
        partition: i32,
        group: impl FnOnce() -> Result<ConsumerGroupMetadata, NotAMember>,
    ) -> Result<(), Fault> {
        let Some(committed) = self.committed.get(partition) else {
            return Ok(());
        };
        let mut positions = Positions::new();
        positions.set(partition, committed);
        self.producer.send_offsets(Progress {
            topic: &self.topic,
            positions: &positions,
            topic_id: self.topics.id(),
            group: group().map_err(|error| Fault::Abortable(error.to_string()))?,
        })
    }

    /// Continues a partition at the group's committed offset, but never before the offset that this worker has committed: a
    /// coordinator that was unavailable may not know the latter yet.
    pub(super) fn resume(&mut self, partition: i32, committed: i64) {
        let known = self.committed.get(partition);
        let position = known.map_or(committed, |known| known.max(committed));
        self.read.set(partition, position);
        self.deleted.resumed(partition, committed);
    }

    /// Returns how far each partition has been read.
    pub(super) fn positions(&self) -> &Positions {
        &self.read
    }

    /// Moves the position in a partition behind offsets that have no record, in the open transaction.
    pub(super) fn pass(&mut self, partition: i32, position: i64) -> Result<(), Fault> {
        self.open()?;
        self.read.set(partition, position);
        self.passed.set(partition, position);
        Ok(())
    }

    /// Moves the position in a partition behind records that were deleted before they were read, in the open transaction.
    pub(super) fn skip(&mut self, partition: i32, offsets: Range<i64>) -> Result<(), Fault> {
        self.pass(partition, offsets.end)?;
        self.deleted.add(partition, offsets);
        Ok(())
    }

    /// Starts a partition in which the group has committed nothing, but never before the offset that this worker has
    /// committed.
    pub(super) fn start_at(&mut self, partition: i32, position: i64) {
        let known = self.committed.get(partition).unwrap_or(0);
        self.read.set(partition, position.max(known));
    }

    /// Returns the positions that the open transaction will commit.
    fn next_positions(&self) -> Positions {
        let mut positions = self.processed.clone();
        for (partition, position) in self.passed.iter() {
            let known = positions.get(partition).unwrap_or(0);
            positions.set(partition, position.max(known));
        }
        positions
    }

    /// Forgets all that was committed, because the input topic was recreated.
    pub(super) fn forget_topic(&mut self) {
        self.read.clear();
        self.committed.clear();
        self.retries.clear();
        self.deleted.clear();
    }

    /// Forgets what was committed in all partitions: a transaction may have been aborted after its commit was acknowledged.
    pub(super) fn forget_committed(&mut self) {
        self.committed.clear();
    }

    /// Whether the position in a partition is known.
    pub(super) fn has_position(&self, partition: i32) -> bool {
        self.read.contains(partition)
    }

    /// Forgets the positions in all partitions, before they are [set again](Self::resume).
    pub(super) fn forget_positions(&mut self) {
        self.read.clear();
    }

    /// Forgets partitions that were assigned or revoked.
    pub(super) fn forget(&mut self, partitions: &[i32]) {
        self.read.forget(partitions);
        self.committed.forget(partitions);
        self.deleted.forget(partitions);
        self.processor.reassigned(partitions);
        self.retries
            .retain(|input, _| !partitions.contains(&input.partition));
    }

    /// Whether a topic has refused an outcome of a record, so that the record needs a transaction of its own.
    pub(super) fn is_suspect(&self, record: &Record<'_>) -> bool {
        !self.retries.is_empty() && self.retries.contains_key(&record.partition_offset())
    }

    /// Returns the number of steps forward: commits, and refused records that will be sent in another way.
    pub(super) fn progress(&self) -> u64 {
        self.progress
    }

    /// Whether the transaction is to be committed now.
    pub(super) fn is_due(&self, drained: bool) -> bool {
        let age = || self.opened.elapsed();
        self.policy.is_due_now(self.records, age, drained)
    }

    /// Returns how much longer the transaction waits for records after the input is drained; without records, it does not wait.
    pub(super) fn linger_left(&self) -> Duration {
        if self.records == 0 {
            return Duration::ZERO;
        }
        self.policy.linger_left(self.opened.elapsed())
    }

    /// Whether the transaction has something to commit.
    pub(super) fn has_progress(&self) -> bool {
        !self.processed.is_empty() || !self.passed.is_empty()
    }

    /// Whether there is neither something to commit nor a fault.
    pub(super) fn is_idle(&self) -> bool {
        self.fault.is_none() && !self.has_progress()
    }

    /// Commits the transaction, if it has something to commit. A failure becomes the [fault](Self::fault).
    pub(super) fn commit(
        &mut self,
        group: impl FnOnce() -> Result<ConsumerGroupMetadata, NotAMember>,
    ) {
        if !self.has_progress() || self.fault.is_some() {
            return;
        }
        let started = Instant::now();
        let mut positions = self.next_positions();
        let committed = self.send_and_commit(&positions, group());
        match committed {
            Ok(()) => {
                self.retries.retain(|&input, _| positions.is_next(input));
                self.progress += 1;
                self.committed.append(&mut positions);
                self.processed.clear();
                self.passed.clear();
                self.deleted.committed();
                if std::mem::take(&mut self.records) > 0 {
                    self.processor.committed(started.elapsed());
                }
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// Commits the transaction as [`commit`](Self::commit) does, because the input is drained.
    pub(super) fn commit_drained(
        &mut self,
        group: impl FnOnce() -> Result<ConsumerGroupMetadata, NotAMember>,
    ) {
        self.commit(group);
        self.drained = self.fault.is_none().then(Instant::now);
    }

    fn send_and_commit(
        &mut self,
        positions: &Positions,
        group: Result<ConsumerGroupMetadata, NotAMember>,
    ) -> Result<(), Fault> {
        let group = group.map_err(|error| Fault::Abortable(error.to_string()))?;
        let described = self.producer.request_topic(&self.topic)?;
        // The last records belong to no single input record. If a topic refuses one, the last record of the first partition
        // gets a transaction of its own.
        let input = self
            .processed
            .iter()
            .next()
            .map_or_else(PartitionOffset::default, |(partition, position)| {
                PartitionOffset::new(partition, position - 1)
            });
        if self.records > 0 {
            self.processor.committing(&mut TransactionHandle {
                producer: &mut self.producer,
                owner: Owner::Transaction(input),
            })?;
        }
        // The brokers describe the topic, take the positions, and acknowledge the records at the same time.
        self.producer.drain_with(Progress {
            topic: &self.topic,
            positions,
            topic_id: self.topics.id(),
            group,
        })?;
        let id = self.producer.topic_id(&self.topic, &described)?;
        self.topics.check(id.as_ref()).map_err(Fault::Abortable)?;
        self.producer.commit()
    }

    /// Ends the transaction without committing it. Its records will be read again.
    pub(super) fn fail(&mut self, fault: Fault) {
        let may_be_committed = matches!(fault, Fault::Lost(_)) && !self.producer.is_fenced();
        let positions = self.next_positions();
        self.deleted.failed(may_be_committed, &positions);
        self.producer.abort(&fault);
        self.schedule_retries();
        self.processor.aborted(&fault);
        self.processed.clear();
        self.passed.clear();
        self.read.clear();
        self.records = 0;
        self.drained = None;
        self.fault = Some(fault);
    }

    /// Decides how each record with a refused outcome is sent next.
    fn schedule_retries(&mut self) {
        let refusals = self.producer.take_refusals();
        for (input, refused) in refusals.records {
            let last = self.retries.get(&input).map(|retry| retry.attempt);
            let attempt = Attempt::after(last, refused.cause);
            self.progress +=
                u64::from(last != Some(attempt) && refused.cause != Cause::Unexplained);
            debug!(
                ?attempt,
                "{input:?}: topic `{}`: {}", refused.topic, refused.error
            );
            match self.retries.get_mut(&input) {
                // A dead letter names the refusal of the outcome, not of a dead letter before.
                Some(retry) if matches!(retry.attempt, Attempt::DeadLetter(_)) => {
                    retry.attempt = attempt;
                }
                _ => {
                    self.retries.insert(input, Retry { attempt, refused });
                }
            }
        }
        for (input, refused) in refusals.transactions {
            let attempt = Attempt::FIRST;
            let alone = Retry { attempt, refused };
            self.retries.entry(input).or_insert(alone);
        }
    }

    /// Returns the fault that the worker has not recovered from yet.
    pub(super) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Marks the fault as recovered from.
    pub(super) fn recovered(&mut self) {
        self.fault = None;
    }
}

#[cfg(test)]
mod tests;
