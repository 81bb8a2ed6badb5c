//! The commands about topics.

use std::io::{Write, stdout};

use anyhow::anyhow;
use comfy_table::{CellAlignment, Table, presets};
use iris_kafka::startup::Cluster;
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
    if let TopicsCommand::Delete { yes: false, .. } = command {
        let names = names.join(", ");
        return Err(UsageError::from(anyhow!(
            "this deletes every record in {names}; to do so, add --yes"
        ))
        .into());
    }
    let wait = settings.service.wait_for_broker;
    if Cluster::find(&settings.kafka, NAME, wait, &service.stop, &mut |_| ())?.is_none() {
        return Ok(());
    }
    let admin = Admin::new(&settings.kafka, NAME)?;
    match command {
        TopicsCommand::Create { dry_run, json } => {
            let outcomes = admin.create(&specs, dry_run).await?;
            let created = if dry_run {
                "would be created"
            } else {
                "created"
            };
            print_outcomes(&specs, &outcomes, json, |spec, outcome| {
                let done = match outcome {
                    TopicOutcome::Created => created,
                    _ => "unchanged",
                };
                match spec.partitions {
                    1 => format!("{done}, 1 partition"),
                    partitions => format!("{done}, {partitions} partitions"),
                }
            })
        }
        TopicsCommand::Delete { json, .. } => {
            let outcomes = admin.delete(&names).await?;
            print_outcomes(&specs, &outcomes, json, |_, outcome| match outcome {
                TopicOutcome::Deleted => "deleted".to_owned(),
                _ => "was not there".to_owned(),
            })
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

fn print_outcomes(
    specs: &[TopicSpec],
    outcomes: &[TopicOutcome],
    json: bool,
    words: impl Fn(&TopicSpec, TopicOutcome) -> String,
) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if json {
        let list: Vec<_> = specs
            .iter()
            .zip(outcomes)
            .map(|(spec, outcome)| json!({ "topic": spec.name, "outcome": outcome }))
            .collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
    } else {
        for (spec, &outcome) in specs.iter().zip(outcomes) {
            writeln!(out, "{}: {}", spec.name, words(spec, outcome))?;
        }
    }
    Ok(())
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
