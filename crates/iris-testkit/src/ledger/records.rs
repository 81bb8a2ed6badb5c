//! The records that an audit reads.

use iris_kafka::StoredRecord;

/// The committed records of the pipeline's topics, in the order of each partition.
#[derive(Clone, Debug, Default)]
pub struct CommittedRecords {
    /// Input.
    pub input: Vec<StoredRecord>,
    /// Predictions.
    pub predictions: Vec<StoredRecord>,
    /// Feedback.
    pub feedback: Vec<StoredRecord>,
    /// Dead letters.
    pub dead_letters: Vec<StoredRecord>,
    /// Transaction summaries.
    pub summaries: Vec<StoredRecord>,
}

/// Returns a record for tests.
#[cfg(test)]
pub(super) fn record(partition: i32, offset: i64, value: &str) -> StoredRecord {
    StoredRecord {
        partition,
        offset,
        timestamp: None,
        key: None,
        value: Some(value.into()),
        headers: Vec::new(),
    }
}
