//! The outcome of creating or deleting topics.

use std::fmt;

use iris_kafka::{TopicOutcome, TopicSpec};
use serde::Serialize;

/// The outcome for each topic.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct TopicReport<'a>(Vec<TopicLine<'a>>);

#[derive(Serialize)]
struct TopicLine<'a> {
    topic: &'a str,
    outcome: TopicOutcome,
    #[serde(skip)]
    text: String,
}

impl<'a> TopicReport<'a> {
    /// Creates the report; `text` describes an outcome for people.
    pub(super) fn new(
        specs: &'a [TopicSpec],
        outcomes: &[TopicOutcome],
        text: impl Fn(&TopicSpec, TopicOutcome) -> String,
    ) -> Self {
        let line = |(spec, &outcome): (&'a TopicSpec, &TopicOutcome)| TopicLine {
            topic: &spec.name,
            outcome,
            text: text(spec, outcome),
        };
        Self(specs.iter().zip(outcomes).map(line).collect())
    }
}

impl fmt::Display for TopicReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for TopicLine { topic, text, .. } in &self.0 {
            writeln!(f, "{topic}: {text}")?;
        }
        Ok(())
    }
}

/// Describes the outcome of creating a topic.
pub(super) fn created(spec: &TopicSpec, outcome: TopicOutcome, dry_run: bool) -> String {
    if let TopicOutcome::Grown(found) = outcome {
        let added = i64::from(spec.partitions) - i64::try_from(found).unwrap_or_default();
        let would = if dry_run { "would be " } else { "" };
        return format!(
            "{added} {} {would}added, {}; all records are kept",
            if added == 1 {
                "partition"
            } else {
                "partitions"
            },
            partitions(spec.partitions)
        );
    }
    let created = match (outcome, dry_run) {
        (TopicOutcome::Created, true) => "would be created",
        (TopicOutcome::Created, false) => "created",
        _ => "unchanged",
    };
    format!("{created}, {}", partitions(spec.partitions))
}

fn partitions(number: i32) -> String {
    match number {
        1 => "1 partition".to_owned(),
        number => format!("{number} partitions"),
    }
}

/// Describes the outcome of deleting a topic.
pub(super) fn deleted(outcome: TopicOutcome) -> &'static str {
    match outcome {
        TopicOutcome::Deleted => "deleted",
        _ => "did not exist",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str, partitions: i32) -> TopicSpec {
        TopicSpec {
            name: name.to_owned(),
            partitions,
            can_grow: false,
            replication_factor: 1,
            config: Vec::new(),
        }
    }

    #[test]
    fn a_dry_run_is_described_in_the_conditional() {
        for (outcome, dry_run, partitions, text) in [
            (
                TopicOutcome::Created,
                true,
                5,
                "would be created, 5 partitions",
            ),
            (TopicOutcome::Created, false, 1, "created, 1 partition"),
            (TopicOutcome::Unchanged, true, 1, "unchanged, 1 partition"),
            (TopicOutcome::Unchanged, false, 5, "unchanged, 5 partitions"),
            (
                TopicOutcome::Grown(1),
                true,
                5,
                "4 partitions would be added, 5 partitions; all records are kept",
            ),
            (
                TopicOutcome::Grown(4),
                false,
                5,
                "1 partition added, 5 partitions; all records are kept",
            ),
        ] {
            assert_eq!(created(&spec("t", partitions), outcome, dry_run), text);
        }
        assert_eq!(deleted(TopicOutcome::Deleted), "deleted");
        assert_eq!(deleted(TopicOutcome::Absent), "did not exist");
    }

    #[test]
    fn each_topic_is_reported_with_its_outcome_as_text_and_as_json() {
        let specs = [spec("input", 5), spec("models", 1)];
        let outcomes = [TopicOutcome::Created, TopicOutcome::Unchanged];
        let text = |spec: &TopicSpec, outcome| created(spec, outcome, false);
        let report = TopicReport::new(&specs, &outcomes, text);
        assert_eq!(
            report.to_string(),
            "input: created, 5 partitions\nmodels: unchanged, 1 partition\n"
        );
        let expected = json!([
            { "topic": "input", "outcome": "created" },
            { "topic": "models", "outcome": "unchanged" },
        ]);
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    }
}
