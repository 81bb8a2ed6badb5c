//! Writes the files of a release archive other than the binaries: completions, man pages, licences and the SBOM.
//!
//! Called by `deploy/dist/dist.sh`.

mod commands;
mod licences;
mod sbom;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Writes the files of a release archive other than the binaries.
#[derive(Debug, Parser)]
#[command(name = "iris-dist", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the binaries' names, one per line
    Binaries,
    /// Write completions for bash, zsh and fish
    Completions {
        /// Where to write them; created if it is missing
        directory: PathBuf,
    },
    /// Write man pages, including those of sub-commands
    Man {
        /// Where to write them; created if it is missing
        directory: PathBuf,
    },
    /// Print the licences of the third-party software in the binaries
    Licences {
        /// The target triple that the binaries are built for
        #[arg(long)]
        target: String,
        /// A crate to leave out because it is not linked; may repeat
        #[arg(long, value_name = "CRATE")]
        without: Vec<String>,
        /// Linked software that is not a crate, and its licence file; may repeat
        #[arg(long, value_name = "NAME=FILE")]
        also: Vec<String>,
    },
    /// Merge the binaries' CycloneDX documents into one and print it
    Sbom {
        /// A document for each binary
        #[arg(required = true)]
        documents: Vec<PathBuf>,
        /// Linked software that is not a crate; may repeat
        #[arg(long, value_name = "NAME@VERSION")]
        also: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Binaries => {
            for command in commands::all() {
                println!("{}", command.get_name());
            }
        }
        Command::Completions { directory } => commands::completions(&directory)?,
        Command::Man { directory } => commands::man_pages(&directory)?,
        Command::Licences {
            target,
            without,
            also,
        } => {
            let mut works = licences::of_crates(&target, &without)?;
            for entry in &also {
                works.push(licences::of_library(entry)?);
            }
            print!("{}", licences::text(&works));
        }
        Command::Sbom { documents, also } => {
            let documents = documents
                .iter()
                .map(|path| {
                    let text = fs::read_to_string(path)
                        .with_context(|| format!("cannot read {}", path.display()))?;
                    serde_json::from_str(&text)
                        .with_context(|| format!("{} is not JSON", path.display()))
                })
                .collect::<anyhow::Result<Vec<_>>>()?;
            println!("{:#}", sbom::merge(documents, &also)?);
        }
    }
    Ok(())
}
