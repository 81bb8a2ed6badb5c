//! The commands about models.

mod adopt;
mod answered;
mod decide;
mod decisions;
mod details;
mod import;
mod learning;
mod list;
mod prune;
#[cfg(test)]
mod samples;
mod show;
mod version;

use iris_contract::Topics;
use iris_kafka::Rights;
use iris_kafka::startup::{Need, connect};
use iris_registry::{RegistryTopic, RegistryTopicError};
use iris_service::Service;
use tokio_util::sync::CancellationToken;

use crate::NAME;
use crate::args::ModelsCommand;
use crate::output::print;
use crate::settings::Settings;

/// The name of the role whose rights these commands need.
const ROLE: &str = "iris-admin-models";

/// Runs a command.
///
/// # Errors
/// If the cluster or the registry refuses; [`UsageError`](iris_service::UsageError) if a version matches no model or several.
pub async fn run(
    command: ModelsCommand,
    settings: &Settings,
    service: &Service,
) -> anyhow::Result<()> {
    let (settings, stop) = (settings.clone(), service.stop.clone());
    tokio::task::spawn_blocking(move || run_blocking(command, &settings, &stop)).await?
}

fn run_blocking(
    command: ModelsCommand,
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Settings { kafka, topics, .. } = settings;
    let wait = settings.service.wait_for_broker;
    let needs = needs(&command, topics);
    if connect(kafka, ROLE, wait, stop, &mut |_| (), &needs)?.is_none() {
        return Ok(());
    }
    let rights = Rights::new(kafka, ROLE, &needs);
    carry_out(command, settings, stop).map_err(|error| {
        let denied = error
            .downcast_ref::<RegistryTopicError>()
            .and_then(RegistryTopicError::denied);
        match denied.and_then(|denied| rights.explain(denied)) {
            Some(missing) => error.context(missing),
            None => error,
        }
    })
}

/// Returns the topics that a command needs.
fn needs<'a>(command: &ModelsCommand, topics: &'a Topics) -> Vec<Need<'a>> {
    let mut needs = vec![Need::read(&topics.models)];
    match command {
        ModelsCommand::List { .. } | ModelsCommand::Show { .. } => {}
        ModelsCommand::Answered(_) => needs.extend([
            Need::read(&topics.input),
            Need::read(&topics.predictions),
            Need::read(&topics.feedback),
        ]),
        ModelsCommand::Adopt { .. }
        | ModelsCommand::Import(_)
        | ModelsCommand::Promote { .. }
        | ModelsCommand::Prune(_)
        | ModelsCommand::Rollback { .. } => needs.push(Need::write(&topics.models)),
    }
    needs
}

fn carry_out(
    command: ModelsCommand,
    settings: &Settings,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Settings { kafka, topics, .. } = settings;
    let topic = RegistryTopic::new(kafka, &topics.models, NAME).until(stop);
    match command {
        ModelsCommand::List { json } => {
            let registry = topic.read()?;
            let list = list::ModelList::of(&registry).with_learning(learning::read(settings));
            print(&list, json)
        }
        ModelsCommand::Show { version, json } => {
            let registry = topic.read()?;
            let version = show::choose(&registry, version.as_deref())?;
            print(&show::ModelReport::of(&registry, version)?, json)
        }
        ModelsCommand::Answered(args) => answered::run(&args, settings, &topic, stop),
        ModelsCommand::Adopt { json } => match adopt::adopt(&topic, &settings.first_model, stop)? {
            Some(report) => print(&report, json),
            None => Ok(()),
        },
        ModelsCommand::Import(args) => {
            let report = import::import(
                &topic,
                &args,
                &settings.first_model,
                &settings.registry,
                stop,
            )?;
            print(&report, args.json)
        }
        ModelsCommand::Promote {
            version,
            reason,
            json,
        } => {
            let registry = decide::promote(&topic, &version, reason, stop)?;
            print(&decide::latest(&registry)?, json)
        }
        ModelsCommand::Prune(args) => {
            let keep = args.keep.unwrap_or(settings.registry.max_retired_models);
            print(&prune::prune(&topic, keep, args.dry_run, stop)?, args.json)
        }
        ModelsCommand::Rollback { reason, json } => {
            let registry = decide::roll_back(&topic, reason, stop)?;
            print(&decide::latest(&registry)?, json)
        }
    }
}
