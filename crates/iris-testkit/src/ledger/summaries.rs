//! Compares the transactions' summaries with the committed records.

use std::collections::{BTreeMap, BTreeSet};

use iris_kafka::{Positions, StoredRecord, next_offset};
use serde::Deserialize;

use super::findings::{FindingKind, Findings};
use super::records::CommittedRecords;
use super::source::Source;

/// The audited parts of a transaction's summary.
#[derive(Deserialize)]
struct SummaryRecord {
    partitions: BTreeMap<i32, PartitionProgress>,
    /// By class.
    predictions: BTreeMap<String, u64>,
    /// By label, then by prediction.
    evaluations: BTreeMap<String, BTreeMap<String, u64>>,
    /// By reason.
    dead_letters: BTreeMap<String, u64>,
}

/// The records that a transaction read from a partition, and the offset after the last of them.
#[derive(Clone, Copy, Default, Deserialize)]
struct PartitionProgress {
    records: u64,
    next_offset: i64,
}

impl SummaryRecord {
    fn mispredictions(&self) -> u64 {
        let cells = self
            .evaluations
            .iter()
            .flat_map(|(label, row)| row.iter().filter(move |(predicted, _)| *predicted != label));
        cells.map(|(_, count)| count).sum()
    }
}

/// The sums of all summaries.
#[derive(Default)]
struct Totals {
    /// The progress of each transaction in each partition.
    partitions: BTreeMap<i32, Vec<PartitionProgress>>,
    predictions: u64,
    mispredictions: u64,
    dead_letters: u64,
}

impl Totals {
    fn of(summaries: &[StoredRecord], findings: &mut Findings) -> Self {
        let mut totals = Self::default();
        for record in summaries {
            match serde_json::from_slice(record.value.as_deref().unwrap_or_default()) {
                Ok(summary) => totals.add(&summary),
                Err(error) => {
                    let case = format!("summary {}: {error}", Source::of(record));
                    findings.add(FindingKind::Wrong, case);
                }
            }
        }
        totals.find_overlaps(findings);
        totals
    }

    fn add(&mut self, summary: &SummaryRecord) {
        for (&partition, &progress) in &summary.partitions {
            self.partitions.entry(partition).or_default().push(progress);
        }
        self.predictions += summary.predictions.values().sum::<u64>();
        self.dead_letters += summary.dead_letters.values().sum::<u64>();
        self.mispredictions += summary.mispredictions();
    }

    /// Finds transactions that have read the same records: more records than there are offsets since the previous transaction.
    /// The summaries of a partition are in any partitions of their topic, so their order follows from their offsets.
    fn find_overlaps(&mut self, findings: &mut Findings) {
        for (&partition, transactions) in &mut self.partitions {
            transactions.sort_by_key(|progress| progress.next_offset);
            let mut previous = 0;
            for PartitionProgress {
                records,
                next_offset,
            } in transactions
            {
                if i64::try_from(*records).unwrap_or(i64::MAX) > *next_offset - previous {
                    let source = Source {
                        partition,
                        offset: *next_offset,
                    };
                    let case = format!(
                        "{source} ends a transaction whose records are in another summary, too"
                    );
                    findings.add(FindingKind::Duplicated, case);
                }
                previous = *next_offset;
            }
        }
    }

    /// Returns the sum of a partition's records, and the offset after the last of them.
    fn of_partition(&self, partition: i32) -> PartitionProgress {
        let transactions = self
            .partitions
            .get(&partition)
            .map_or(&[][..], Vec::as_slice);
        PartitionProgress {
            records: transactions.iter().map(|progress| progress.records).sum(),
            next_offset: transactions.last().map_or(0, |last| last.next_offset),
        }
    }
}

/// Splits the summaries of transactions of an input topic and of its successor of the same name. Offsets start again at 0 in
/// the successor, and the first transaction of each of its partitions ends before the last one of its predecessor's.
///
/// The summaries of a partition can be in several partitions of their topic. Their timestamps have the order of the transactions:
/// a transaction begins after the previous one of the partition has ended, and all clocks are the same.
#[must_use]
pub fn split_at_recreation(
    mut summaries: Vec<StoredRecord>,
) -> (Vec<StoredRecord>, Vec<StoredRecord>) {
    summaries.sort_by_key(|record| record.timestamp);
    let mut latest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut restarted = BTreeSet::new();
    summaries.into_iter().partition(|record| {
        let summary =
            serde_json::from_slice::<SummaryRecord>(record.value.as_deref().unwrap_or_default());
        let Ok(summary) = summary else { return true };
        let mut is_first = true;
        for (partition, progress) in summary.partitions {
            let latest = latest.entry(partition).or_default();
            if progress.next_offset <= *latest {
                restarted.insert(partition);
            }
            *latest = progress.next_offset;
            is_first &= !restarted.contains(&partition);
        }
        is_first
    })
}

/// Compares the sums of the transactions' summaries with the committed records below the group's committed offsets. The input
/// records are those that have an outcome.
#[must_use]
pub fn audit_summaries(records: &CommittedRecords, committed: &Positions) -> Findings {
    let mut findings = Findings::default();
    let totals = Totals::of(&records.summaries, &mut findings);
    let mut compare = |name: &str, summed: u64, actual: u64| {
        if summed != actual {
            let case = format!("{name}: the summaries say {summed}, the topics {actual}");
            findings.add(FindingKind::Torn, case);
        }
    };
    for (name, summed, actual) in [
        ("predictions", totals.predictions, &records.predictions),
        ("mispredictions", totals.mispredictions, &records.feedback),
        ("dead letters", totals.dead_letters, &records.dead_letters),
    ] {
        compare(name, summed, actual.len() as u64);
    }
    for (partition, next) in committed.iter() {
        let total = totals.of_partition(partition);
        let is_committed =
            |record: &&StoredRecord| record.partition == partition && record.offset < next;
        let inputs = records.input.iter().filter(is_committed).count();
        compare(
            &format!("records of partition {partition}"),
            total.records,
            inputs as u64,
        );
        // Records that were deleted unread are committed without a summary.
        let last = records.input.iter().rfind(is_committed);
        let next = last.map_or(0, |record| next_offset(record.offset));
        compare(
            &format!("offset of partition {partition}"),
            total.next_offset.unsigned_abs(),
            next.unsigned_abs(),
        );
    }
    findings
}
