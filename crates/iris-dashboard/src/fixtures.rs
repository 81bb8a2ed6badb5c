//! Records of the tests.

use iris_contract::{CountsBy, PartitionProgress, TransactionSummary};
use iris_core::Confusion;

/// Returns a transaction of one partition, with one wrong prediction and a latency of 5 ms for each record.
pub(crate) fn summary(partition: i32, records: u64, next_offset: i64) -> TransactionSummary {
    let progress = PartitionProgress {
        records,
        next_offset,
    };
    let mut evaluations = Confusion::default();
    evaluations.add_many("a", "a", records - 1);
    evaluations.add("b", "a");
    TransactionSummary {
        group: "group".to_owned(),
        model_version: "00c0ffee00c0ffee".parse().unwrap(),
        partitions: [(partition, progress)].into(),
        predictions: [("a".to_owned(), records)].into(),
        evaluations,
        dead_letters: CountsBy::new(),
        latency_ms: [(5, records)].into(),
    }
}
