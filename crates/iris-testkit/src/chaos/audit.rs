//! Audits the records of a storm, whose input topic was deleted and recreated.

use std::collections::{BTreeMap, BTreeSet};

use iris_kafka::{PartitionOffset, Positions, StoredRecord};

use super::input::InputLog;
use crate::ledger::{
    CommittedRecords, Findings, Ledger, LossReport, Losses, Truncations, audit_reports,
    audit_summaries, split_at_recreation,
};

/// An input topic between its creation and its deletion.
pub(super) struct Life {
    /// All records that were appended.
    pub(super) input: Vec<StoredRecord>,
    pub(super) truncations: Truncations,
    /// The group's committed offsets.
    pub(super) committed: Positions,
}

impl Life {
    /// Audits the outcomes and summaries of this topic's records. Returns the records that were deleted unread, too.
    pub(super) fn audit(
        self,
        ledger: &Ledger,
        records: &mut CommittedRecords,
    ) -> (Findings, Losses) {
        records.input = self.input;
        let (mut findings, losses) =
            ledger.audit_truncated(records, &self.committed, &self.truncations);
        records.input.retain(|record| !losses.contains(record));
        findings.extend(audit_summaries(records, &self.committed));
        (findings, losses)
    }
}

/// The numbers of records without an outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Audited {
    /// Those that were deleted before they were read.
    pub(super) deleted_unread: usize,
    /// Those that were not read when their topic was deleted.
    pub(super) unread_in_deleted_topic: usize,
}

/// The input topic that was deleted.
pub(super) struct Deleted {
    pub(super) input: InputLog,
    pub(super) truncations: Truncations,
    /// Offsets before which every record had an outcome some time before the topic was deleted.
    pub(super) classified: Positions,
}

/// Audits the outcomes of a deleted input topic and of its successor, and the reports of lost records in the logs of all
/// processes. Losses that could not be reported are `unreported`.
pub(super) fn audit_both(
    ledger: &Ledger,
    records: &CommittedRecords,
    first: &Deleted,
    second: &InputLog,
    reports: &[LossReport],
    unreported: &BTreeSet<(i32, i64)>,
) -> anyhow::Result<(Findings, Audited)> {
    let mut findings = Findings::default();
    let [mut of_first, mut of_second] = split(records, second);
    let input = first.input.records()?;
    let committed = last_committed(&input, &of_first, &first.classified);
    let is_unread = |record: &&StoredRecord| {
        committed
            .get(record.partition)
            .is_none_or(|end| record.offset >= end)
    };
    let unread_in_deleted_topic = input.iter().filter(is_unread).count();
    let life = Life {
        input,
        truncations: first.truncations.clone(),
        committed,
    };
    let (found, losses) = life.audit(ledger, &mut of_first);
    findings.extend(found);
    let life = Life {
        input: second.records()?,
        truncations: Truncations::default(),
        committed: second.ends(),
    };
    findings.extend(life.audit(ledger, &mut of_second).0);
    findings.extend(audit_reports(&losses, reports, unreported));
    let audited = Audited {
        deleted_unread: usize::try_from(losses.records())?,
        unread_in_deleted_topic,
    };
    Ok((findings, audited))
}

/// Returns the offset after the last record of each partition that has an outcome, but at least those before which all have
/// one. Records are processed in order, so those before it must have one, too.
fn last_committed(
    input: &[StoredRecord],
    outcomes: &CommittedRecords,
    classified: &Positions,
) -> Positions {
    let by_key: BTreeMap<&[u8], &StoredRecord> = input
        .iter()
        .filter_map(|record| Some((record.key.as_deref()?, record)))
        .collect();
    let mut committed = classified.clone();
    for outcome in outcomes.predictions.iter().chain(&outcomes.dead_letters) {
        let key = outcome.key.as_deref().unwrap_or_default();
        if let Some(record) = by_key.get(key) {
            committed.advance_if_next(PartitionOffset::new(record.partition, record.offset));
        }
    }
    committed
}

/// Splits the records of the topics into those of the first input topic and those of its successor.
fn split(records: &CommittedRecords, second: &InputLog) -> [CommittedRecords; 2] {
    let by_key = |outcomes: &[StoredRecord]| -> (Vec<StoredRecord>, Vec<StoredRecord>) {
        outcomes
            .iter()
            .cloned()
            .partition(|outcome| !second.has_input_of(outcome))
    };
    let predictions = by_key(&records.predictions);
    let feedback = by_key(&records.feedback);
    let dead_letters = by_key(&records.dead_letters);
    let summaries = split_at_recreation(records.summaries.clone());
    let first = CommittedRecords {
        input: Vec::new(),
        predictions: predictions.0,
        feedback: feedback.0,
        dead_letters: dead_letters.0,
        summaries: summaries.0,
    };
    let second = CommittedRecords {
        input: Vec::new(),
        predictions: predictions.1,
        feedback: feedback.1,
        dead_letters: dead_letters.1,
        summaries: summaries.1,
    };
    [first, second]
}
