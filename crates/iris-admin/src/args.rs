//! The command line.

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use iris_service::settings::CommonArgs;
use jiff::Timestamp;

/// Administers the pipeline's topics, models and dead letters.
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
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What needs a cluster.
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Print this command's completions for a shell: bash, zsh or fish
    #[command(after_help = "Example: source <(iris-admin completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What to administer.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Create, describe or delete the topics
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// List models, or say which one is to be served
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Send dead letters back to the topic and partition that they came from, each once
    #[command(
        after_help = "Example: iris-admin redrive --reason missing_feature --since 2026-11-23T06:00:00Z --dry-run"
    )]
    Redrive(RedriveArgs),
}

/// What to do with the models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the models and the decisions about them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one model: where it came from, how good it was found, what was decided about it
    Show {
        /// Its version or the beginning of it; the champion if none is given
        version: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell which model answered an input record, and have it answer again; or which models answered at a time
    #[command(after_help = "Example: iris-admin models answered --partition 0 --offset 14")]
    Answered(AnsweredArgs),
    /// Make a model the champion: every classifier serves it from its next transaction on
    Promote {
        /// Its version or the beginning of it
        version: String,
        /// Why, for those who will look at the decision
        #[arg(long, default_value = "asked for")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the model that the champion replaced the champion again
    Rollback {
        /// Why, for those who will look at the decision
        #[arg(long, default_value = "asked for")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Whose answer to look for.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["offset", "time"])))]
pub struct AnsweredArgs {
    /// The input record's partition
    #[arg(long, value_name = "N", requires = "offset")]
    pub partition: Option<i32>,
    /// The input record's offset
    #[arg(long, value_name = "N", requires = "partition")]
    pub offset: Option<i64>,
    /// From when on to look, such as 2026-11-23T06:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "partition")]
    pub time: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which dead letters to send back, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct RedriveArgs {
    /// Only those with this reason, such as missing_feature; may repeat
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<String>,
    /// Only those that came from this partition; may repeat
    #[arg(long, value_name = "N")]
    pub partition: Vec<i32>,
    /// Only those created at this time or later, such as 2026-11-23T06:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only those created before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Only show what would be sent back
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
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
