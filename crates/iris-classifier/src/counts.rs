//! The counts of one transaction: what it adds to the metrics, and what its summary record contains.

use std::collections::BTreeMap;

use iris_contract::{OTHER_CLASS, PartitionProgress, TransactionSummary};
use iris_core::{Confusion, ModelVersion};
use iris_kafka::PartitionOffset;

use crate::latency;

/// The consumer group and the worker whose transaction a summary describes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) group: &'a str,
    pub(crate) worker: &'a str,
}

/// The counts of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    partitions: BTreeMap<i32, Progress>,
    classes: usize,
    /// Predictions by class.
    predictions: Vec<u64>,
    /// Labelled predictions: one row per class, and one for labels of no class, with the predictions by class.
    evaluations: Vec<u64>,
    dead_letters: BTreeMap<&'static str, u64>,
    /// Runs of records with the same timestamp: the timestamp in milliseconds since the epoch, and the count.
    created: Vec<(i64, u64)>,
}

/// The progress in a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) records: u64,
    /// The offset after the last record.
    next_offset: i64,
    /// The timestamp of the last record that has one.
    pub(crate) reached: Option<i64>,
}

impl Counts {
    /// Returns counts of 0, for a model with this many classes.
    pub(crate) fn new(classes: usize) -> Self {
        Self {
            classes,
            predictions: vec![0; classes],
            evaluations: vec![0; (classes + 1) * classes],
            ..Self::default()
        }
    }

    /// Counts a record with this timestamp.
    pub(crate) fn read(&mut self, record: PartitionOffset, created: Option<i64>) {
        let progress = self.partitions.entry(record.partition).or_default();
        progress.records += 1;
        progress.next_offset = record.next_offset();
        let Some(created) = created else { return };
        progress.reached = Some(created);
        match self.created.last_mut() {
            Some((latest, count)) if *latest == created => *count += 1,
            _ => self.created.push((created, 1)),
        }
    }

    /// Counts a prediction.
    pub(crate) fn predicted(&mut self, class: usize) {
        self.predictions[class] += 1;
    }

    /// Counts a prediction of a labelled record. `actual` is the label's class; `None` if the model does not know the label.
    pub(crate) fn evaluated(&mut self, actual: Option<usize>, predicted: usize) {
        let row = actual.unwrap_or(self.classes);
        self.evaluations[row * self.classes + predicted] += 1;
    }

    /// Counts a dead letter.
    pub(crate) fn dead_lettered(&mut self, reason: &'static str) {
        *self.dead_letters.entry(reason).or_default() += 1;
    }

    /// Returns the summary of a transaction that ends at `now`, in milliseconds since the epoch.
    pub(crate) fn summary<'a>(
        &self,
        origin: Origin<'_>,
        model_version: ModelVersion,
        class_name: impl Fn(usize) -> &'a str,
        now: i64,
    ) -> TransactionSummary {
        let mut evaluations = Confusion::default();
        for (actual, predicted, count) in self.evaluations() {
            let actual = actual.map_or(OTHER_CLASS, &class_name);
            evaluations.add_many(actual, class_name(predicted), count);
        }
        let progress = |(&partition, progress): (&i32, &Progress)| {
            let progress = PartitionProgress {
                records: progress.records,
                next_offset: progress.next_offset,
            };
            (partition, progress)
        };
        TransactionSummary {
            group: origin.group.to_owned(),
            worker: Some(origin.worker.to_owned()),
            model_version,
            partitions: self.partitions.iter().map(progress).collect(),
            predictions: self
                .predictions()
                .map(|(class, count)| (class_name(class).to_owned(), count))
                .collect(),
            evaluations,
            dead_letters: self
                .dead_letters()
                .map(|(reason, count)| (reason.to_owned(), count))
                .collect(),
            latency_ms: latency::by_bound(&self.created, now),
        }
    }

    /// Returns the progress by partition.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (i32, Progress)> {
        let progress = self.partitions.iter();
        progress.map(|(&partition, &progress)| (partition, progress))
    }

    /// Returns the predictions by class, without those of 0.
    pub(crate) fn predictions(&self) -> impl Iterator<Item = (usize, u64)> {
        some(&self.predictions)
    }

    /// Returns the dead letters by reason.
    pub(crate) fn dead_letters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let dead_letters = self.dead_letters.iter();
        dead_letters.map(|(&reason, &count)| (reason, count))
    }

    /// Returns runs of records with the same timestamp: the timestamp in milliseconds since the epoch, and the count.
    pub(crate) fn created(&self) -> &[(i64, u64)] {
        &self.created
    }

    /// Returns the cells of the confusion matrix that are not 0: the label's class, if the model knows it, the predicted
    /// class, and the count.
    pub(crate) fn evaluations(&self) -> impl Iterator<Item = (Option<usize>, usize, u64)> {
        some(&self.evaluations).map(|(cell, count)| {
            let (actual, predicted) = (cell / self.classes, cell % self.classes);
            ((actual < self.classes).then_some(actual), predicted, count)
        })
    }

    /// Resets all counts to 0.
    pub(crate) fn clear(&mut self) {
        self.partitions.clear();
        self.predictions.fill(0);
        self.evaluations.fill(0);
        self.dead_letters.clear();
        self.created.clear();
    }
}

/// Returns the counts that are not 0, with their positions.
fn some(counts: &[u64]) -> impl Iterator<Item = (usize, u64)> {
    let positions = counts.iter().copied().enumerate();
    positions.filter(|&(_, count)| count > 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin {
        group: "group",
        worker: "host-0 worker 1",
    };

    /// Returns the counts of three records of two partitions, with two classes, and of a dead letter.
    pub(crate) fn counted() -> Counts {
        let mut counts = Counts::new(2);
        for (partition, offset, created) in
            [(0, 7, Some(1_000)), (0, 8, Some(1_000)), (3, 30, None)]
        {
            counts.read(PartitionOffset::new(partition, offset), created);
        }
        for (actual, predicted) in [(Some(0), 0), (Some(0), 1), (None, 1)] {
            counts.predicted(predicted);
            counts.evaluated(actual, predicted);
        }
        counts.dead_lettered("not_json");
        counts
    }

    #[test]
    fn a_summary_contains_the_counts_of_one_transaction() {
        let mut counts = counted();
        let version = "00c0ffee00c0ffee".parse().unwrap();
        let summary = |counts: &Counts| {
            let summary = counts.summary(ORIGIN, version, |class| ["a", "b"][class], 1_030);
            serde_json::to_string(&summary).unwrap()
        };
        insta::assert_snapshot!(summary(&counts), @r#"{"group":"group","worker":"host-0 worker 1","model_version":"00c0ffee00c0ffee","partitions":{"0":{"records":2,"next_offset":9},"3":{"records":1,"next_offset":31}},"predictions":{"a":1,"b":2},"evaluations":{"a":{"a":1,"b":1},"other":{"b":1}},"dead_letters":{"not_json":1},"latency_ms":{"50":2}}"#);
        counts.clear();
        insta::assert_snapshot!(summary(&counts), @r#"{"group":"group","worker":"host-0 worker 1","model_version":"00c0ffee00c0ffee","partitions":{},"predictions":{},"evaluations":{},"dead_letters":{},"latency_ms":{}}"#);
    }
}
