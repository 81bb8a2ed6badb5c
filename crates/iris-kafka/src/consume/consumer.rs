//! Reads a topic as a member of a consumer group, or as the only reader of listed partitions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tracing::debug;

use crate::change::identity::{TopicId, is_recreated};
use crate::client::config;
use crate::client::connected::Connected;
use crate::client::health::{ClientHealth, Events};
use crate::client::settings::KafkaSettings;
use crate::consume::error::{ConsumeError, refusal};
use crate::consume::misplaced::Misplaced;
use crate::consume::rebalance::{RebalanceListener, Rebalances};
use crate::consume::removed::RemovalDetector;
use crate::consume::stalled::{ReadPosition, StallDetector, StalledPartition};
use crate::offsets::{Positions, TopicPartition};
use crate::record::Record;
use crate::sys::admin::Request;
use crate::sys::ends::{End, Ends, FoundEnd};
use crate::sys::inbox::Inbox;
use crate::sys::membership::{self, NotAMember};

/// The problem of a consumer whose group has not assigned partitions yet.
const WAITS_FOR_GROUP: &str = "waiting for the group to assign partitions";

/// The longest wait for records before the client's other events are served.
const EVENTS_INTERVAL: Duration = Duration::from_millis(20);

/// How long the client's own threads may take to seek; no broker is asked.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request for the ends of partitions may take. Brokers answer it after the fetch before, for which a consumer waits
/// up to 0.5 s.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// The topic and partitions that a consumer reads, and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The topic.
    pub topic: String,
    /// The consumer group that commits the offsets.
    pub group_id: String,
    /// The partitions to read, or `None` to share the topic with the group's other members.
    pub partitions: Option<Vec<i32>>,
    /// The name of a static member of the group: its partitions wait for it while it restarts. `None` for a dynamic member, whose
    /// partitions are given to others as soon as it leaves.
    pub instance: Option<String>,
}

/// Reads the committed records of a topic. Never commits offsets by itself.
pub struct Consumer {
    inbox: Arc<Inbox>,
    ends: Ends,
    pub(super) client: Connected<BaseConsumer<Events<Rebalances>>>,
    pub(super) client_health: Arc<ClientHealth>,
    pub(super) start: Start,
    stall_check: Mutex<StallCheck>,
    removal_detector: Mutex<RemovalDetector>,
    pub(super) misplaced: Misplaced,
}

/// The search for stalled partitions, and the request for their ends that has no answer yet.
#[derive(Default)]
struct StallCheck {
    detector: StallDetector,
    request: Option<Request>,
}

impl StallCheck {
    /// Begins again after reading was restarted.
    fn reset(&mut self, now: Instant) {
        self.detector.reset(now);
        self.request = None;
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // When librdkafka closes a consumer without partitions, it does not leave the group, whose next rebalance then lasts until
        // the session ends. It does leave when the subscription ends first.
        let is_dynamic = self.start.partitions.is_none() && self.start.instance.is_none();
        if is_dynamic && !self.client.context().listener.has_partitions() {
            self.client.unsubscribe();
        }
    }
}

impl Consumer {
    /// Starts reading.
    ///
    /// # Errors
    /// [`ConsumeError`] if a setting cannot be used. An unreachable cluster is not an error: the
    /// [client's health](ClientHealth::problem) reports it, and reading starts once a broker answers.
    pub fn start(
        settings: &KafkaSettings,
        service: &str,
        start: Start,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<Self, ConsumeError> {
        let client_health = ClientHealth::new(settings);
        Self::start_with(settings, service, start, listener, client_health)
    }

    /// Starts reading as [`start`](Self::start) does, in place of another consumer whose health it continues.
    pub(crate) fn start_with(
        settings: &KafkaSettings,
        service: &str,
        start: Start,
        listener: Option<Box<dyn RebalanceListener>>,
        client_health: Arc<ClientHealth>,
    ) -> Result<Self, ConsumeError> {
        let context = Events {
            client_health: Arc::clone(&client_health),
            listener: Rebalances::new(listener),
        };
        let instance = start.instance.as_deref();
        let config = config::group_consumer(settings, service, &start.group_id, instance)?;
        let failed = |source| ConsumeError::Start {
            topic: start.topic.clone(),
            source,
        };
        let mut client: Connected<BaseConsumer<Events<Rebalances>>> =
            Connected::new(&config, settings, context).map_err(failed)?;
        if instance.is_some() {
            // A static member does not leave its group, and its successor waits for the end of this process.
            client.close_without_waiting();
        }
        let rebalances = &client.context().listener;
        let no_queue = || failed(KafkaError::ClientCreation("no queue".to_owned()));
        let inbox = Inbox::new(client.alive()).ok_or_else(no_queue)?;
        let ends = Ends::new(client.alive()).ok_or_else(no_queue)?;
        let inbox = Arc::new(inbox);
        rebalances.deliver_to(Arc::downgrade(&inbox));
        match &start.partitions {
            None => client.subscribe(&[&start.topic]).map_err(failed)?,
            Some(partitions) => {
                let mut assignment = TopicPartitionList::new();
                for &partition in partitions {
                    assignment
                        .add_partition_offset(&start.topic, partition, Offset::Stored)
                        .map_err(failed)?;
                }
                rebalances.set_starts(&mut assignment);
                rebalances.collect(&assignment);
                client.assign(&assignment).map_err(failed)?;
                rebalances.note_partitions(true);
            }
        }
        Ok(Self {
            inbox,
            ends,
            client,
            client_health,
            start,
            stall_check: Mutex::default(),
            removal_detector: Mutex::default(),
            misplaced: Misplaced::default(),
        })
    }

    /// Returns the records that are available, at most some hundred; if there are none, waits for at most `timeout`.
    /// Partitions are assigned and revoked in this call and [`serve`](Self::serve) only: the records that it returns belong to this
    /// consumer until the next call.
    ///
    /// # Errors
    /// [`ConsumeError`] if reading cannot continue. Temporary problems are not errors.
    pub fn read(&self, timeout: Duration) -> Result<Vec<Record<'_>>, ConsumeError> {
        self.serve(Duration::ZERO)?;
        if !self.client.context().listener.has_partitions() && !timeout.is_zero() {
            // Only an assignment can bring records.
            self.serve(timeout)?;
        }
        let mut records = Vec::new();
        let taken = self.inbox.take(timeout.min(EVENTS_INTERVAL));
        self.client_health.note_drained(taken.is_empty());
        for message in taken {
            match message.error() {
                None => records.push(Record::new(message)),
                Some(code) => {
                    self.misplaced.note(&message);
                    self.check(KafkaError::MessageConsumption(code))?;
                }
            }
        }
        Ok(records)
    }

    /// Serves the client's events other than records: rebalances, errors and statistics. If there are none, waits for one for at
    /// most `timeout`. To be called every few seconds by an application that cannot [read](Self::read) records.
    ///
    /// # Errors
    /// [`ConsumeError`] if reading cannot continue.
    pub fn serve(&self, timeout: Duration) -> Result<(), ConsumeError> {
        let waiting = self.client.waiting_events();
        self.serve_one(timeout)?;
        (1..waiting).try_for_each(|_| self.serve_one(Duration::ZERO))
    }

    fn serve_one(&self, timeout: Duration) -> Result<(), ConsumeError> {
        match self.client.poll(timeout) {
            None => Ok(()),
            Some(Err(error)) => self.check(error),
            // All records go to the inbox. One that came here would be out of order, so reading has to start again.
            Some(Ok(_)) => Err(ConsumeError::Fatal {
                topic: self.start.topic.clone(),
                source: KafkaError::MessageConsumption(RDKafkaErrorCode::Inconsistent),
            }),
        }
    }

    /// Logs an error that is temporary, and notes a refusal of the group.
    ///
    /// # Errors
    /// [`ConsumeError`] if it is not.
    fn check(&self, error: KafkaError) -> Result<(), ConsumeError> {
        let text = error.to_string();
        if let Some(refusal) = refusal(&error, &self.start.group_id) {
            self.client_health.note_refusal(refusal);
        }
        let Start {
            topic, group_id, ..
        } = &self.start;
        match ConsumeError::of(error, topic, group_id) {
            Some(ConsumeError::Fatal { .. }) if self.is_replaced() => Err(ConsumeError::Replaced {
                group_id: group_id.clone(),
                instance: self.start.instance.clone().unwrap_or_default(),
            }),
            Some(error) => Err(error),
            None => {
                debug!("{text}");
                Ok(())
            }
        }
    }

    /// Whether another member has joined the group with this member's name.
    fn is_replaced(&self) -> bool {
        let fatal = self.client.client().fatal_error();
        fatal.is_some_and(|(code, _)| code == RDKafkaErrorCode::FencedInstanceId)
    }

    /// Returns the client's health: whether the cluster is reachable, and how far each partition has been read.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client_health
    }

    /// Returns what keeps this consumer from its partitions, if anything does: its client's problem, or that the group has not
    /// assigned any yet.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let listener = &self.client.context().listener;
        let waits = self.start.partitions.is_none() && !listener.has_assignment();
        let waits = || waits.then(|| WAITS_FOR_GROUP.to_owned());
        self.client_health.problem().or_else(waits)
    }

    /// Whether the group has removed this consumer and the client fails to join again: then the consumer must be replaced. To be
    /// called by an application that polls; asks no broker.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let is_outside = || {
            self.start.partitions.is_none()
                && self.client.context().listener.has_partitions()
                && self.group().is_err()
        };
        self.removal_detector
            .lock()
            .check(Instant::now(), is_outside)
    }

    /// Returns a partition with unread records and no progress. To be called again and again while there is no input: every few
    /// seconds it asks for the ends of all partitions, and does not wait for the answer, because a broker gives it only after that
    /// to the fetch before.
    pub fn stalled_partition(&self) -> Option<StalledPartition> {
        let StallCheck { detector, request } = &mut *self.stall_check.lock();
        let now = Instant::now();
        if let Some(requested) = request {
            if let Some(answer) = self.ends.try_answer(requested) {
                *request = None;
                detector.check(now, &self.read_positions(answer));
            }
        } else if detector.is_due(now) {
            match self.request_ends() {
                Ok(requested) => *request = requested,
                Err(error) => debug!("requesting the ends of partitions: {error}"),
            }
            if request.is_none() {
                detector.check(now, &[]);
            }
        }
        detector.stalled()
    }

    /// Returns a description of unread records in one of the assigned partitions; `None` if all are read. Waits for the answer of
    /// the brokers.
    pub(crate) fn unread(&self) -> Option<String> {
        let requested = self.request_ends();
        let answer = requested.and_then(|requested| match requested {
            Some(requested) => self.ends.answer(&requested),
            None => Ok(Vec::new()),
        });
        let known = self.read_positions(answer);
        self.assignment().into_iter().find_map(|partition| {
            match known.iter().find(|known| known.partition == partition) {
                None => Some(format!(
                    "partition {partition}: the broker does not return its end"
                )),
                Some(position) => position.unread(),
            }
        })
    }

    /// Asks for the ends of the assigned partitions; `None` if there are none.
    fn request_ends(&self) -> Result<Option<Request>, KafkaError> {
        let partitions = self.assignment().into_iter();
        let topic = &self.start.topic;
        let partitions: Vec<TopicPartition> = partitions
            .map(|partition| TopicPartition::new(topic, partition))
            .collect();
        if partitions.is_empty() {
            return Ok(None);
        }
        let requested = self
            .ends
            .request(&partitions, End::LastStable, END_TIMEOUT)?;
        Ok(Some(requested))
    }

    /// Returns how far the partitions that are still assigned have been read, where the brokers returned their ends.
    fn read_positions(&self, answer: Result<Vec<FoundEnd>, KafkaError>) -> Vec<ReadPosition> {
        let assigned = self.assignment();
        let found = answer.inspect_err(|error| debug!("the ends of partitions: {error}"));
        let read_position = |(TopicPartition { partition, .. }, end): FoundEnd| {
            Some(ReadPosition {
                partition,
                next: self.client_health.next_offset(partition)?,
                end: end.ok()?,
            })
        };
        found
            .unwrap_or_default()
            .into_iter()
            .filter(|(found, _)| assigned.contains(&found.partition))
            .filter_map(read_position)
            .collect()
    }

    /// Returns the topic and partitions that the consumer reads, and its group.
    #[must_use]
    pub fn reads(&self) -> &Start {
        &self.start
    }

    /// Returns the partitions that are assigned to this consumer.
    #[must_use]
    pub fn assignment(&self) -> Vec<i32> {
        let assigned = self.client.assignment();
        assigned
            .map(|list| {
                list.elements()
                    .iter()
                    .map(|element| element.partition())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Seeks to the group's committed offsets in all assigned partitions, and drops the records that were fetched already.
    /// Returns these offsets. A partition without a committed offset is read from its beginning. `topic_id` is the topic's
    /// present id, as for [`committed`](Self::committed).
    ///
    /// # Errors
    /// The client's error if the offsets are not known within `timeout`; then nothing has changed.
    pub(crate) fn rewind_to_committed(
        &self,
        topic_id: Option<&TopicId>,
        timeout: Duration,
    ) -> Result<Positions, KafkaError> {
        let partitions = self.assignment();
        if partitions.is_empty() {
            return Ok(Positions::new());
        }
        let committed = self.committed(&partitions, topic_id, timeout)?;
        self.go_to(&partitions, &committed)?;
        Ok(committed)
    }

    /// Returns the group's committed offsets of some partitions, without those that have none. An offset that was committed
    /// for a previous topic of this name, by its id, counts as 0: nothing of the present topic has been processed.
    ///
    /// # Errors
    /// If the cluster does not answer in time.
    pub(crate) fn committed(
        &self,
        partitions: &[i32],
        topic_id: Option<&TopicId>,
        timeout: Duration,
    ) -> Result<Positions, KafkaError> {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.start.topic, partition);
        }
        let committed = self.client.committed_offsets(list, timeout)?;
        let mut offsets = Positions::new();
        for element in committed.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                let committed_for = TopicId::from_metadata(element.metadata());
                let is_outdated = is_recreated(committed_for.as_ref(), topic_id);
                offsets.set(element.partition(), if is_outdated { 0 } else { offset });
            }
        }
        Ok(offsets)
    }

    /// Continues at the given positions in all assigned partitions. A partition without one is read from its beginning.
    ///
    /// # Errors
    /// [`ConsumeError::Fatal`] if the client cannot.
    pub fn restart_at(&self, positions: &Positions) -> Result<(), ConsumeError> {
        self.go_to(&self.assignment(), positions)
            .map_err(|source| ConsumeError::Fatal {
                topic: self.start.topic.clone(),
                source,
            })
    }

    /// Continues at the given positions, or else at the beginning, and drops the records that were fetched already.
    fn go_to(&self, partitions: &[i32], positions: &Positions) -> Result<(), KafkaError> {
        self.stall_check.lock().reset(Instant::now());
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            let position = positions.get(partition);
            let offset = position.map_or(Offset::Beginning, Offset::Offset);
            list.add_partition_offset(&self.start.topic, partition, offset)?;
        }
        if self.start.partitions.is_some() {
            self.reassign(&list)?;
        } else {
            self.seek(&list)?;
        }
        self.misplaced.forget(partitions);
        Ok(())
    }

    /// Seeks in partitions that the group has assigned. Only the rebalance callback may assign them: librdkafka would take
    /// an assignment from here for the answer to a pending revocation, and let the group give the partitions to another
    /// member while they are still read here.
    fn seek(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let sought = self.client.seek_partitions(list.clone(), SEEK_TIMEOUT)?;
        for element in sought.elements() {
            match element.error() {
                // The partition is not being read yet; reading will start at the offset that was assigned.
                Err(KafkaError::OffsetFetch(
                    RDKafkaErrorCode::State | RDKafkaErrorCode::PreviousInProgress,
                )) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Assigns listed partitions again; no group assigns or revokes them. librdkafka refuses to seek before it has started to
    /// read a partition, and it may start at an offset older than the last commit of a predecessor.
    fn reassign(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        self.client.assign(list)?;
        // When reading of a partition stops, librdkafka forgets where its records are routed. It does so on its own thread,
        // in the order of requests: the answer to a later request shows that it is done.
        self.client.assignment()?;
        self.client.context().listener.collect(list);
        Ok(())
    }

    /// Commits offsets to the group without waiting for the answer. Only informational, where another store keeps the
    /// offsets that count.
    pub fn commit_in_background(&self, offsets: impl IntoIterator<Item = (i32, i64)>) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            if let Err(error) =
                list.add_partition_offset(&self.start.topic, partition, Offset::Offset(offset))
            {
                debug!("{error}");
            }
        }
        if let Err(error) = self.client.commit(&list, CommitMode::Async) {
            debug!("{error}");
        }
    }

    /// Returns the proof that the partitions belong to this consumer. For listed partitions no membership exists to be
    /// checked; there the transactional id alone fences other writers.
    ///
    /// # Errors
    /// [`NotAMember`] if the group has removed this consumer.
    pub(crate) fn group(&self) -> Result<ConsumerGroupMetadata, NotAMember> {
        match self.start.partitions {
            None => membership::of_member(&self.client),
            Some(_) => self.group_without_proof().ok_or(NotAMember),
        }
    }

    /// Returns the group without a proof of membership, for offsets that are never committed.
    pub(crate) fn group_without_proof(&self) -> Option<ConsumerGroupMetadata> {
        self.client.group_metadata()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};

    const TOPIC: &str = "input";

    fn read_offsets(consumer: &Consumer, count: usize) -> Vec<i64> {
        let mut offsets = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while offsets.len() < count && Instant::now() < deadline {
            let records = consumer.read(Duration::from_millis(20)).unwrap();
            offsets.extend(records.iter().map(Record::offset));
        }
        offsets
    }

    /// Starts a consumer of listed partitions or, without them, a member of a group.
    fn consumer(cluster: &SimulatedCluster, partitions: Option<Vec<i32>>) -> Consumer {
        let start = Start {
            topic: TOPIC.to_owned(),
            group_id: "group".to_owned(),
            partitions,
            instance: None,
        };
        Consumer::start(&cluster.settings, "test", start, None).unwrap()
    }

    /// Lets members read until a condition holds. Returns how long that took.
    fn read_until(members: &[&Consumer], condition: impl Fn() -> bool) -> Duration {
        let started = Instant::now();
        while !condition() {
            for member in members {
                member.read(Duration::from_millis(5)).unwrap();
            }
            assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        }
        started.elapsed()
    }

    #[test]
    fn a_member_without_partitions_leaves_its_group_when_it_is_dropped() {
        let mut cluster = SimulatedCluster::new(1, &[TOPIC]);
        let session = ("session.timeout.ms".to_owned(), "4000".to_owned());
        cluster.settings.librdkafka.extend([session]);
        let first = consumer(&cluster, None);
        read_until(&[&first], || !first.assignment().is_empty());
        let second = consumer(&cluster, None);
        // A member takes part in a rebalance also if it gets no partition.
        read_until(&[&first, &second], || second.client_health.rebalances() > 0);
        assert!(second.assignment().is_empty());
        drop((first, second));
        let third = consumer(&cluster, None);
        let waited = read_until(&[&third], || !third.assignment().is_empty());
        // The simulated group waits for new members for 3 s. If it does not know that one has left, it also waits for the end of
        // that one's session.
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }

    #[test]
    fn a_member_has_a_problem_until_its_group_assigns_partitions() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        // The simulated group waits for new members for 3 s.
        let member = consumer(&cluster, None);
        read_until(&[&member], || member.client_health.problem().is_none());
        assert_eq!(member.problem().as_deref(), Some(WAITS_FOR_GROUP));
        read_until(&[&member], || member.problem().is_none());
        assert_eq!(member.assignment(), [0]);

        let alone = consumer(&cluster, Some(vec![0]));
        read_until(&[&alone], || alone.client_health.problem().is_none());
        assert_eq!(alone.problem(), None);
    }

    #[test]
    fn all_events_that_wait_are_served_at_once() {
        let mut cluster = SimulatedCluster::new(1, &[TOPIC]);
        let often = ("statistics.interval.ms".to_owned(), "5".to_owned());
        cluster.settings.librdkafka.extend([often]);
        let consumer = consumer(&cluster, Some(vec![0]));
        let deadline = Instant::now() + PATIENCE;
        while consumer.client.waiting_events() < 40 {
            assert!(Instant::now() < deadline, "no statistics");
            std::thread::yield_now();
        }
        consumer.read(Duration::ZERO).unwrap();
        let waiting = consumer.client.waiting_events();
        assert!(waiting < 20, "{waiting} of 40");
    }

    #[test]
    fn a_restarted_consumer_reads_from_the_given_position() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let consumer = consumer(&cluster, Some(vec![0]));
        assert_eq!(read_offsets(&consumer, 3), [0, 1, 2]);
        for first in [1, 0, 2] {
            consumer.restart_at(&[(0, first)].into()).unwrap();
            let expected: Vec<i64> = (first..3).collect();
            assert_eq!(read_offsets(&consumer, expected.len()), expected);
        }
    }
}
