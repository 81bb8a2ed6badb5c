//! Administers the pipeline's topics, models and dead letters.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use iris_admin::args::{AclsArgs, Args, ClusterCommand, Command};
use iris_admin::settings::Settings;
use iris_admin::{NAME, acls, models, redrive, topics, transactions};
use iris_service::Service;
use iris_service::settings::CommonArgs;

#[tokio::main]
async fn main() -> ExitCode {
    iris_service::exit(run(Args::parse()).await)
}

async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Some(Command::Completions { shell }) => Ok(print_completions(shell)?),
        Some(Command::Acls(acls)) => print_acls(&args.common, &acls),
        Some(Command::Cluster(command)) => administer(&args.common, Some(command)).await,
        None => administer(&args.common, None).await,
    }
}

/// Prints the completions from memory, because `clap_complete` panics if it cannot write.
fn print_completions(shell: Shell) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut script);
    io::stdout().write_all(&script)
}

fn print_acls(common: &CommonArgs, args: &AclsArgs) -> anyhow::Result<()> {
    let settings = Settings::load(common)?;
    if common.print_config {
        return iris_service::settings::print(&settings);
    }
    acls::run(args, &settings)
}

async fn administer(common: &CommonArgs, command: Option<ClusterCommand>) -> anyhow::Result<()> {
    let settings = Settings::load(common)?;
    if common.print_config {
        return iris_service::settings::print(&settings);
    }
    let Some(command) = command else {
        Args::command()
            .error(
                ErrorKind::MissingSubcommand,
                "no command given; --help lists the commands",
            )
            .exit()
    };
    let service = Service::start_command(NAME, &settings.telemetry)?;
    match command {
        ClusterCommand::Topics(command) => topics::run(command, &settings, &service).await,
        ClusterCommand::Models(command) => models::run(command, &settings, &service).await,
        ClusterCommand::Redrive(args) => redrive::run(args, &settings, &service).await,
        ClusterCommand::Transactions(args) => transactions::run(args, &settings, &service).await,
    }
}
