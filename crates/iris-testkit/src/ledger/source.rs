//! Finds the input record of an outcome, by the outcome's own headers.

use std::collections::BTreeMap;
use std::fmt;

use iris_kafka::StoredRecord;

use super::findings::{FindingKind, Findings};

/// The header with a prediction's provenance.
pub(super) const PROVENANCE: &str = "iris-provenance";

/// The headers of a dead letter, in their order.
pub(super) const ERRORS: [&str; 8] = [
    "__iris.errors.topic",
    "__iris.errors.partition",
    "__iris.errors.offset",
    "__iris.errors.stage",
    "__iris.errors.message",
    "__iris.errors.service",
    "__iris.errors.version",
    "__iris.errors.attempt",
];

/// The partition and offset of a record. The ledger has its own type, since it uses nothing of the code under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Source {
    /// Returns the partition and offset of the record itself.
    pub(super) fn of(record: &StoredRecord) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
        }
    }

    /// Returns the input record that a prediction's provenance names.
    pub(super) fn from_provenance(record: &StoredRecord) -> Option<Self> {
        let [_, _, partition, offset, _] = provenance(record)?;
        Some(Self {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
        })
    }

    /// Returns the input record that a dead letter's headers name.
    pub(super) fn from_error_headers(record: &StoredRecord) -> Option<Self> {
        let [_, partition, offset, ..] = ERRORS.map(|name| record.header(name));
        Some(Self {
            partition: std::str::from_utf8(partition?).ok()?.parse().ok()?,
            offset: std::str::from_utf8(offset?).ok()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// Returns the parts of a prediction's provenance: version of the format, version of the model, partition, offset, votes.
fn provenance(record: &StoredRecord) -> Option<[&str; 5]> {
    let header = std::str::from_utf8(record.header(PROVENANCE)?).ok()?;
    let parts: Vec<&str> = header.split('-').collect();
    parts.try_into().ok()
}

/// Returns the version of the model that a prediction names.
pub(super) fn model_version(record: &StoredRecord) -> Option<&str> {
    provenance(record).map(|[_, version, ..]| version)
}

/// Returns the outcomes of one topic by their input record.
///
/// Adds findings for second outcomes, outcomes in another partition or order than their input, and outcomes without a
/// source. `kind` names the outcomes in these findings.
pub(super) fn by_source<'r>(
    records: &'r [StoredRecord],
    source: impl Fn(&StoredRecord) -> Option<Source>,
    kind: &str,
    findings: &mut Findings,
) -> BTreeMap<Source, &'r StoredRecord> {
    let mut outcomes: BTreeMap<Source, &StoredRecord> = BTreeMap::new();
    let mut latest: BTreeMap<i32, i64> = BTreeMap::new();
    for record in records {
        let at = Source::of(record);
        let Some(source) = source(record) else {
            let case = format!("the {kind} {at} does not name its input");
            findings.add(FindingKind::Wrong, case);
            continue;
        };
        if source.partition != record.partition {
            let case = format!("the {kind} of {source} is in partition {}", at.partition);
            findings.add(FindingKind::Wrong, case);
        }
        let latest = latest.entry(source.partition).or_insert(source.offset);
        if let Some(earlier) = outcomes.insert(source, record) {
            let earlier = Source::of(earlier);
            let case = format!("{source} has more than one {kind}: {earlier} and {at}");
            findings.add(FindingKind::Duplicated, case);
        } else if source.offset < *latest {
            let case = format!("the {kind} of {source} follows that of offset {latest}");
            findings.add(FindingKind::Reordered, case);
        }
        *latest = source.offset.max(*latest);
    }
    outcomes
}
