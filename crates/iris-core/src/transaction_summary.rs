//! What one transaction of a classifier did, in one small record.
//!
//! It is committed with the outcomes that it counts. Whoever adds up these records has exact figures at any rate, without
//! reading the outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::confusion::Confusion;
use crate::model::ModelVersion;

/// The row of labels that the model does not know: there may be any number of them.
pub const OTHER_CLASS: &str = "other";

/// Counts by name, or by number.
pub type CountsBy<K> = BTreeMap<K, u64>;

/// The counts of one transaction. Counts of 0 are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionSummary {
    /// The consumer group whose offsets the transaction moved.
    pub group: String,
    /// The model that made all of its predictions.
    pub model_version: ModelVersion,
    /// What was read of the input topic, by partition.
    pub partitions: BTreeMap<i32, PartitionProgress>,
    /// Predictions by class.
    pub predictions: CountsBy<String>,
    /// Predictions of records that have a label: by the label's class, or [`OTHER_CLASS`], and the predicted class.
    pub evaluations: Confusion,
    /// Dead letters by reason.
    pub dead_letters: CountsBy<String>,
    /// Outcomes by upper bound of the milliseconds from their record's creation to the transaction's end. What took longer
    /// than the last bound is under [`u64::MAX`]; records without a time of creation are not counted.
    pub latency_ms: CountsBy<u64>,
}

/// How far a transaction came in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// Records with an outcome.
    pub records: u64,
    /// The offset at which reading goes on.
    pub next_offset: i64,
}

impl TransactionSummary {
    /// Records with an outcome.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.partitions
            .values()
            .map(|progress| progress.records)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_reads_what_it_writes() {
        let mut evaluations = Confusion::default();
        evaluations.add("Iris-virginica", "Iris-setosa");
        let summary = TransactionSummary {
            group: "iris-classifier".to_owned(),
            model_version: "00c0ffee00c0ffee".parse().unwrap(),
            partitions: [(3, progress(3, 30)), (4, progress(1, 31))].into(),
            predictions: [("Iris-setosa".to_owned(), 3)].into(),
            evaluations,
            dead_letters: [("not_json".to_owned(), 1)].into(),
            latency_ms: [(5, 3), (u64::MAX, 1)].into(),
        };
        let json = serde_json::to_string(&summary).unwrap();
        insta::assert_snapshot!(json, @r#"{"group":"iris-classifier","model_version":"00c0ffee00c0ffee","partitions":{"3":{"records":3,"next_offset":30},"4":{"records":1,"next_offset":31}},"predictions":{"Iris-setosa":3},"evaluations":{"Iris-virginica":{"Iris-setosa":1}},"dead_letters":{"not_json":1},"latency_ms":{"5":3,"18446744073709551615":1}}"#);
        assert_eq!(
            serde_json::from_str::<TransactionSummary>(&json).unwrap(),
            summary
        );
        assert_eq!(summary.records(), 4);
    }

    fn progress(records: u64, next_offset: i64) -> PartitionProgress {
        PartitionProgress {
            records,
            next_offset,
        }
    }
}
