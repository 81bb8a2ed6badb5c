//! Runs a command with a broker and a PostgreSQL, and stops both afterwards.
//!
//! The command gets their addresses in `KAFKA_BOOTSTRAP` and `IRIS_TEST_POSTGRES`. Exits with the command's exit code.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context, bail};
use clap::Parser;
use iris_testkit::{Broker, Local, POSTGRES_VARIABLE, Server, workspace};

#[derive(Parser)]
struct Args {
    /// The directory for the servers' data; emptied first
    #[arg(long, default_value = "target/with-broker")]
    directory: PathBuf,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    run(Args::parse()).unwrap_or_else(|error| iris_service::exit(Err(error)))
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let directory = workspace().join(args.directory);
    let _ = std::fs::remove_dir_all(&directory);
    let (broker, postgres) = thread::scope(|scope| {
        let postgres = scope.spawn(|| postgres(&directory));
        let broker = Broker::obtain(&directory);
        let postgres = postgres.join().unwrap_or_else(|_| bail!("a panic"));
        Ok::<_, anyhow::Error>((broker?, postgres.context("starting PostgreSQL")?))
    })?;
    println!("broker: {}", broker.description);
    let mut command = Command::new(&args.command[0]);
    command
        .args(&args.command[1..])
        .env("KAFKA_BOOTSTRAP", &broker.bootstrap_servers);
    if let Some(postgres) = &postgres {
        command.env(
            POSTGRES_VARIABLE,
            format!("postgres://iris@localhost:{}/postgres", postgres.port()),
        );
    }
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", args.command[0]))?;
    drop((broker, postgres));
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Starts a PostgreSQL, unless the environment names one.
fn postgres(directory: &Path) -> anyhow::Result<Option<Local>> {
    match std::env::var(POSTGRES_VARIABLE) {
        Ok(_) => Ok(None),
        Err(_) => Local::start(Server::Postgres, directory).map(Some),
    }
}
