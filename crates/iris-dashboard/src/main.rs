//! Shows the running pipeline: one live page, and the same figures as JSON.

use std::process::ExitCode;

use clap::Parser;
use iris_dashboard::NAME;
use iris_dashboard::args::Args;
use iris_dashboard::settings::Settings;
use iris_service::Service;

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
    iris_dashboard::run(settings, &service).await
}
