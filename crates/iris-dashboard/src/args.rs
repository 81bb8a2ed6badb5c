//! The command line.

use clap::Parser;
use iris_service::settings::{CommonArgs, Flag};

/// Shows the running pipeline: one live page, and the same figures as JSON.
#[derive(Debug, Parser)]
#[command(
    name = "iris-dashboard",
    version,
    about,
    after_help = "Examples:\n  iris-dashboard --bootstrap-servers localhost:9092\n  \
                  iris-dashboard --listen 127.0.0.1:8081 --store sqlite://feedback.db"
)]
pub struct Args {
    /// The flags of every binary.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The address of the page
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// The feedback store to show: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

impl Args {
    /// Returns the settings that the flags override.
    #[must_use]
    pub fn flags(&self) -> [Option<Flag>; 2] {
        [
            Flag::new("--listen", "dashboard.listen", self.listen.clone()),
            Flag::new("--store", "dashboard.store", self.store.clone()),
        ]
    }
}
