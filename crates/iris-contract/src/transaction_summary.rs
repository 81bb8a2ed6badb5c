//! The summary of one transaction of a classifier: progress, predictions, evaluations, dead letters and latencies.
//!
//! It is committed in the transaction that it counts. So the sum of the summaries is exact at any rate, without reading the
//! outcomes.

use std::collections::BTreeMap;

use iris_core::{Confusion, ModelVersion};
use serde::{Deserialize, Serialize};

/// The row for labels that the model does not know: there may be any number of them.
pub const OTHER_CLASS: &str = "other";

/// Upper bounds of latencies in milliseconds: from 1 to 60,000 in steps of about 1:2:5, and [`u64::MAX`] for the rest.
pub const LATENCY_BOUNDS_MS: [u64; 16] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    60_000,
    u64::MAX,
];

/// Counts by name or number.
pub type CountsBy<K> = BTreeMap<K, u64>;

/// The counts of one transaction. Counts of 0 are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionSummary {
    /// The consumer group whose offsets the transaction moved.
    pub group: String,
    /// The process and the worker that made the transaction; `None` in summaries of former versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The model that made all predictions of the transaction.
    pub model_version: ModelVersion,
    /// Progress in the input topic, by partition.
    pub partitions: BTreeMap<i32, PartitionProgress>,
    /// Predictions by class.
    pub predictions: CountsBy<String>,
    /// Predictions of records that have a label: by the label's class, or [`OTHER_CLASS`], and the predicted class.
    pub evaluations: Confusion,
    /// Dead letters by reason.
    pub dead_letters: CountsBy<String>,
    /// Outcomes by latency, from the record's timestamp to the commit, under its upper bound in [`LATENCY_BOUNDS_MS`].
    /// Records without a timestamp are not counted.
    pub latency_ms: CountsBy<u64>,
}

/// The progress of a transaction in one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// Records with an outcome.
    pub records: u64,
    /// The offset after the last record read.
    pub next_offset: i64,
}

impl TransactionSummary {
    /// Returns the number of records with an outcome.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.partitions
            .values()
            .map(|progress| progress.records)
            .sum()
    }
}
