//! Compares the store's rows with the feedback records.

use std::collections::BTreeSet;

use iris_kafka::StoredRecord;

use super::findings::{FindingKind, Findings};
use super::source::Source;

/// Compares the store's rows, each given by the partition and offset of its feedback record, with the feedback records.
#[must_use]
pub fn audit_rows(feedback: &[StoredRecord], rows: &[(i32, i64)]) -> Findings {
    let mut findings = Findings::default();
    let mut unmatched = BTreeSet::new();
    for &(partition, offset) in rows {
        let source = Source { partition, offset };
        if !unmatched.insert(source) {
            let case = format!("feedback {source} has two rows");
            findings.add(FindingKind::Duplicated, case);
        }
    }
    for record in feedback {
        let source = Source::of(record);
        if !unmatched.remove(&source) {
            findings.add(FindingKind::Lost, format!("feedback {source} has no row"));
        }
    }
    for source in unmatched {
        let case = format!("a row refers to feedback {source}, which does not exist");
        findings.add(FindingKind::Wrong, case);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::records::record;
    use super::*;

    #[test]
    fn every_feedback_record_has_exactly_one_row() {
        let feedback = [record(0, 0, ""), record(0, 2, "")];
        assert_eq!(
            audit_rows(&feedback, &[(0, 0), (0, 2)]),
            Findings::default()
        );
        let counts = audit_rows(&feedback, &[(0, 0), (0, 0), (1, 2)]).counts();
        assert_eq!((counts.lost, counts.duplicated, counts.wrong), (1, 1, 1));
    }
}
