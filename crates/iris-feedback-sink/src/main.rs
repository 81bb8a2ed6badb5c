//! Stores the feedback topic in SQLite or PostgreSQL, each record once.

use std::process::ExitCode;

use clap::Parser;
use iris_feedback_sink::args::Args;
use iris_feedback_sink::settings::Settings;
use iris_feedback_sink::{NAME, listing};
use iris_feedback_store::FeedbackReader;
use iris_service::Service;
use tracing::info;

#[tokio::main]
async fn main() -> ExitCode {
    iris_service::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(&args)?;
    if args.common.print_config {
        return iris_service::settings::print(&settings);
    }
    if let Some(command) = &args.command {
        Service::start_command(NAME, &settings.telemetry)?;
        let store = FeedbackReader::new(&settings.feedback_sink.store()?, None)?;
        return listing::run(command, &store).await;
    }
    let service = Service::start(NAME, &settings.telemetry, None).await?;
    let summary = iris_feedback_sink::run(settings, &service).await?;
    info!("{summary}");
    Ok(())
}
