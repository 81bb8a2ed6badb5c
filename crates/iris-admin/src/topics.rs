//! The commands about topics.

use std::io::{Write, stdout};

use anyhow::anyhow;
use comfy_table::{CellAlignment, Table, presets};
use iris_kafka::startup::connect;
use iris_kafka::{Admin, TopicDescription, TopicOutcome, TopicSpec};
use iris_service::{Service, UsageError};
use serde_json::json;

use crate::args::TopicsCommand;
use crate::settings::Settings;
use crate::{NAME, topic_specs};

/// Carries out a command.
///
/// # Errors
/// If the cluster refuses, or a topic is there with another number of partitions; [`UsageError`] if deletion is not
/// confirmed.
pub async fn run(
    command: TopicsCommand,
    settings: &Settings,
    service: &Service,
) -> anyhow::Result<()> {
    let specs = topic_specs(&settings.topics);
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    require_confirmation(&command, &names)?;
    let wait = settings.service.wait_for_broker;
    let (kafka, stop) = (&settings.kafka, &service.stop);
    if connect(kafka, NAME, wait, stop, &mut |_| (), &[])?.is_none() {
        return Ok(());
    }
    let admin = Admin::new(&settings.kafka, NAME)?;
    match command {
        TopicsCommand::Create { dry_run, json } => {
            let outcomes = admin.create(&specs, dry_run).await?;
            let words = |spec: &TopicSpec, outcome| creation(spec, outcome, dry_run);
            Ok(stdout().write_all(report(&specs, &outcomes, json, words)?.as_bytes())?)
        }
        TopicsCommand::Delete { json, .. } => {
            let outcomes = admin.delete(&names).await?;
            let words = |_: &TopicSpec, outcome| deletion(outcome).to_owned();
            Ok(stdout().write_all(report(&specs, &outcomes, json, words)?.as_bytes())?)
        }
        TopicsCommand::Describe { json } => {
            let descriptions = admin.describe(&names)?;
            if json {
                writeln!(stdout(), "{}", serde_json::to_string_pretty(&descriptions)?)?;
            } else {
                writeln!(stdout(), "{}", table(&descriptions))?;
            }
            Ok(())
        }
    }
}

/// Refuses to delete topics unless that is confirmed.
fn require_confirmation(command: &TopicsCommand, names: &[&str]) -> Result<(), UsageError> {
    if let TopicsCommand::Delete { yes: false, .. } = command {
        let names = names.join(", ");
        return Err(anyhow!("this deletes every record in {names}; to do so, add --yes").into());
    }
    Ok(())
}

/// What was done to create a topic, or with `dry_run` would be.
fn creation(spec: &TopicSpec, outcome: TopicOutcome, dry_run: bool) -> String {
    let done = match (outcome, dry_run) {
        (TopicOutcome::Created, true) => "would be created",
        (TopicOutcome::Created, false) => "created",
        _ => "unchanged",
    };
    match spec.partitions {
        1 => format!("{done}, 1 partition"),
        partitions => format!("{done}, {partitions} partitions"),
    }
}

/// What was done to delete a topic.
fn deletion(outcome: TopicOutcome) -> &'static str {
    match outcome {
        TopicOutcome::Deleted => "deleted",
        _ => "was not there",
    }
}

/// A line for each topic and what was done about it, or with `json` one JSON array.
fn report(
    specs: &[TopicSpec],
    outcomes: &[TopicOutcome],
    json: bool,
    words: impl Fn(&TopicSpec, TopicOutcome) -> String,
) -> serde_json::Result<String> {
    let each = specs.iter().zip(outcomes);
    if json {
        let list: Vec<_> = each
            .map(|(spec, outcome)| json!({ "topic": spec.name, "outcome": outcome }))
            .collect();
        return Ok(format!("{}\n", serde_json::to_string_pretty(&list)?));
    }
    Ok(each
        .map(|(spec, &outcome)| format!("{}: {}\n", spec.name, words(spec, outcome)))
        .collect())
}

/// A row for each partition of each topic.
fn table(descriptions: &[TopicDescription]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "topic",
        "partition",
        "leader",
        "replicas",
        "in sync",
        "low watermark",
        "high watermark",
    ]);
    for topic in descriptions {
        if !topic.exists {
            table.add_row([
                topic.topic.as_str(),
                "does not exist; `iris-admin topics create` creates it",
            ]);
        }
        for (position, partition) in topic.partitions.iter().enumerate() {
            let name = if position == 0 {
                topic.topic.as_str()
            } else {
                ""
            };
            table.add_row([
                name.to_owned(),
                partition.partition.to_string(),
                partition.leader.to_string(),
                format!("{:?}", partition.replicas),
                format!("{:?}", partition.in_sync),
                partition.low_watermark.to_string(),
                partition.high_watermark.to_string(),
            ]);
        }
    }
    for column in [1, 2, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use iris_kafka::PartitionDescription;

    use super::*;

    fn spec(name: &str, partitions: i32) -> TopicSpec {
        TopicSpec {
            name: name.to_owned(),
            partitions,
            replication_factor: 1,
            config: Vec::new(),
        }
    }

    #[test]
    fn topics_are_deleted_only_if_that_is_confirmed() {
        let names = ["input", "models"];
        let delete =
            |yes| require_confirmation(&TopicsCommand::Delete { yes, json: false }, &names);
        assert_eq!(
            delete(false).unwrap_err().to_string(),
            "this deletes every record in input, models; to do so, add --yes"
        );
        assert!(delete(true).is_ok());
        let describe = TopicsCommand::Describe { json: false };
        assert!(require_confirmation(&describe, &names).is_ok());
    }

    #[test]
    fn a_dry_run_says_what_would_be_done() {
        for (outcome, dry_run, partitions, words) in [
            (
                TopicOutcome::Created,
                true,
                5,
                "would be created, 5 partitions",
            ),
            (TopicOutcome::Created, false, 1, "created, 1 partition"),
            (TopicOutcome::Unchanged, true, 1, "unchanged, 1 partition"),
            (TopicOutcome::Unchanged, false, 5, "unchanged, 5 partitions"),
        ] {
            let found = creation(&spec("t", partitions), outcome, dry_run);
            assert_eq!(found, words);
        }
        assert_eq!(deletion(TopicOutcome::Deleted), "deleted");
        assert_eq!(deletion(TopicOutcome::Absent), "was not there");
    }

    #[test]
    fn each_topic_is_reported_with_its_own_outcome_as_text_and_as_json() {
        let specs = [spec("input", 5), spec("models", 1)];
        let outcomes = [TopicOutcome::Created, TopicOutcome::Unchanged];
        let words = |spec: &TopicSpec, outcome| creation(spec, outcome, false);
        assert_eq!(
            report(&specs, &outcomes, false, words).unwrap(),
            "input: created, 5 partitions\nmodels: unchanged, 1 partition\n"
        );
        let json = report(&specs, &outcomes, true, words).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = json!([
            { "topic": "input", "outcome": "created" },
            { "topic": "models", "outcome": "unchanged" },
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn a_description_has_a_row_for_each_partition_and_says_which_topics_are_missing() {
        let partition = |partition, high_watermark| PartitionDescription {
            partition,
            leader: 1,
            replicas: vec![1, 2],
            in_sync: vec![1],
            low_watermark: 3,
            high_watermark,
        };
        let there = TopicDescription {
            topic: "input".to_owned(),
            exists: true,
            replication_factor: 2,
            partitions: vec![partition(0, 30), partition(1, 400)],
        };
        let missing = TopicDescription {
            topic: "models".to_owned(),
            exists: false,
            replication_factor: 0,
            partitions: Vec::new(),
        };
        let table = table(&[there, missing]).to_string();
        let cells: Vec<Vec<&str>> = table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            cells,
            [
                vec!["input", "0", "1", "[1,", "2]", "[1]", "3", "30"],
                vec!["1", "1", "[1,", "2]", "[1]", "3", "400"],
                "models does not exist; `iris-admin topics create` creates it"
                    .split(' ')
                    .collect(),
            ]
        );
    }
}
