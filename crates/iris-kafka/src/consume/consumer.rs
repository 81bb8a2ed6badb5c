//! Reading records, and what happens when partitions come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use iris_core::ImpossibleSetting;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata,
    RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info};

use crate::client::health::{ClientHealth, Events, STATISTICS_INTERVAL_MS};
use crate::client::settings::KafkaSettings;
use crate::consume::stalled::{ReadPosition, StalledPartition, StallDetector};
use crate::exactly_once::transaction::Offsets;
use crate::record::Record;
use crate::sys::inbox::{self, Inbox};
use crate::sys::membership;

/// How long a wait for records may keep a consumer from what else there is to see to.
const EVENTS_INTERVAL: Duration = Duration::from_millis(20);

/// How long the client's own threads may take to go elsewhere; no broker is asked.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long asking for a partition's end may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// What a consumer reads, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The topic.
    pub topic: String,
    /// The consumer group whose offsets count.
    pub group_id: String,
    /// The partitions to read, or `None` to share the topic with the group's other members.
    pub partitions: Option<Vec<i32>>,
}

/// Partitions that are leaving a consumer.
pub struct Revocation<'a> {
    /// The partitions.
    pub partitions: &'a [i32],
    /// Whether they have already been given to somebody else: it is too late to commit.
    pub lost: bool,
    /// Proof of membership in the group, by which brokers refuse the offsets of a member that was replaced.
    pub(crate) group: Result<ConsumerGroupMetadata, NotAMember>,
}

/// Told of partitions that come and go, on the thread that polls, while the consumer waits.
pub trait RebalanceListener: Send + Sync {
    /// Partitions are about to be read. Returns where to start in those of them whose place is known better than by
    /// the group's committed offsets.
    fn assigned(&self, partitions: &[i32]) -> Vec<(i32, i64)> {
        let _ = partitions;
        Vec::new()
    }

    /// Partitions are about to leave: the last moment to commit what was read from them.
    fn revoked(&self, revocation: Revocation<'_>) {
        let _ = revocation;
    }
}

/// Why reading cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The settings are not usable.
    #[error("kafka.{0}")]
    Settings(#[from] ImpossibleSetting),
    /// The client cannot be made or told what to read.
    #[error("cannot read topic `{topic}`")]
    Start {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The topic, or a partition of it, does not exist.
    #[error("reading topic `{0}`: it does not exist; create it with `iris-admin topics create`")]
    NoSuchTopic(String),
    /// The user may not read.
    #[error(
        "reading topic `{topic}` as group `{group_id}`: not authorised ({source}); `iris-admin topics describe` shows what the user may see"
    )]
    NotAuthorised {
        /// The topic.
        topic: String,
        /// The consumer group.
        group_id: String,
        /// What the broker said.
        #[source]
        source: RDKafkaErrorCode,
    },
    /// The client cannot be used any more.
    #[error("reading topic `{topic}`: the client failed")]
    Fatal {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: KafkaError,
    },
}

/// The group has dropped this consumer, which is about to be told; what it read may be another's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the group has dropped this consumer; its partitions may be another's by now")]
pub(crate) struct NotAMember;

/// What has to be seen to when partitions come and go.
pub(crate) struct Rebalances {
    listener: Option<Box<dyn RebalanceListener>>,
    /// Where records go. It belongs to the consumer, because it has to be gone before the client is.
    inbox: OnceLock<Weak<Inbox>>,
    /// Whether there is anything to read.
    has_partitions: AtomicBool,
}

impl ConsumerContext for Events<Rebalances> {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let numbers: Vec<i32> = partitions
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect();
        self.client_health.note_rebalance();
        let cooperative = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            debug!(partitions = ?numbers, "assigned");
            self.place(partitions, &numbers);
            self.listener.collect(consumer, partitions);
            if cooperative {
                consumer.incremental_assign(partitions)
            } else {
                consumer.assign(partitions)
            }
        } else {
            debug!(partitions = ?numbers, "revoked");
            if let Some(listener) = &self.listener.listener {
                let (lost, group) = (consumer.assignment_lost(), membership::of_member(consumer));
                listener.revoked(Revocation {
                    partitions: &numbers,
                    lost,
                    group,
                });
            }
            if cooperative {
                consumer.incremental_unassign(partitions)
            } else {
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            info!("the assignment changed again meanwhile: {error}");
        }
        let has_partitions = consumer.assignment().is_ok_and(|list| list.count() > 0);
        self.listener
            .has_partitions
            .store(has_partitions, Ordering::Relaxed);
    }
}

impl Rebalances {
    /// Has the records of partitions that are about to be read go to the inbox.
    fn collect<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, list: &TopicPartitionList) {
        let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) else {
            return;
        };
        for element in list.elements() {
            let topic = inbox::terminated(element.topic());
            inbox.collect_from(consumer.client(), &topic, element.partition());
        }
    }
}

impl Events<Rebalances> {
    /// Sets the offsets that the listener knows better.
    fn place(&self, partitions: &mut TopicPartitionList, numbers: &[i32]) {
        let known = self
            .listener
            .listener
            .as_ref()
            .map(|listener| listener.assigned(numbers))
            .unwrap_or_default();
        let topics: Vec<(String, i32)> = partitions
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        for (topic, partition) in topics {
            if let Some((_, offset)) = known.iter().find(|(known, _)| *known == partition) {
                let placed =
                    partitions.set_partition_offset(&topic, partition, Offset::Offset(*offset));
                debug!(partition, offset, ?placed, "starting at a known offset");
            }
        }
    }
}

/// Reads a topic, read-committed and without committing anything by itself.
pub struct Consumer {
    /// Before the client, so that it is dropped before it.
    inbox: Arc<Inbox>,
    client: BaseConsumer<Events<Rebalances>>,
    client_health: Arc<ClientHealth>,
    start: Start,
    stall_detector: Mutex<StallDetector>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Starts reading.
    ///
    /// # Errors
    /// [`ConsumeError`] if the settings are not usable. That no broker is there is not an error but a
    /// [problem](ClientHealth::problem) that may pass.
    pub fn start(
        settings: &KafkaSettings,
        service: &str,
        start: Start,
        listener: Option<Box<dyn RebalanceListener>>,
    ) -> Result<Self, ConsumeError> {
        let client_health = ClientHealth::new(&settings.bootstrap_servers);
        let context = Events {
            client_health: Arc::clone(&client_health),
            listener: Rebalances {
                listener,
                inbox: OnceLock::new(),
                has_partitions: AtomicBool::new(false),
            },
        };
        let config = config(settings, service, &start.group_id)?;
        let failed = |source| ConsumeError::Start {
            topic: start.topic.clone(),
            source,
        };
        let client: BaseConsumer<Events<Rebalances>> =
            config.create_with_context(context).map_err(failed)?;
        let rebalances = &client.context().listener;
        let inbox = Inbox::new(client.client())
            .ok_or_else(|| failed(KafkaError::ClientCreation("no queue".to_owned())))?;
        let inbox = Arc::new(inbox);
        let _ = rebalances.inbox.set(Arc::downgrade(&inbox));
        match &start.partitions {
            None => client.subscribe(&[&start.topic]).map_err(failed)?,
            Some(partitions) => {
                let mut assignment = TopicPartitionList::new();
                for &partition in partitions {
                    assignment
                        .add_partition_offset(&start.topic, partition, Offset::Stored)
                        .map_err(failed)?;
                }
                client.context().place(&mut assignment, partitions);
                rebalances.collect(&client, &assignment);
                client.assign(&assignment).map_err(failed)?;
                rebalances.has_partitions.store(true, Ordering::Relaxed);
            }
        }
        Ok(Self {
            inbox,
            client,
            client_health,
            start,
            stall_detector: Mutex::default(),
        })
    }

    /// Takes the records that are there, some hundred at most; if none is, waits for at most `timeout`. Partitions come and
    /// go in here and nowhere else: what was taken is still this consumer's until the next call.
    ///
    /// # Errors
    /// [`ConsumeError`] if reading cannot go on. Troubles that pass by themselves are not errors.
    pub fn read(&self, timeout: Duration) -> Result<Vec<Record<'_>>, ConsumeError> {
        self.serve(Duration::ZERO)?;
        let has_partitions = &self.client.context().listener.has_partitions;
        if !has_partitions.load(Ordering::Relaxed) && !timeout.is_zero() {
            // There is nothing to wait for but partitions.
            self.serve(timeout)?;
        }
        let mut records = Vec::new();
        let taken = self.inbox.take(timeout.min(EVENTS_INTERVAL));
        self.client_health.note_drained(taken.is_empty());
        for message in taken {
            match message.error() {
                None => records.push(Record::new(message)),
                Some(code) => match self.judge(KafkaError::MessageConsumption(code)) {
                    None => {}
                    Some(error) => return Err(error),
                },
            }
        }
        Ok(records)
    }

    /// Sees to what the client has to tell besides records.
    ///
    /// # Errors
    /// [`ConsumeError`] if reading cannot go on.
    pub(crate) fn serve(&self, timeout: Duration) -> Result<(), ConsumeError> {
        match self.client.poll(timeout) {
            None => Ok(()),
            Some(Err(error)) => self.judge(error).map_or(Ok(()), Err),
            // It would be out of order if it were taken now; whoever starts anew reads it again.
            Some(Ok(_)) => Err(ConsumeError::Fatal {
                topic: self.start.topic.clone(),
                source: KafkaError::MessageConsumption(RDKafkaErrorCode::Inconsistent),
            }),
        }
    }

    /// Whether an error ends reading; `None` if it passes by itself.
    fn judge(&self, error: KafkaError) -> Option<ConsumeError> {
        use RDKafkaErrorCode as Code;
        let topic = self.start.topic.clone();
        match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Some(ConsumeError::NoSuchTopic(topic))
            }
            Some(
                source @ (Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed),
            ) => Some(ConsumeError::NotAuthorised {
                topic,
                group_id: self.start.group_id.clone(),
                source,
            }),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Some(ConsumeError::Fatal {
                    topic,
                    source: error,
                })
            }
            _ => {
                debug!("{error}");
                None
            }
        }
    }

    /// Whether the cluster is reachable.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client_health
    }

    /// A partition that stands still although there is more to read in it. To be asked while there is no input: then it
    /// looks from time to time, which takes a request for each partition.
    pub fn stalled_partition(&self) -> Option<StalledPartition> {
        let mut detector = self.stall_detector();
        let now = Instant::now();
        if detector.is_due(now) {
            let positions: Option<Vec<ReadPosition>> = self
                .assignment()
                .into_iter()
                .map(|partition| self.read_position(partition))
                .collect();
            match positions {
                Some(positions) => detector.check(now, &positions),
                // Brokers that do not answer are told of elsewhere.
                None => detector.reset(now),
            }
        }
        detector.stalled()
    }

    fn read_position(&self, partition: i32) -> Option<ReadPosition> {
        let topic = &self.start.topic;
        let (_, end) = self
            .client
            .fetch_watermarks(topic, partition, LOOK_TIMEOUT)
            .ok()?;
        let next = self.client_health.next_offset(partition)?;
        Some(ReadPosition {
            partition,
            next,
            end,
        })
    }

    fn stall_detector(&self) -> MutexGuard<'_, StallDetector> {
        self.stall_detector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read, and as whom.
    #[must_use]
    pub fn reads(&self) -> &Start {
        &self.start
    }

    /// The partitions that are being read.
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

    /// Goes back to the group's committed offsets in all partitions, dropping what was fetched beyond them. Returns these
    /// offsets; partitions that have none are read from their beginning.
    ///
    /// # Errors
    /// The client's error if the offsets cannot be had within `timeout`; nothing has changed then.
    pub(crate) fn rewind_to_committed(&self, timeout: Duration) -> Result<Offsets, KafkaError> {
        let partitions = self.assignment();
        if partitions.is_empty() {
            return Ok(Offsets::new());
        }
        let committed = self.committed(&partitions, timeout)?;
        self.go_to(&partitions, &committed)?;
        Ok(committed)
    }

    /// The offsets that the group has committed in some partitions; without those where it has committed none.
    ///
    /// # Errors
    /// If the cluster does not answer in time.
    pub(crate) fn committed(
        &self,
        partitions: &[i32],
        timeout: Duration,
    ) -> Result<Offsets, KafkaError> {
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            list.add_partition(&self.start.topic, partition);
        }
        let committed = self.client.committed_offsets(list, timeout)?;
        let mut offsets = Offsets::new();
        for element in committed.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }

    /// Goes on at the given offsets, and in partitions that have none at the beginning.
    ///
    /// # Errors
    /// [`ConsumeError::Fatal`] if the client cannot.
    pub fn restart_at(&self, offsets: &Offsets) -> Result<(), ConsumeError> {
        self.go_to(&self.assignment(), offsets)
            .map_err(|source| ConsumeError::Fatal {
                topic: self.start.topic.clone(),
                source,
            })
    }

    /// Reads partitions at the given offsets, or else from the beginning, dropping what was fetched of them.
    fn go_to(&self, partitions: &[i32], offsets: &Offsets) -> Result<(), KafkaError> {
        self.stall_detector().reset(Instant::now());
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            let offset = offsets.get(&partition).copied();
            let offset = offset.map_or(Offset::Beginning, Offset::Offset);
            list.add_partition_offset(&self.start.topic, partition, offset)?;
        }
        if self.start.partitions.is_some() {
            self.assign_anew(&list)
        } else {
            self.seek(&list)
        }
    }

    /// Goes on elsewhere in partitions that the group has given. To assign them anew is for the rebalance callback alone:
    /// librdkafka takes it for the answer to a revocation that still waits to be served, and lets the group give the
    /// partitions to another member while they are read here.
    fn seek(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        let sought = self.client.seek_partitions(list.clone(), SEEK_TIMEOUT)?;
        for element in sought.elements() {
            match element.error() {
                // Reading it has not begun, and will where it was assigned to begin.
                Err(KafkaError::OffsetFetch(
                    RDKafkaErrorCode::State | RDKafkaErrorCode::PreviousInProgress,
                )) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Begins anew in partitions that nobody else gives or takes. Seeking is refused before their reading has begun,
    /// which here may be at an offset older than the last commit of a predecessor.
    fn assign_anew(&self, list: &TopicPartitionList) -> Result<(), KafkaError> {
        self.client.assign(list)?;
        // Where a partition's reading stops, librdkafka forgets where its records were to go. It does so on its own
        // thread, in the order in which it is asked: an answer to a later question says that it is done.
        self.client.assignment()?;
        self.client.context().listener.collect(&self.client, list);
        Ok(())
    }

    /// Commits offsets to the group without waiting for the answer: for show, where another store decides.
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

    /// Proof that the partitions are this consumer's, as far as there is one: of assigned partitions nobody keeps
    /// account, and there the transactional id alone keeps others out.
    pub(crate) fn group(&self) -> Result<ConsumerGroupMetadata, NotAMember> {
        match self.start.partitions {
            None => membership::of_member(&self.client),
            Some(_) => self.client.group_metadata().ok_or(NotAMember),
        }
    }
}

pub(crate) fn config(
    settings: &KafkaSettings,
    service: &str,
    group_id: &str,
) -> Result<ClientConfig, ImpossibleSetting> {
    let mut config = settings.client_config(service)?;
    config
        .set("group.id", group_id)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("partition.assignment.strategy", "cooperative-sticky")
        // A member that died is replaced after this long.
        .set("session.timeout.ms", "10000")
        // How soon the others of a group hear that one has come or gone.
        .set("heartbeat.interval.ms", "500")
        // How much is fetched ahead of the service, and with it the memory of a backlog.
        .set("queued.max.messages.kbytes", "16384")
        .set("queued.min.messages", "100000")
        // Of each partition at a time. Small answers come in while the ones before are worked on; with the default of
        // 1 MiB, compressed, the queue is now empty and now many times too full.
        .set("fetch.message.max.bytes", "262144")
        // With the default of a second, a consumer that filled its queue sleeps for one.
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
    settings.pass_through(&mut config);
    Ok(config)
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

    #[test]
    fn what_was_read_is_read_again_after_each_restart() {
        let cluster = SimulatedCluster::new(1, &[TOPIC]);
        cluster.append(TOPIC, 3);
        let start = Start {
            topic: TOPIC.to_owned(),
            group_id: "group".to_owned(),
            partitions: Some(vec![0]),
        };
        let consumer = Consumer::start(&cluster.settings, "test", start, None).unwrap();
        assert_eq!(read_offsets(&consumer, 3), [0, 1, 2]);
        for first in [1, 0, 2] {
            consumer.restart_at(&[(0, first)].into()).unwrap();
            let expected: Vec<i64> = (first..3).collect();
            assert_eq!(read_offsets(&consumer, expected.len()), expected);
        }
    }
}
