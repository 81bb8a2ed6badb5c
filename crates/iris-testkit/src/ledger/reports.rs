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

/// Losses that a process could not report.
#[derive(Debug, Default)]
pub struct UnreportedLosses {
    /// The offsets that the open transaction skips.
    open: BTreeSet<(i32, i64)>,
    /// Those of transactions with a result that the process never learned.
    unknown: BTreeSet<(i32, i64)>,
}

impl UnreportedLosses {
    /// Returns the partition and offset of each record that may be lost without a report, from the log of one process: those
    /// that its last transaction skipped, if the log ends before the result of the transaction, and those of unknown results.
    #[must_use]
    pub fn read(topic: &str, log: &str) -> BTreeSet<(i32, i64)> {
        let mut losses = Self::default();
        for line in log.lines() {
            losses.add(topic, line);
        }
        losses.unknown.extend(losses.open);
        losses.unknown
    }

    fn add(&mut self, topic: &str, line: &str) {
        if let Some(places) = places(
            topic,
            line,
            "the open transaction skips deleted records at ",
        ) {
            self.open.extend(places);
        } else if let Some(places) = places(topic, line, "records at ")
            && line.contains(" were deleted, and are not counted here")
        {
            self.unknown.extend(places);
        } else if let Some(report) = LossReport::parse("", topic, line) {
            let places: BTreeSet<_> = report.places().collect();
            self.open = &self.open - &places;
        } else if line.contains("the transaction failed") || line.contains(" records/s: ") {
            self.open.clear();
        }
    }
}

/// Returns the partition and offsets in a line about deleted records: `text` is between the topic and the offsets.
fn places(topic: &str, line: &str, text: &str) -> Option<BTreeSet<(i32, i64)>> {
    let (_, line) = line.split_once("partition ")?;
    let (partition, line) = line.split_once(&format!(" of topic `{topic}`: {text}offsets "))?;
    let partition: i32 = partition.parse().ok()?;
    let (first, line) = line.split_once(" to ")?;
    let last = line.split_whitespace().next()?;
    let offsets = first.parse().ok()?..=last.parse::<i64>().ok()?;
    Some(offsets.map(|offset| (partition, offset)).collect())
}

/// Compares the records that were lost with the reports of all processes: each lost record must be reported once, except those
/// whose loss could not be reported, and no other record may be.
#[must_use]
pub fn audit_reports(
    losses: &Losses,
    reports: &[LossReport],
    unreported: &BTreeSet<(i32, i64)>,
) -> Findings {
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
    add(FindingKind::Lost, &(&lost - &reported) - unreported, text);
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
        audit_reports(&losses, reports, &BTreeSet::new()).counts()
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
    fn a_process_that_ends_in_a_transaction_or_never_learns_its_result_cannot_report_a_loss() {
        let line = |partition: i32, text: &str| {
            format!("2026-01-01T00:00:00Z INFO partition {partition} of topic `t`: {text}\n")
        };
        let skips = "the open transaction skips deleted records at offsets 3 to 4";
        let reported = "2 records were deleted before they were read, at offsets 3 to 4; check the topic's retention";
        let unknown = "records at offsets 3 to 4 were deleted, and are not counted here: the result is unknown";
        let failed = "WARN the transaction failed, processing its records again: timed out\n";
        let both: BTreeSet<_> = [(1, 3), (1, 4)].into();
        let none = BTreeSet::new();
        for (log, expected) in [
            (line(1, skips), &both),
            (line(1, skips) + &line(1, reported), &none),
            (line(1, skips) + &line(2, reported), &both),
            (line(1, skips) + failed, &none),
            (line(1, skips) + failed + &line(1, unknown), &both),
            (
                line(1, skips) + "INFO 7 records in 1.000 s, 7 records/s: 7 predictions\n",
                &none,
            ),
            (line(1, reported), &none),
        ] {
            assert_eq!(UnreportedLosses::read("t", &log), *expected, "{log}");
        }
        assert_eq!(UnreportedLosses::read("other", &line(1, skips)), none);
        let mut truncations = Truncations::default();
        truncations.add(1, 5);
        let place = |offset| Source {
            partition: 1,
            offset,
        };
        let (losses, _) = Losses::explain(&(3..5).map(place).collect(), &truncations);
        let lost = |unreported| audit_reports(&losses, &[], unreported).counts().lost;
        assert_eq!((lost(&both), lost(&none)), (0, 1));
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
