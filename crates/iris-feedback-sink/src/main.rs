//! Stores the feedback topic in SQLite or PostgreSQL, each record once.

use std::process::ExitCode;

use clap::Parser;
use iris_feedback_sink::args::{Args, Command};
use iris_feedback_sink::settings::Settings;
use iris_feedback_sink::{NAME, listing};
use iris_feedback_store::{FeedbackReader, FeedbackStore, Migrated, StoreUrl};
use iris_service::Service;
use tracing::{info, warn};

#[tokio::main]
async fn main() -> ExitCode {
    iris_service::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(&args)?;
    if args.common.print_config {
        return iris_service::settings::print(&settings);
    }
    let url = settings.feedback_sink.store()?;
    let Some(command) = &args.command else {
        let service = Service::start(NAME, &settings.telemetry, None).await?;
        warn_of(&url);
        let summary = iris_feedback_sink::run(settings, &service).await?;
        info!("{summary}");
        return Ok(());
    };
    Service::start_command(NAME, &settings.telemetry)?;
    warn_of(&url);
    match command {
        Command::Migrate => migrate(&url).await,
        Command::Listing(command) => listing::run(command, &FeedbackReader::new(&url, None)?).await,
    }
}

/// Logs that the connection to a store is not protected, if it is not.
fn warn_of(url: &StoreUrl) {
    if let Some(warning) = url.warning() {
        warn!("{warning}");
    }
}

/// Brings the schema of the store up to date.
async fn migrate(url: &StoreUrl) -> anyhow::Result<()> {
    match FeedbackStore::migrate(url).await? {
        Migrated { from, to } if from == to => {
            info!("the schema of {url} is up to date: version {to}")
        }
        Migrated { from: 0, to } => info!("created the schema of {url}: version {to}"),
        Migrated { from, to } => info!("migrated the schema of {url} from version {from} to {to}"),
    }
    Ok(())
}
