//! The commands about topics.

mod description;
mod outcomes;

use anyhow::anyhow;
use iris_kafka::Admin;
use iris_kafka::startup::connect;
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
    let admin = Admin::new(kafka, NAME)?;
    match command {
        TopicsCommand::Create { dry_run, json } => {
            let outcomes = admin.create(&specs, dry_run).await?;
            let text = |spec: &_, outcome| created(spec, outcome, dry_run);
            print(&TopicReport::new(&specs, &outcomes, text), json)
        }
        TopicsCommand::Delete { json, .. } => {
            let outcomes = admin.delete(&names).await?;
            let text = |_: &_, outcome| deleted(outcome).to_owned();
            print(&TopicReport::new(&specs, &outcomes, text), json)
        }
        TopicsCommand::Describe { json } => {
            print(&TopicDescriptions(admin.describe(&names)?), json)
        }
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
