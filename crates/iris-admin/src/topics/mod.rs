//! The commands about topics.

mod description;
mod outcomes;

use anyhow::anyhow;
use iris_kafka::startup::{Need, Operation, connect};
use iris_kafka::{Admin, AdminError, KafkaSettings, MissingRights, Rights};
use iris_service::{Service, UsageError};

use crate::args::TopicsCommand;
use crate::output::print;
use crate::settings::Settings;
use crate::{NAME, topic_specs};
use description::TopicDescriptions;
use outcomes::{TopicReport, created, deleted};

/// Runs a command.
///
/// # Errors
/// If the cluster refuses, or a topic exists with another number of partitions; [`UsageError`] if a deletion is not
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
    require_rights(kafka, &command, &names)?;
    let admin = Admin::new(kafka, NAME)?;
    match command {
        TopicsCommand::Create { dry_run, json } => {
            let created_topics = admin.create(&specs, dry_run).await;
            let outcomes = created_topics.map_err(|error| {
                let operation = operation_of(&error);
                explained(error, kafka, operation)
            })?;
            let text = |spec: &_, outcome| created(spec, outcome, dry_run);
            print(&TopicReport::new(&specs, &outcomes, text), json)
        }
        TopicsCommand::Delete { json, .. } => {
            let deleted_topics = admin.delete(&names).await;
            let outcomes =
                deleted_topics.map_err(|error| explained(error, kafka, Operation::Delete))?;
            let text = |_: &_, outcome| deleted(outcome).to_owned();
            print(&TopicReport::new(&specs, &outcomes, text), json)
        }
        TopicsCommand::Describe { json } => {
            print(&TopicDescriptions(admin.describe(&names)?), json)
        }
    }
}

/// The name of the role whose rights these commands need.
const ROLE: &str = "iris-admin-topics";

/// Checks that the user may see all topics and, for a deletion, delete all that exist. A topic that the user may not see looks
/// like one that does not exist.
fn require_rights(
    kafka: &KafkaSettings,
    command: &TopicsCommand,
    names: &[&str],
) -> Result<(), MissingRights> {
    let need = match command {
        TopicsCommand::Delete { .. } => Need::delete,
        _ => Need::describe,
    };
    let needs: Vec<Need<'_>> = names.iter().map(|&name| need(name)).collect();
    Rights::new(kafka, ROLE, &needs)
        .missing()
        .map_or(Ok(()), Err)
}

/// Returns the operation of `topics create` that failed.
fn operation_of(error: &AdminError) -> Operation {
    if error.is_refused_growth() {
        Operation::Alter
    } else {
        Operation::Create
    }
}

/// Returns an error with the rights whose lack explains it.
fn explained(error: AdminError, kafka: &KafkaSettings, operation: Operation) -> anyhow::Error {
    let missing = Rights::new(kafka, ROLE, &[]).lacking(operation, &error.denied_topics());
    match missing {
        Some(missing) => anyhow::Error::new(error).context(missing),
        None => error.into(),
    }
}

/// Rejects a deletion that is not confirmed.
fn require_confirmation(command: &TopicsCommand, names: &[&str]) -> Result<(), UsageError> {
    if let TopicsCommand::Delete { yes: false, .. } = command {
        let names = names.join(", ");
        return Err(anyhow!("this deletes every record in {names}; to do so, add --yes").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
