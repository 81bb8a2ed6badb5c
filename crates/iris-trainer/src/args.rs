//! The command line.

use clap::Parser;
use iris_service::settings::{CommonArgs, Flag};

/// Learns from feedback and labels, and decides which model is the champion.
#[derive(Debug, Parser)]
#[command(
    name = "iris-trainer",
    version,
    about,
    after_help = "Examples:\n  iris-trainer --bootstrap-servers localhost:9092\n  iris-trainer --once"
)]
pub struct Args {
    /// The flags that every binary has.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Learn from what there is, and end
    #[arg(long)]
    pub once: bool,
    /// Train a challenger after this many rows to learn
    #[arg(long, value_name = "N")]
    pub every_rows: Option<u64>,
}

impl Args {
    /// The settings that the flags give.
    #[must_use]
    pub fn flags(&self) -> [Option<Flag>; 1] {
        [Flag::new(
            "--every-rows",
            "trainer.every_rows",
            self.every_rows,
        )]
    }
}
