//! Open transactions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cluster::Cluster;
use crate::coordinator::{State, TransactionDescription, descriptions, state};
use crate::error::TransactionsError;
use crate::partitions::{Ends, Partition, ends, partitions};
use crate::producers::{Producer, producers, start_time};

/// An open transaction in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenTransaction {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The partition's last stable offset.
    pub last_stable_offset: i64,
    /// The partition's high watermark.
    pub high_watermark: i64,
    /// The producer's id, which the brokers have assigned.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The offset of its first record. The last stable offset is that of the first open transaction.
    pub start_offset: i64,
    /// The timestamp of its first record, as Unix time in milliseconds; `None` if the record cannot be read.
    pub since_ms: Option<i64>,
    /// The timestamp of the last record that its producer has written to the partition.
    pub last_written_ms: i64,
    /// Its state.
    #[serde(flatten)]
    pub state: State,
}

/// An open transaction with its producer, its coordinator's description and the ends of its partition.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) producer: Producer,
    pub(crate) ends: Ends,
    pub(crate) description: Option<TransactionDescription>,
    pub(crate) state: State,
}

/// Returns the open transactions in topics, by topic, partition and start offset.
///
/// # Errors
/// If a topic does not exist, a right is missing, or a broker cannot be reached.
pub fn open_transactions(
    cluster: &mut Cluster,
    topics: &[String],
) -> Result<Vec<OpenTransaction>, TransactionsError> {
    let partitions = partitions(cluster, topics)?;
    let mut found = Vec::new();
    for open in find(cluster, &partitions)? {
        let since_ms = start_time(cluster, &open.producer);
        let Found {
            producer,
            ends,
            state,
            ..
        } = open;
        found.push(OpenTransaction {
            topic: producer.partition.topic,
            partition: producer.partition.number,
            last_stable_offset: ends.last_stable_offset,
            high_watermark: ends.high_watermark,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            start_offset: producer.start_offset,
            since_ms,
            last_written_ms: producer.last_timestamp,
            state,
        });
    }
    Ok(found)
}

/// Finds the open transactions in partitions.
pub(crate) fn find(
    cluster: &mut Cluster,
    partitions: &[Partition],
) -> Result<Vec<Found>, TransactionsError> {
    let open = producers(cluster, partitions)?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let ids: BTreeSet<i64> = open.iter().map(|producer| producer.id).collect();
    let descriptions = descriptions(cluster, &ids)?;
    let concerned: Vec<Partition> = partitions
        .iter()
        .filter(|partition| {
            open.iter()
                .any(|producer| producer.partition == **partition)
        })
        .cloned()
        .collect();
    let ends = ends(cluster, &concerned)?;
    let found = open.into_iter().map(|producer| {
        let description = descriptions.get(&producer.id);
        let key = (producer.partition.topic.clone(), producer.partition.number);
        Found {
            ends: ends.get(&key).copied().unwrap_or_default(),
            description: description.cloned(),
            state: state(description, &producer.partition),
            producer,
        }
    });
    still_open(cluster, found.collect(), &concerned)
}

/// Leaves out transactions that seem to hang because they ended after the producers were listed: the coordinator forgets a
/// partition only once the end is written to it.
fn still_open(
    cluster: &mut Cluster,
    mut found: Vec<Found>,
    partitions: &[Partition],
) -> Result<Vec<Found>, TransactionsError> {
    if found.iter().any(|open| open.state.is_hanging()) {
        let open: BTreeMap<_, _> = producers(cluster, partitions)?
            .into_iter()
            .map(|producer| ((producer.partition, producer.id), producer.start_offset))
            .collect();
        found.retain(|seen| {
            let key = (seen.producer.partition.clone(), seen.producer.id);
            !seen.state.is_hanging() || open.get(&key) == Some(&seen.producer.start_offset)
        });
    }
    Ok(found)
}
