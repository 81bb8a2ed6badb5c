//! Streams the rows of a CSV file to Kafka as JSON records.

use std::process::ExitCode;

use clap::Parser;
use iris_producer::args::Args;
use iris_producer::settings::Settings;
use iris_producer::{NAME, Progress};
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
    let progress = Progress::new();
    let service = Service::start(NAME, &settings.telemetry, Some(progress.log_writer())).await?;
    let summary = iris_producer::run(settings, &service, progress).await?;
    info!("{summary}");
    Ok(())
}
