//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use iris_contract::rights::Role;
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
    /// The flags that all binaries share.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The commands that connect to a cluster.
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Print the rights that each service needs on the cluster; grants nothing
    #[command(
        after_help = "Example: iris-admin acls --for classifier --principal User:classifier | sh"
    )]
    Acls(AclsArgs),
    /// Print this command's completions for a shell: bash, zsh or fish
    #[command(after_help = "Example: source <(iris-admin completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The rights to print.
#[derive(Clone, Debug, clap::Args)]
pub struct AclsArgs {
    /// Only those of this service, or of these commands of iris-admin; may repeat
    #[arg(long = "for", value_name = "SERVICE", value_parser = role())]
    pub roles: Vec<Role>,
    /// The principal that gets the rights, such as User:classifier [default: User:iris-SERVICE]
    #[arg(long, value_name = "TYPE:NAME")]
    pub principal: Option<String>,
    /// The format
    #[arg(long, value_enum, default_value_t = AclsFormat::KafkaAcls)]
    pub format: AclsFormat,
}

/// Returns the parser of a role, which lists the roles in the help and in completions.
fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::name)).try_map(|name| name.parse::<Role>())
}

/// A format of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AclsFormat {
    /// Commands of kafka-acls.sh
    KafkaAcls,
    /// Resources of the kind KafkaUser of the Strimzi operator
    Strimzi,
    /// JSON, with the purpose of each right
    Json,
}

/// The commands that connect to a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Create, describe or delete the topics
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// List models, or decide which one is served
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Send dead letters back to the topic and partition they came from, each once
    #[command(
        after_help = "Example: iris-admin redrive --reason missing_feature --since 2026-11-23T06:00:00Z --dry-run"
    )]
    Redrive(RedriveArgs),
    /// List the open transactions that hold back readers of committed records, or abort one of them
    #[command(
        after_help = "Example: iris-admin transactions --abort --topic predictions_topic_demo2 --partition 0 --producer-id \
                      4001 --start-offset 1250"
    )]
    Transactions(TransactionsArgs),
}

/// The commands about models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the models and the decisions about them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one model: its origin, its metrics and the decisions about it
    Show {
        /// The first digits of its version; the champion if none is given
        version: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which model classified an input record, and classify it again; or which models classified at a time
    #[command(after_help = "Example: iris-admin models answered --partition 0 --offset 14")]
    Answered(AnsweredArgs),
    /// Add the model of the dataset, and make it the champion if there is none, as a classifier does that has the rights for it
    Adopt {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a model in the ONNX format, if it predicts the rows of a file as expected; needs a build with the cargo feature `onnx`
    #[command(after_help = "Example: iris-admin models import model.onnx --check predictions.csv")]
    Import(ImportArgs),
    /// Make a model the champion; every classifier serves it from its next transaction on
    Promote {
        /// The first digits of its version
        version: String,
        /// The reason, which is stored with the decision
        #[arg(long, default_value = "asked for")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete the rows of former champions, except for the newest ones; their descriptions stay
    #[command(after_help = "Example: iris-admin models prune --keep 2 --dry-run")]
    Prune(PruneArgs),
    /// Make the champion's predecessor the champion again
    Rollback {
        /// The reason, which is stored with the decision
        #[arg(long, default_value = "asked for")]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The model to import.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// The model's file: one input of 32-bit floats, one for each feature of the dataset; a label, scores of the classes, or both
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// A CSV file with the dataset's columns of features and its label's column, which has the predictions that are expected
    #[arg(long, value_name = "CSV")]
    pub check: PathBuf,
    /// The names of the model's classes, in the order of its scores [default: the labels that it predicts]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The rows to delete.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PruneArgs {
    /// The number of former champions that keep their rows, besides the champion's predecessor and the first champion [default:
    /// registry.max_retired_models]
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
    /// Only show which rows would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The record or the time to look up.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["offset", "time"])))]
pub struct AnsweredArgs {
    /// The input record's partition
    #[arg(long, value_name = "N", requires = "offset")]
    pub partition: Option<i32>,
    /// The input record's offset
    #[arg(long, value_name = "N", requires = "partition")]
    pub offset: Option<i64>,
    /// The time from which on to look, such as 2026-11-23T06:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "partition")]
    pub time: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The dead letters to send back.
#[derive(Clone, Debug, clap::Args)]
pub struct RedriveArgs {
    /// Only those with this reason, such as missing_feature; may repeat
    #[arg(long, value_name = "REASON")]
    pub reason: Vec<String>,
    /// Only those from this partition; may repeat
    #[arg(long, value_name = "N")]
    pub partition: Vec<i32>,
    /// Only those with this timestamp or a later one, such as 2026-11-23T06:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Only those with an earlier timestamp
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Only show which would be sent back
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The transactions to list, or the one to abort.
#[derive(Clone, Debug, clap::Args)]
pub struct TransactionsArgs {
    /// Look at this topic, which need not be one of the settings; may repeat [default: the topics of the settings]
    #[arg(long, value_name = "TOPIC")]
    pub topic: Vec<String>,
    /// Abort the open transaction that the following flags and --topic name, as the list shows it
    #[arg(long, group = "end", requires_all = ["topic", "partition", "producer_id", "start_offset"])]
    pub abort: bool,
    /// Commit the hanging transaction that the following flags and --topic name
    #[arg(long, group = "end", requires_all = ["topic", "partition", "producer_id", "start_offset"])]
    pub commit: bool,
    /// The partition
    #[arg(long, value_name = "N", requires = "end")]
    pub partition: Option<i32>,
    /// The producer's id
    #[arg(long, value_name = "N", requires = "end")]
    pub producer_id: Option<i64>,
    /// The offset of the transaction's first record
    #[arg(long, value_name = "N", requires = "end")]
    pub start_offset: Option<i64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The commands about topics.
#[derive(Clone, Debug, Subcommand)]
pub enum TopicsCommand {
    /// Create missing topics; existing ones are not changed
    Create {
        /// Only ask the cluster whether it could create them
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the topics' partitions, replicas and watermarks
    Describe {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete the topics and every record in them
    Delete {
        /// Confirm the deletion
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
