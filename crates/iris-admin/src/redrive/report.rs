//! The result of a redrive.

use std::collections::BTreeMap;
use std::fmt;

use iris_service::printable;
use serde::Serialize;

use super::selection::Verdict;

/// The number of dead letters sent back, or in a dry run to be sent back, and of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct RedriveReport {
    dry_run: bool,
    /// Dead letters sent back, by reason.
    redriven: BTreeMap<String, u64>,
    /// Dead letters that an earlier run sent back.
    sent_before: u64,
    /// Dead letters that were not selected.
    not_selected: u64,
    /// Records that are not dead letters of this pipeline, or whose partition does not exist.
    skipped: u64,
    /// Dead letters whose value was left out. They stay, because a record without a value would be sent.
    without_value: u64,
    /// Dead letters that their destination refused; a later run tries them again.
    refused: u64,
}

impl RedriveReport {
    /// Creates an empty report.
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            ..Self::default()
        }
    }

    /// Counts a dead letter with this reason, which was to be sent back, as refused.
    pub(super) fn refuse(&mut self, reason: &str) {
        self.refused += 1;
        if let Some(count) = self.redriven.get_mut(reason) {
            *count = count.saturating_sub(1);
        }
        self.redriven.retain(|_, count| *count > 0);
    }

    /// Counts a record of the dead-letter topic.
    pub(super) fn count(&mut self, verdict: &Verdict<'_>) {
        match *verdict {
            Verdict::Redrive(reason) => *self.redriven.entry(reason.to_owned()).or_default() += 1,
            Verdict::NotSelected => self.not_selected += 1,
            Verdict::SentBefore => self.sent_before += 1,
            Verdict::WithoutValue { .. } => self.without_value += 1,
            Verdict::NotADeadLetter
            | Verdict::ForeignTopic(_)
            | Verdict::NoSuchPartition { .. } => self.skipped += 1,
        }
    }
}

impl fmt::Display for RedriveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.redriven.values().sum();
        let sent = if self.dry_run {
            "would be sent back"
        } else {
            "sent back"
        };
        writeln!(f, "{total} dead letters {sent}")?;
        for (reason, count) in &self.redriven {
            writeln!(f, "  {count:>8}  {}", printable(reason))?;
        }
        writeln!(
            f,
            "{} sent back earlier, {} not selected, {} skipped, {} without their value, {} refused by their destination",
            self.sent_before, self.not_selected, self.skipped, self.without_value, self.refused
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_counted_by_kind_and_reason() {
        let foreign = Verdict::ForeignTopic("other");
        let no_partition = Verdict::NoSuchPartition {
            topic: "input",
            partition: 9,
        };
        let without_value = Verdict::WithoutValue {
            topic: "input",
            partition: 1,
            offset: 7,
        };
        let mut report = RedriveReport::new(true);
        for (times, verdict) in [
            (12, Verdict::Redrive("no_value")),
            (3, Verdict::Redrive("not_json")),
            (1, Verdict::SentBefore),
            (2, Verdict::NotSelected),
            (1, Verdict::NotADeadLetter),
            (1, foreign),
            (1, no_partition),
            (4, without_value),
        ] {
            for _ in 0..times {
                report.count(&verdict);
            }
        }
        let expected = "15 dead letters would be sent back\n        12  no_value\n         3  not_json\n\
                        1 sent back earlier, 2 not selected, 3 skipped, 4 without their value, 0 refused by their destination\n";
        assert_eq!(report.to_string(), expected);
        report.dry_run = false;
        assert!(
            report
                .to_string()
                .starts_with("15 dead letters sent back\n")
        );
        let json = serde_json::json!({
            "dry_run": false,
            "redriven": { "no_value": 12, "not_json": 3 },
            "sent_before": 1,
            "not_selected": 2,
            "skipped": 3,
            "without_value": 4,
            "refused": 0,
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), json);
    }

    #[test]
    fn a_refused_letter_does_not_count_as_sent_back() {
        let mut report = RedriveReport::new(false);
        for reason in ["no_value", "not_json", "not_json"] {
            report.count(&Verdict::Redrive(reason));
        }
        report.refuse("no_value");
        report.refuse("not_json");
        let expected = "1 dead letters sent back\n         1  not_json\n\
                        0 sent back earlier, 0 not selected, 0 skipped, 0 without their value, 2 refused by their destination\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn control_characters_in_a_reason_are_escaped() {
        let mut report = RedriveReport::new(false);
        report.count(&Verdict::Redrive("no_value\n99 dead letters\u{1b}[2J"));
        let text = report.to_string();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.contains(r"no_value\n99 dead letters\u{1b}[2J"),
            "{text}"
        );
    }
}
