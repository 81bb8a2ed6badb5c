//! Transactions as their coordinators see them.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::{
    DescribeTransactionsRequest, ListTransactionsRequest, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::error::{Code, TransactionsError};
use crate::partitions::{Partition, partitions};

/// The topic in which coordinators keep transactions.
const LOG: &str = "__transaction_state";

/// A transactional id that nobody uses, and that only a right on all ids covers.
const UNUSED_ID: &str = "~unused";

/// The state of an open transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum State {
    /// Its producer has not ended it. The coordinator will abort it after the timeout.
    Ongoing {
        /// The producer's transactional id.
        transactional_id: String,
        /// When it was started, as Unix time in milliseconds.
        started_ms: i64,
        /// How long it may take, in milliseconds.
        timeout_ms: i32,
    },
    /// The coordinator is writing the end of it to the partitions.
    Ending {
        /// The producer's transactional id.
        transactional_id: String,
        /// The coordinator's name of the state.
        coordinator_state: String,
    },
    /// The coordinator does not know it, so it never ends.
    Hanging {
        /// The producer's transactional id, if a coordinator knows it.
        transactional_id: Option<String>,
        /// The coordinator's name of the state of another transaction of this producer.
        coordinator_state: Option<String>,
    },
}

impl State {
    /// Whether nobody will end the transaction.
    #[must_use]
    pub fn is_hanging(&self) -> bool {
        matches!(self, Self::Hanging { .. })
    }
}

/// A producer's transaction as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransactionDescription {
    pub(crate) transactional_id: String,
    pub(crate) coordinator: i32,
    state: String,
    started_ms: i64,
    timeout_ms: i32,
    partitions: BTreeSet<(String, i32)>,
}

impl TransactionDescription {
    fn new(coordinator: i32, state: TransactionState) -> Self {
        let partitions = state.topics.iter().flat_map(|topic| {
            let name = topic.topic.to_string();
            topic
                .partitions
                .iter()
                .map(move |&number| (name.clone(), number))
        });
        Self {
            partitions: partitions.collect(),
            transactional_id: state.transactional_id.to_string(),
            coordinator,
            state: state.transaction_state.to_string(),
            started_ms: state.transaction_start_time_ms,
            timeout_ms: state.transaction_timeout_ms,
        }
    }
}

/// Returns the state of an open transaction in a partition.
pub(crate) fn state(description: Option<&TransactionDescription>, partition: &Partition) -> State {
    let Some(description) = description else {
        return State::Hanging {
            transactional_id: None,
            coordinator_state: None,
        };
    };
    let transactional_id = description.transactional_id.clone();
    let key = (partition.topic.clone(), partition.number);
    if !description.partitions.contains(&key) {
        return State::Hanging {
            transactional_id: Some(transactional_id),
            coordinator_state: Some(description.state.clone()),
        };
    }
    match description.state.as_str() {
        "Ongoing" => State::Ongoing {
            transactional_id,
            started_ms: description.started_ms,
            timeout_ms: description.timeout_ms,
        },
        other => State::Ending {
            transactional_id,
            coordinator_state: other.to_owned(),
        },
    }
}

/// Returns the transactions of these producers as their coordinators describe them. A producer that is missing is unknown to
/// all coordinators.
///
/// # Errors
/// If a right is missing without which a coordinator conceals transactions, or a coordinator is not available.
pub(crate) fn descriptions(
    cluster: &mut Cluster,
    producers: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, TransactionDescription>, TransactionsError> {
    check_visibility(cluster)?;
    let request = ListTransactionsRequest::default()
        .with_producer_id_filters(producers.iter().copied().map(ProducerId).collect());
    let mut found = BTreeMap::new();
    for broker in cluster.brokers() {
        let answer = cluster.broker(broker)?.send(&request)?;
        Code(answer.error_code).check(&format!("the transactions of broker {broker}"))?;
        for listed in answer.transaction_states {
            let id = listed.transactional_id.to_string();
            if let Some((producer, description)) = describe(cluster, broker, &id)?
                && producer == listed.producer_id.0
            {
                found.insert(producer, description);
            }
        }
    }
    Ok(found)
}

/// Checks that no coordinator conceals a transaction: a missing right, or a part of the log without a leader, would make an
/// ongoing transaction look like a hanging one.
fn check_visibility(cluster: &mut Cluster) -> Result<(), TransactionsError> {
    match partitions(cluster, &[LOG.to_owned()]) {
        // Without the log, no coordinator knows any transaction.
        Ok(_) | Err(TransactionsError::NoTopic(_)) => {}
        Err(error) => return Err(error),
    }
    let broker = cluster.brokers().first().copied().unwrap_or_default();
    describe(cluster, broker, UNUSED_ID).map(|_| ())
}

/// Returns a transactional id's producer with the state of its transaction; `None` if this broker does not coordinate it.
fn describe(
    cluster: &mut Cluster,
    broker: i32,
    transactional_id: &str,
) -> Result<Option<(i64, TransactionDescription)>, TransactionsError> {
    let id = TransactionalId(StrBytes::from_string(transactional_id.to_owned()));
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id]);
    let answer = cluster.broker(broker)?.send(&request)?;
    let Some(state) = answer.transaction_states.into_iter().next() else {
        return Ok(None);
    };
    let code = Code(state.error_code);
    match code.error() {
        Some(ResponseError::TransactionalIdAuthorizationFailed) => {
            Err(cluster.lacks("Describe on transactional id `*`".to_owned()))
        }
        Some(ResponseError::TransactionalIdNotFound) => Ok(None),
        Some(ResponseError::NotCoordinator) if transactional_id == UNUSED_ID => Ok(None),
        _ => {
            code.check(&format!("the transaction of `{transactional_id}`"))?;
            Ok(Some((
                state.producer_id.0,
                TransactionDescription::new(broker, state),
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> Partition {
        Partition {
            topic: "t".to_owned(),
            number,
            leader: 1,
        }
    }

    #[test]
    fn a_transaction_hangs_if_its_coordinator_does_not_know_the_partition() {
        let described = |state: &str| TransactionDescription {
            transactional_id: "id".to_owned(),
            coordinator: 1,
            state: state.to_owned(),
            started_ms: 5,
            timeout_ms: 60_000,
            partitions: [("t".to_owned(), 0)].into(),
        };
        assert_eq!(
            state(Some(&described("Ongoing")), &partition(0)),
            State::Ongoing {
                transactional_id: "id".to_owned(),
                started_ms: 5,
                timeout_ms: 60_000
            }
        );
        let ending = state(Some(&described("PrepareAbort")), &partition(0));
        assert!(matches!(ending, State::Ending { .. }));
        for (description, number) in [(Some(&described("Ongoing")), 1), (None, 0)] {
            assert!(state(description, &partition(number)).is_hanging());
        }
    }
}
