//! What happened when, second by second, for as long as a chart shows.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::{CountsBy, ModelVersion, TransactionSummary};

/// How many seconds are kept.
pub const KEPT: i64 = 600;

/// What the transactions of one second did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Records with an outcome.
    pub records: u64,
    /// These, by partition.
    pub by_partition: CountsBy<i32>,
    /// Labelled predictions.
    pub evaluated: u64,
    /// Of these, right ones.
    pub right: u64,
    /// Outcomes by the upper bound of their latency in milliseconds.
    pub latency_ms: CountsBy<u64>,
    /// The models that predicted.
    pub versions: BTreeSet<ModelVersion>,
}

/// The newest seconds; those without a transaction are left out.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    seconds: BTreeMap<i64, Second>,
}

impl Timeline {
    /// Adds a transaction that ended at a time, in milliseconds since the epoch.
    pub fn add(&mut self, summary: &TransactionSummary, at: i64) {
        let second = self.seconds.entry(at.div_euclid(1000)).or_default();
        for (&partition, progress) in &summary.partitions {
            second.records += progress.records;
            *second.by_partition.entry(partition).or_default() += progress.records;
        }
        second.evaluated += summary.evaluations.total();
        second.right += summary.evaluations.right();
        for (&bound, &count) in &summary.latency_ms {
            *second.latency_ms.entry(bound).or_default() += count;
        }
        second.versions.insert(summary.model_version);
        if let Some((&newest, _)) = self.seconds.last_key_value() {
            self.seconds = self.seconds.split_off(&(newest - KEPT));
        }
    }

    /// The seconds from one to another, in seconds since the epoch, without the second.
    pub fn between(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &Second)> {
        let range = from..to.max(from);
        self.seconds.range(range).map(|(&at, second)| (at, second))
    }

    /// Records a second over a number of seconds that ended at a time.
    #[must_use]
    pub fn rate(&self, seconds: i64, now_s: i64) -> f64 {
        let records: u64 = self
            .between(now_s - seconds, now_s)
            .map(|(_, second)| second.records)
            .sum();
        records as f64 / seconds as f64
    }

    /// These, of one partition.
    #[must_use]
    pub fn rate_of(&self, partition: i32, seconds: i64, now_s: i64) -> f64 {
        let records: u64 = self
            .between(now_s - seconds, now_s)
            .filter_map(|(_, second)| second.by_partition.get(&partition))
            .sum();
        records as f64 / seconds as f64
    }

    /// The accuracy over a number of seconds that ended with `at`; `None` if no record of these had a label.
    #[must_use]
    pub fn accuracy(&self, seconds: i64, at: i64) -> Option<f64> {
        let (right, evaluated) = self
            .between(at + 1 - seconds, at + 1)
            .fold((0, 0), |(right, evaluated), (_, second)| {
                (right + second.right, evaluated + second.evaluated)
            });
        (evaluated > 0).then(|| right as f64 / evaluated as f64)
    }

    /// Outcomes by latency over a number of seconds that ended at a time.
    #[must_use]
    pub fn latency_ms(&self, seconds: i64, now_s: i64) -> CountsBy<u64> {
        let mut counts = CountsBy::new();
        for (_, second) in self.between(now_s - seconds, now_s + 1) {
            for (&bound, &count) in &second.latency_ms {
                *counts.entry(bound).or_default() += count;
            }
        }
        counts
    }
}

/// The bound below which a share of the outcomes lies; `None` if there are none.
#[must_use]
pub fn quantile(counts: &CountsBy<u64>, share: f64) -> Option<u64> {
    let all: u64 = counts.values().sum();
    let wanted = share * all as f64;
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
    use crate::board::tests::summary;

    #[test]
    fn seconds_add_up_and_old_ones_are_forgotten() {
        let mut timeline = Timeline::default();
        timeline.add(&summary(0, 10, 10), 1_000);
        timeline.add(&summary(0, 20, 30), 1_999);
        timeline.add(&summary(1, 6, 6), 2_000);
        assert_eq!(timeline.rate(2, 3), 18.0);
        assert_eq!(timeline.rate_of(0, 2, 3), 15.0);
        // Of each, one is wrong.
        assert_eq!(timeline.accuracy(1, 1), Some(28.0 / 30.0));
        assert_eq!(timeline.accuracy(2, 2), Some(33.0 / 36.0));
        assert_eq!(timeline.accuracy(2, 9), None);
        timeline.add(&summary(1, 1, 7), 1_000 * (KEPT + 2));
        assert_eq!(timeline.between(0, KEPT + 9).count(), 2);
    }

    #[test]
    fn a_quantile_is_the_bound_that_covers_it() {
        let counts: CountsBy<u64> = [(5, 90), (10, 9), (u64::MAX, 1)].into();
        assert_eq!(quantile(&counts, 0.5), Some(5));
        assert_eq!(quantile(&counts, 0.99), Some(10));
        assert_eq!(quantile(&counts, 1.0), Some(u64::MAX));
        assert_eq!(quantile(&CountsBy::new(), 0.5), None);
    }
}
