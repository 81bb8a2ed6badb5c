//! The command line.

use clap::{Parser, Subcommand};
use iris_service::settings::CommonArgs;

/// Administers the pipeline's topics.
#[derive(Debug, Parser)]
#[command(
    name = "iris-admin",
    version,
    about,
    after_help = "Example: iris-admin topics create --bootstrap-servers localhost:9092"
)]
pub struct Args {
    /// The flags that every binary has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to administer.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to administer.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, describe or delete the topics
    #[command(subcommand)]
    Topics(TopicsCommand),
}

/// What to do with the topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create the topics that are not there; those that are stay as they are
    Create {
        /// Only ask the cluster whether it could
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show partitions, replicas and watermarks of the topics
    Describe {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete the topics and every record in them
    Delete {
        /// Really delete
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
