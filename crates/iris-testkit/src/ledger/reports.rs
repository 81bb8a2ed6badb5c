//! Compares the losses that services report with the records that were lost.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::deleted::{Losses, ranges};
use super::findings::{FindingKind, Findings};

/// A service's report of input records that were deleted before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossReport {
    /// The name of the process.
    pub process: String,
    /// The partition of the input topic.
    pub partition: i32,
    /// The offsets.
    pub offsets: Range<i64>,
    /// The number of records.
    pub records: u64,
}

impl LossReport {
    /// Reads the report in a line of a process's log, if the line is one about `topic`.
    #[must_use]
    pub fn parse(process: &str, topic: &str, line: &str) -> Option<Self> {
        let (_, report) = line.split_once("partition ")?;
        let (partition, report) = report.split_once(&format!(" of topic `{topic}`: "))?;
        let (records, report) =
            report.split_once(" records were deleted before they were read, at offsets ")?;
        let (offsets, _) = report.split_once(';')?;
        let (first, last) = offsets.split_once(" to ")?;
        Some(Self {
            process: process.to_owned(),
            partition: partition.parse().ok()?,
            offsets: first.parse().ok()?..last.parse::<i64>().ok()? + 1,
            records: records.parse().ok()?,
        })
    }

    fn places(&self) -> impl Iterator<Item = (i32, i64)> {
        let partition = self.partition;
        self.offsets.clone().map(move |offset| (partition, offset))
    }
}

/// Compares the records that were lost with the reports of all processes: each lost record must be reported once, and no
/// other record may be.
#[must_use]
pub fn audit_reports(losses: &Losses, reports: &[LossReport]) -> Findings {
    let mut findings = Findings::default();
    let lost = losses.places();
    let mut reported = BTreeSet::new();
    let mut add = |kind, places: BTreeSet<(i32, i64)>, text: &str| {
        for (partition, offsets) in ranges(places) {
            let (first, last) = (offsets.start, offsets.end - 1);
            let case = format!("{partition}/{first} to {partition}/{last} {text}");
            findings.add(kind, case);
        }
    };
    for report in reports {
        let process = &report.process;
        let places: BTreeSet<_> = report.places().collect();
        if places.len() as u64 != report.records {
            let text = format!("are reported by {process} as {} records", report.records);
            add(FindingKind::Wrong, places.clone(), &text);
        }
        let text = format!("are reported as lost by {process}, but are not");
        add(FindingKind::Wrong, &places - &lost, &text);
        let text = format!("are reported as lost once more by {process}");
        add(FindingKind::Duplicated, &places & &reported, &text);
        reported.extend(places);
    }
    let text = "were deleted before they were read, and no process reports it";
    add(FindingKind::Lost, &lost - &reported, text);
    findings
}

/// Compares a process's metric of lost records with the reports in its log. `metrics` is the text of `/metrics`.
#[must_use]
pub fn audit_metric(process: &str, topic: &str, metrics: &str, reports: &[LossReport]) -> Findings {
    let mut findings = Findings::default();
    let mut logged: BTreeMap<i32, u64> = BTreeMap::new();
    for report in reports.iter().filter(|report| report.process == process) {
        *logged.entry(report.partition).or_default() += report.records;
    }
    let prefix = format!("iris_records_lost_total{{topic=\"{topic}\",partition=\"");
    let counted: BTreeMap<i32, u64> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix)?.split_once("\"} "))
        .filter_map(|(partition, records)| Some((partition.parse().ok()?, records.parse().ok()?)))
        .collect();
    if counted != logged {
        let case = format!("{process} counts lost records {counted:?}, and logs {logged:?}");
        findings.add(FindingKind::Wrong, case);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::deleted::Truncations;
    use super::super::findings::FindingCounts;
    use super::super::source::Source;
    use super::*;

    fn report(process: &str, offsets: Range<i64>) -> LossReport {
        LossReport {
            process: process.to_owned(),
            partition: 0,
            records: (offsets.end - offsets.start).unsigned_abs(),
            offsets,
        }
    }

    /// Audits reports when the records at offsets 3 to 9 were lost.
    fn counts(reports: &[LossReport]) -> FindingCounts {
        let mut truncations = Truncations::default();
        truncations.add(0, 10);
        let place = |offset| Source {
            partition: 0,
            offset,
        };
        let (losses, _) = Losses::explain(&(3..10).map(place).collect(), &truncations);
        audit_reports(&losses, reports).counts()
    }

    #[test]
    fn each_lost_record_is_reported_once() {
        let none = FindingCounts::default();
        assert_eq!(counts(&[report("a", 3..10)]), none);
        assert_eq!(counts(&[report("a", 7..10), report("b", 3..7)]), none);
        assert_eq!(
            counts(&[]),
            FindingCounts { lost: 1, ..none },
            "a silent loss"
        );
        assert_eq!(
            counts(&[report("a", 4..6), report("a", 7..10)]),
            FindingCounts { lost: 2, ..none }
        );
        let twice = FindingCounts {
            duplicated: 1,
            ..none
        };
        assert_eq!(counts(&[report("a", 3..10), report("b", 3..10)]), twice);
        assert_eq!(counts(&[report("a", 3..10), report("a", 9..10)]), twice);
    }

    #[test]
    fn a_report_of_records_that_were_not_lost_or_with_another_number_is_wrong() {
        let wrong = FindingCounts {
            wrong: 1,
            ..FindingCounts::default()
        };
        assert_eq!(counts(&[report("a", 2..10)]), wrong);
        assert_eq!(counts(&[report("a", 3..10), report("b", 20..30)]), wrong);
        let miscounted = LossReport {
            records: 8,
            ..report("a", 3..10)
        };
        assert_eq!(counts(&[miscounted]), wrong);
    }

    #[test]
    fn a_report_is_read_from_a_line_of_the_log() {
        let line = "2026-01-01T00:00:00Z ERROR partition 3 of topic `input`: 10 records were deleted before they were read, \
                    at offsets 20 to 29; check the topic's retention";
        let expected = LossReport {
            process: "a".to_owned(),
            partition: 3,
            offsets: 20..30,
            records: 10,
        };
        assert_eq!(LossReport::parse("a", "input", line), Some(expected));
        assert_eq!(LossReport::parse("a", "feedback", line), None);
        assert_eq!(
            LossReport::parse("a", "input", "partition 3 assigned"),
            None
        );
    }

    #[test]
    fn a_metric_that_differs_from_the_log_is_wrong() {
        let reports = [report("a", 3..10), report("a", 20..21), report("b", 0..1)];
        let metric = |records: u64| {
            format!(
                "# HELP it\niris_records_lost_total{{topic=\"input\",partition=\"0\"}} {records}\n\
                 iris_records_lost_total{{topic=\"other\",partition=\"0\"}} 5\n"
            )
        };
        let found = |text: &str| audit_metric("a", "input", text, &reports).counts().wrong;
        assert_eq!(found(&metric(8)), 0);
        assert_eq!(found(&metric(7)), 1);
        assert_eq!(found(&metric(15)), 1, "it is counted twice");
        assert_eq!(found(""), 1);
    }
}
