//! The command line.

use clap::Parser;
use iris_service::settings::{CommonArgs, Flag};

/// Learns from predictions and late labels, and decides which model is the champion.
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
    /// Learn from the existing records, then exit
    #[arg(long)]
    pub once: bool,
    /// Train a challenger after this many new rows to learn
    #[arg(long, value_name = "N")]
    pub retrain_after_rows: Option<u64>,
    /// The old name of `--retrain-after-rows`, which is refused with the new one
    #[arg(long, value_name = "N", hide = true)]
    pub every_rows: Option<u64>,
}

impl Args {
    /// Returns the settings that the flags give.
    #[must_use]
    pub fn flags(&self) -> [Option<Flag>; 2] {
        [
            Flag::new(
                "--retrain-after-rows",
                "trainer.retrain_after_rows",
                self.retrain_after_rows,
            ),
            Flag::new("--every-rows", "trainer.every_rows", self.every_rows),
        ]
    }
}
