//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use iris_service::settings::{CommonArgs, Flag};

/// Stores the feedback topic in SQLite or PostgreSQL, each record once.
#[derive(Debug, Parser)]
#[command(
    name = "iris-feedback-sink",
    version,
    about,
    after_help = "Examples:\n  iris-feedback-sink --store sqlite://feedback.db\n  \
                  iris-feedback-sink list --store sqlite://feedback.db\n  \
                  iris-feedback-sink export --format csv > feedback.csv\n  \
                  iris-feedback-sink migrate --store postgres://owner@localhost/iris"
)]
pub struct Args {
    /// The flags of every binary.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The database: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL", global = true)]
    pub store: Option<String>,
    /// The command; without one, feedback is stored until the service is stopped.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command on the store.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Create or update the tables of the store. The sink does so at its start if its user may create tables
    Migrate,
    /// A command that reads the store.
    #[command(flatten)]
    Listing(Listing),
}

/// A command that reads the store.
#[derive(Clone, Debug, Subcommand)]
pub enum Listing {
    /// Show the newest feedback as a table
    List {
        /// Rows to show
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all feedback to standard output, oldest first
    Export {
        /// The format
        #[arg(long)]
        format: Format,
    },
}

/// A format to export in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, with a header.
    Csv,
    /// A JSON array of objects.
    Json,
}

impl Args {
    /// Returns the settings that the flags override.
    #[must_use]
    pub fn flags(&self) -> [Option<Flag>; 1] {
        [Flag::new(
            "--store",
            "feedback_sink.store",
            self.store.clone(),
        )]
    }
}
