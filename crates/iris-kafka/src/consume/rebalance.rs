//! Partitions that are assigned to a consumer, and revoked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, Weak};

use rdkafka::consumer::{
    BaseConsumer, Consumer as _, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{debug, info};

use crate::client::health::Events;
use crate::offsets::{PartitionOffset, TopicPartition};
use crate::sys::inbox::Inbox;
use crate::sys::membership::{self, NotAMember};
use crate::sys::values::terminated;

/// Partitions that are being revoked from a consumer.
pub struct Revocation<'a> {
    /// The partitions.
    pub partitions: &'a [i32],
    /// Whether they already belong to another member, so that it is too late to commit.
    pub lost: bool,
    /// Proof of membership in the group. Brokers refuse the offsets of a member that was replaced.
    pub(crate) group: Result<ConsumerGroupMetadata, NotAMember>,
}

/// Receives the partitions that are assigned and revoked, on the thread that polls; the consumer waits meanwhile.
pub trait RebalanceListener: Send + Sync {
    /// Called before assigned partitions are read. Returns the offsets to start at, for those partitions whose start is
    /// known better than by the group's committed offsets.
    fn assigned(&self, partitions: &[i32]) -> Vec<PartitionOffset> {
        let _ = partitions;
        Vec::new()
    }

    /// Called before partitions are revoked: the last chance to commit the records that were read from them.
    fn revoked(&self, revocation: Revocation<'_>) {
        let _ = revocation;
    }
}

/// The part of a consumer that librdkafka's rebalance callback uses.
pub(crate) struct Rebalances {
    listener: Option<Box<dyn RebalanceListener>>,
    /// The queue for records. Owned by the consumer, because it keeps the client alive, which owns this.
    inbox: OnceLock<Weak<Inbox>>,
    /// Whether any partition is assigned.
    has_partitions: AtomicBool,
    /// Whether the group has ever assigned partitions, even none.
    has_assignment: AtomicBool,
}

impl Rebalances {
    pub(crate) fn new(listener: Option<Box<dyn RebalanceListener>>) -> Self {
        Self {
            listener,
            inbox: OnceLock::new(),
            has_partitions: AtomicBool::new(false),
            has_assignment: AtomicBool::new(false),
        }
    }

    /// Sets the queue for records, once.
    pub(crate) fn deliver_to(&self, inbox: Weak<Inbox>) {
        let _ = self.inbox.set(inbox);
    }

    /// Whether any partition is assigned.
    pub(crate) fn has_partitions(&self) -> bool {
        self.has_partitions.load(Ordering::Relaxed)
    }

    /// Whether the group has ever assigned partitions, even none.
    pub(crate) fn has_assignment(&self) -> bool {
        self.has_assignment.load(Ordering::Relaxed)
    }

    /// Records whether any partition is assigned.
    pub(crate) fn note_partitions(&self, has_partitions: bool) {
        self.has_partitions.store(has_partitions, Ordering::Relaxed);
    }

    /// Routes the records of partitions that are about to be read to the inbox.
    pub(crate) fn collect(&self, list: &TopicPartitionList) {
        let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) else {
            return;
        };
        for element in list.elements() {
            let topic = terminated(element.topic());
            inbox.collect_from(&topic, element.partition());
        }
    }

    /// Sets the start offsets that the listener knows.
    pub(crate) fn set_starts(&self, partitions: &mut TopicPartitionList) {
        let Some(listener) = &self.listener else {
            return;
        };
        let starts = listener.assigned(&numbers(partitions));
        let assigned: Vec<TopicPartition> = partitions
            .elements()
            .iter()
            .map(|element| TopicPartition::new(element.topic(), element.partition()))
            .collect();
        for TopicPartition { topic, partition } in assigned {
            if let Some(start) = starts.iter().find(|start| start.partition == partition) {
                let set = partitions.set_partition_offset(
                    &topic,
                    partition,
                    Offset::Offset(start.offset),
                );
                debug!(
                    partition,
                    offset = start.offset,
                    ?set,
                    "starting at a known offset"
                );
            }
        }
    }
}

/// Returns the partition numbers of a list.
fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}

impl ConsumerContext for Events<Rebalances> {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        self.client_health.note_rebalance();
        let is_cooperative = matches!(
            consumer.rebalance_protocol(),
            RebalanceProtocol::Cooperative
        );
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            debug!(partitions = ?numbers(partitions), "assigned");
            self.listener.has_assignment.store(true, Ordering::Relaxed);
            self.listener.set_starts(partitions);
            self.listener.collect(partitions);
            if is_cooperative {
                consumer.incremental_assign(partitions)
            } else {
                consumer.assign(partitions)
            }
        } else {
            let numbers = numbers(partitions);
            debug!(partitions = ?numbers, "revoked");
            if let Some(listener) = &self.listener.listener {
                listener.revoked(Revocation {
                    partitions: &numbers,
                    lost: consumer.assignment_lost(),
                    group: membership::of_member(consumer),
                });
            }
            if is_cooperative {
                consumer.incremental_unassign(partitions)
            } else {
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            info!("the assignment changed again during the rebalance: {error}");
        }
        let has_partitions = consumer.assignment().is_ok_and(|list| list.count() > 0);
        self.listener.note_partitions(has_partitions);
    }
}
