//! The records that an audit reads.

use iris_contract::Topics;
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

impl CommittedRecords {
    /// Reads the topics of outcomes and summaries with `read`, beside these input records.
    ///
    /// # Errors
    /// The error of `read`.
    pub fn read<E>(
        topics: &Topics,
        input: Vec<StoredRecord>,
        read: impl Fn(&str) -> Result<Vec<StoredRecord>, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            input,
            predictions: read(&topics.predictions)?,
            feedback: read(&topics.feedback)?,
            dead_letters: read(&topics.dead_letters)?,
            summaries: read(&topics.summaries)?,
        })
    }
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
