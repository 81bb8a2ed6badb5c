//! The sums of transactions in a period of time, and quantiles of latency.

use std::collections::BTreeSet;

use iris_contract::{CountsBy, TransactionSummary};
use iris_core::ModelVersion;

/// The sums of the transactions in a period of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records with an outcome.
    pub records: u64,
    /// Records with an outcome, by partition.
    pub by_partition: CountsBy<i32>,
    /// Labelled predictions.
    pub evaluated: u64,
    /// Labelled predictions that are right.
    pub right: u64,
    /// Outcomes by the upper bound of their latency in milliseconds.
    pub latency_ms: CountsBy<u64>,
    /// The models that predicted.
    pub versions: BTreeSet<ModelVersion>,
}

impl Counts {
    /// Adds a transaction.
    pub(super) fn add(&mut self, summary: &TransactionSummary) {
        for (&partition, progress) in &summary.partitions {
            self.records += progress.records;
            *self.by_partition.entry(partition).or_default() += progress.records;
        }
        self.evaluated += summary.evaluations.total();
        self.right += summary.evaluations.right();
        merge(&mut self.latency_ms, &summary.latency_ms);
        self.versions.insert(summary.model_version);
    }

    /// Adds the sums of another period.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.records += other.records;
        merge(&mut self.by_partition, &other.by_partition);
        self.evaluated += other.evaluated;
        self.right += other.right;
        merge(&mut self.latency_ms, &other.latency_ms);
        self.versions.extend(&other.versions);
    }
}

/// Adds counts to others.
pub(super) fn merge<K: Ord + Copy>(counts: &mut CountsBy<K>, more: &CountsBy<K>) {
    for (&key, &count) in more {
        *counts.entry(key).or_default() += count;
    }
}

/// Returns the bound within which a share of the outcomes lies; `None` if there are none.
#[must_use]
pub fn quantile(counts: &CountsBy<u64>, share: f64) -> Option<u64> {
    let total: u64 = counts.values().sum();
    let wanted = share * total as f64;
    let mut below = 0;
    counts
        .iter()
        .find(|&(_, &count)| {
            below += count;
            below as f64 >= wanted
        })
        .map(|(&bound, _)| bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_that_covers_it() {
        let counts: CountsBy<u64> = [(5, 90), (10, 9), (u64::MAX, 1)].into();
        assert_eq!(quantile(&counts, 0.5), Some(5));
        assert_eq!(quantile(&counts, 0.99), Some(10));
        assert_eq!(quantile(&counts, 1.0), Some(u64::MAX));
        assert_eq!(quantile(&CountsBy::new(), 0.5), None);
    }
}
