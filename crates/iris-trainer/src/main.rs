//! Learns from predictions and late labels, and decides which model is the champion.

use std::process::ExitCode;

use clap::Parser;
use iris_service::Service;
use iris_trainer::NAME;
use iris_trainer::args::Args;
use iris_trainer::settings::Settings;
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
    let summary = iris_trainer::run(settings, args.once, &service).await?;
    info!("{summary}");
    Ok(())
}
