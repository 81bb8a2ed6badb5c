//! Runs a command with a broker and a PostgreSQL at hand, and stops both afterwards.
//!
//! The command finds their addresses in `KAFKA_BOOTSTRAP` and `IRIS_TEST_POSTGRES`.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;
use iris_testkit::{Broker, Local, POSTGRES_VARIABLE, Server, workspace};

#[derive(Parser)]
struct Args {
    /// Where the servers keep their data; emptied first
    #[arg(long, default_value = "target/with-broker")]
    directory: PathBuf,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let directory = workspace().join(args.directory);
    let _ = std::fs::remove_dir_all(&directory);
    let broker = Broker::obtain(&directory)?;
    println!("broker: {}", broker.description);
    let mut command = Command::new(&args.command[0]);
    command
        .args(&args.command[1..])
        .env("KAFKA_BOOTSTRAP", &broker.bootstrap_servers);
    let postgres = match std::env::var(POSTGRES_VARIABLE) {
        Ok(_) => None,
        Err(_) => Some(Local::start(Server::Postgres, &directory)?),
    };
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
