//! Administers the pipeline's topics, models and dead letters.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use iris_admin::args::{Args, Command};
use iris_admin::settings::Settings;
use iris_admin::{NAME, models, redrive, topics};
use iris_service::Service;

#[tokio::main]
async fn main() -> ExitCode {
    iris_service::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    let settings = Settings::load(&args.common)?;
    if args.common.print_config {
        return iris_service::settings::print(&settings);
    }
    let Some(command) = args.command else {
        Args::command()
            .error(
                ErrorKind::MissingSubcommand,
                "no command given; --help shows them",
            )
            .exit()
    };
    let service = Service::start(NAME, &settings.telemetry, None).await?;
    match command {
        Command::Topics(command) => topics::run(command, &settings, &service).await,
        Command::Models(command) => models::run(command, &settings, &service).await,
        Command::Redrive(args) => redrive::run(args, &settings, &service).await,
    }
}
