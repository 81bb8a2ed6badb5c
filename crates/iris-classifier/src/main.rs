//! Classifies a stream of records exactly once and publishes predictions, feedback and dead letters.

use std::process::ExitCode;

use clap::Parser;
use iris_classifier::NAME;
use iris_classifier::args::Args;
use iris_classifier::settings::Settings;
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
    let service = Service::start(NAME, &settings.telemetry, None).await?;
    let summary = iris_classifier::run(settings, &service).await?;
    info!("{summary}");
    Ok(())
}
