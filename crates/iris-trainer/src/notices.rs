//! Log lines about many records of one kind: one at once, then at most one a minute with the number of records since.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::merge::Topic;

/// The minimum time between two lines about the same kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// The event that records of a kind have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A record of this topic is skipped because it cannot be used.
    Skipped(Topic),
    /// A label's key is probably not the id that was meant.
    SuspectKey,
    /// A prediction expired before a label came.
    ExpiredPrediction,
    /// A label expired before a prediction with its id came.
    ExpiredLabel,
}

/// A line to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    subject: Subject,
    /// The number of records since the last line.
    records: u64,
    /// The first of them.
    example: String,
}

impl Notice {
    /// Logs the line.
    pub(crate) fn log(&self) {
        match self.subject {
            // Records without a label are normal.
            Subject::ExpiredPrediction => info!("{self}"),
            _ => warn!("{self}"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            records,
            example,
        } = self;
        match (subject, records) {
            (Subject::Skipped(_), 1) => write!(f, "skipped {example}"),
            (Subject::Skipped(topic), _) => {
                let kind = topic.kind();
                write!(f, "skipped {records} {kind}s, the first: {example}")
            }
            (Subject::SuspectKey, 1) => write!(f, "a label's key is probably not an id: {example}"),
            (Subject::SuspectKey, _) => write!(
                f,
                "the keys of {records} labels are probably not ids, the first: {example}"
            ),
            (Subject::ExpiredPrediction, _) => write!(
                f,
                "predictions that expired before a label came: {records}, the first: {example}"
            ),
            (Subject::ExpiredLabel, _) => write!(
                f,
                "labels that expired before a prediction with their id came: {records}, the first: {example}"
            ),
        }
    }
}

#[derive(Debug, Default)]
struct Kind {
    records: u64,
    example: String,
    logged: Option<Instant>,
}

/// The records that have not been logged yet, by subject and reason.
#[derive(Debug, Default)]
pub(crate) struct Notices(BTreeMap<(Subject, &'static str), Kind>);

impl Notices {
    /// Adds records of a kind. `example` describes the first one.
    pub(crate) fn add(
        &mut self,
        subject: Subject,
        reason: &'static str,
        records: u64,
        example: impl FnOnce() -> String,
    ) {
        if records == 0 {
            return;
        }
        let kind = self.0.entry((subject, reason)).or_default();
        if kind.records == 0 {
            kind.example = example();
        }
        kind.records += records;
    }

    /// Takes the lines that are due. `is_end`: all lines are due.
    pub(crate) fn take_due(&mut self, now: Instant, is_end: bool) -> Vec<Notice> {
        let mut due = Vec::new();
        for (&(subject, _), kind) in &mut self.0 {
            let is_recent = kind
                .logged
                .is_some_and(|logged| now.saturating_duration_since(logged) < INTERVAL);
            if kind.records == 0 || (is_recent && !is_end) {
                continue;
            }
            kind.logged = Some(now);
            due.push(Notice {
                subject,
                records: std::mem::take(&mut kind.records),
                example: std::mem::take(&mut kind.example),
            });
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_at_once_and_then_once_per_interval_with_its_count() {
        let mut notices = Notices::default();
        let start = Instant::now();
        let mut log = Vec::new();
        for second in 0..150 {
            let now = start + Duration::from_secs(second);
            for reason in ["not_json", "no_value"] {
                let records = if reason == "not_json" { 2 } else { 1 };
                notices.add(Subject::Skipped(Topic::Labels), reason, records, || {
                    format!("{reason} {second}")
                });
            }
            notices.add(Subject::ExpiredLabel, "", 0, String::new);
            let due = notices.take_due(now, second == 149);
            log.extend(due.iter().map(|notice| format!("{second}: {notice}")));
        }
        assert_eq!(
            log,
            [
                "0: skipped no_value 0",
                "0: skipped 2 labels, the first: not_json 0",
                "60: skipped 60 labels, the first: no_value 1",
                "60: skipped 120 labels, the first: not_json 1",
                "120: skipped 60 labels, the first: no_value 61",
                "120: skipped 120 labels, the first: not_json 61",
                "149: skipped 29 labels, the first: no_value 121",
                "149: skipped 58 labels, the first: not_json 121",
            ]
        );
        assert!(notices.take_due(start, true).is_empty());
    }

    #[test]
    fn each_subject_has_its_line() {
        let line = |subject, records| {
            let example = "x".to_owned();
            Notice {
                subject,
                records,
                example,
            }
            .to_string()
        };
        for (subject, records, expected) in [
            (
                Subject::SuspectKey,
                1,
                "a label's key is probably not an id: x",
            ),
            (
                Subject::SuspectKey,
                7,
                "the keys of 7 labels are probably not ids, the first: x",
            ),
            (
                Subject::ExpiredPrediction,
                7,
                "predictions that expired before a label came: 7, the first: x",
            ),
            (
                Subject::ExpiredLabel,
                1,
                "labels that expired before a prediction with their id came: 1, the first: x",
            ),
        ] {
            assert_eq!(line(subject, records), expected);
        }
    }
}
