//! Ending an open transaction.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::write_txn_markers_request::{
    WritableTxnMarker, WritableTxnMarkerTopic,
};
use kafka_protocol::messages::{
    InitProducerIdRequest, ProducerId, TransactionalId, WriteTxnMarkersRequest,
};
use kafka_protocol::protocol::StrBytes;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::coordinator::{State, TransactionDescription};
use crate::error::{Code, TransactionsError};
use crate::open::find;
use crate::partitions::{Partition, ends, partitions, topic_name};
use crate::producers::{Producer, producers};

/// How long the end of a transaction may take to reach the partition.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The time between two looks at the partition.
const PAUSE: Duration = Duration::from_millis(100);

/// The transaction timeout in the request that fences a producer, in milliseconds. The transactional id's next producer sets
/// its own.
const FENCING_TIMEOUT_MS: i32 = 60_000;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionResult {
    /// Readers of committed records get its records.
    Committed,
    /// Readers of committed records never get its records.
    Aborted,
}

/// Identifies an open transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionKey {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The producer's id.
    pub producer_id: i64,
    /// The offset of its first record.
    pub start_offset: i64,
}

/// An open transaction that was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndedTransaction {
    /// How it was ended.
    pub result: TransactionResult,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The producer's id.
    pub producer_id: i64,
    /// The state before the end.
    #[serde(flatten)]
    pub state: State,
    /// The partition's last stable offset before the end.
    pub last_stable_offset_before: i64,
    /// The partition's last stable offset after the end.
    pub last_stable_offset: i64,
    /// The partition's high watermark.
    pub high_watermark: i64,
}

/// Ends an open transaction: a hanging one by a marker in the partition, and one that is ongoing by its coordinator, which aborts
/// it in all partitions and fences its producer.
///
/// # Errors
/// If the transaction is not open or ends by itself, it is ongoing and is to be committed, a right is missing, or a broker cannot
/// be reached.
pub fn end(
    cluster: &mut Cluster,
    key: &TransactionKey,
    result: TransactionResult,
) -> Result<EndedTransaction, TransactionsError> {
    let partition = partitions(cluster, std::slice::from_ref(&key.topic))?
        .into_iter()
        .find(|partition| partition.number == key.partition)
        .ok_or_else(|| TransactionsError::NotOpen(no_partition(key)))?;
    let partitions = [partition];
    let found = find(cluster, &partitions)?.into_iter().find(|open| {
        (open.producer.id, open.producer.start_offset) == (key.producer_id, key.start_offset)
    });
    let found = found.ok_or_else(|| TransactionsError::NotOpen(not_open(key)))?;
    let refused = |problem: &str| {
        let text = format!("{problem}; nothing was changed");
        Err(TransactionsError::NotOpen(text))
    };
    match (&found.state, &found.description, result) {
        (State::Ending { .. }, ..) => {
            return refused("the coordinator is ending this transaction already");
        }
        (State::Ongoing { .. }, _, TransactionResult::Committed) => {
            return refused("this transaction is ongoing, so only its producer can commit it");
        }
        (State::Ongoing { .. }, Some(description), TransactionResult::Aborted) => {
            fence(cluster, &found.producer, description)?;
        }
        _ => write_marker(cluster, &found.producer, result)?,
    }
    await_end(cluster, &found.producer, &partitions)?;
    let place = (key.topic.clone(), key.partition);
    let ends = ends(cluster, &partitions)?.get(&place).copied();
    let ends = ends.unwrap_or_default();
    Ok(EndedTransaction {
        result,
        topic: key.topic.clone(),
        partition: key.partition,
        producer_id: key.producer_id,
        state: found.state,
        last_stable_offset_before: found.ends.last_stable_offset,
        last_stable_offset: ends.last_stable_offset,
        high_watermark: ends.high_watermark,
    })
}

fn no_partition(key: &TransactionKey) -> String {
    let TransactionKey {
        topic, partition, ..
    } = key;
    format!("topic `{topic}` has no partition {partition}")
}

fn not_open(key: &TransactionKey) -> String {
    let TransactionKey {
        topic,
        partition,
        producer_id,
        start_offset,
    } = key;
    format!(
        "producer {producer_id} has no open transaction from offset {start_offset} in partition {partition} of topic `{topic}`: \
         it has ended, or it was named wrongly; nothing was changed"
    )
}

/// Writes the marker of a transaction's end to the partition.
fn write_marker(
    cluster: &mut Cluster,
    producer: &Producer,
    result: TransactionResult,
) -> Result<(), TransactionsError> {
    let Partition {
        topic,
        number,
        leader,
    } = &producer.partition;
    let topic = WritableTxnMarkerTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![*number]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_transaction_result(result == TransactionResult::Committed)
        // The partition has no epoch of a coordinator if the producer has never ended a transaction there.
        .with_coordinator_epoch(producer.coordinator_epoch.max(0))
        .with_topics(vec![topic]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let answer = cluster.broker(*leader)?.send(&request)?;
    let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
    for partition in topics.flat_map(|topic| &topic.partitions) {
        let code = Code(partition.error_code);
        if code.error() == Some(ResponseError::ClusterAuthorizationFailed) {
            return Err(cluster.lacks("Alter on the cluster".to_owned()));
        }
        code.check("writing the transaction marker")?;
    }
    Ok(())
}

/// Lets the coordinator fence the producer, which aborts its transaction.
fn fence(
    cluster: &mut Cluster,
    producer: &Producer,
    description: &TransactionDescription,
) -> Result<(), TransactionsError> {
    let id = &description.transactional_id;
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(StrBytes::from_string(id.clone()))))
        .with_transaction_timeout_ms(FENCING_TIMEOUT_MS)
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch);
    let answer = cluster.broker(description.coordinator)?.send(&request)?;
    let code = Code(answer.error_code);
    match code.error() {
        // The coordinator has started to abort the transaction.
        None | Some(ResponseError::ConcurrentTransactions) => Ok(()),
        Some(ResponseError::TransactionalIdAuthorizationFailed) => {
            Err(cluster.lacks(format!("Write on transactional id `{id}`")))
        }
        Some(_) => code.check(&format!("aborting the transaction of `{id}`")),
    }
}

/// Waits until the transaction is not open any more.
fn await_end(
    cluster: &mut Cluster,
    producer: &Producer,
    partitions: &[Partition],
) -> Result<(), TransactionsError> {
    let started = Instant::now();
    loop {
        let is_open = producers(cluster, partitions)?
            .iter()
            .any(|open| (open.id, open.start_offset) == (producer.id, producer.start_offset));
        if !is_open {
            return Ok(());
        }
        if started.elapsed() > TIMEOUT {
            return Err(TransactionsError::Refused {
                request: "ending the transaction".to_owned(),
                problem: format!("it is still open after {} s", TIMEOUT.as_secs()),
            });
        }
        std::thread::sleep(PAUSE);
    }
}
