//! The command line.

use clap::Parser;
use iris_service::settings::{CommonArgs, Flag};

/// Classifies a stream of records exactly once and publishes predictions, feedback and dead letters.
#[derive(Debug, Parser)]
#[command(
    name = "iris-classifier",
    version,
    about,
    after_help = "Examples:\n  iris-classifier --bootstrap-servers localhost:9092\n  \
                  iris-classifier --partition 0 --idle-timeout-ms 10000"
)]
pub struct Args {
    /// The flags of every binary.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Read this partition as a consumer group of its own, instead of sharing the topic; may be repeated
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Vec<i32>,
    /// End after this many milliseconds without input; 0 runs until stopped
    #[arg(long, value_name = "MS")]
    pub idle_timeout_ms: Option<u64>,
}

impl Args {
    /// Returns the settings that the flags set.
    #[must_use]
    pub fn flags(&self) -> [Option<Flag>; 2] {
        let partitions = (!self.partition.is_empty()).then(|| self.partition.clone());
        [
            Flag::new("--partition", "classifier.partitions", partitions),
            Flag::new(
                "--idle-timeout-ms",
                "classifier.idle_timeout_ms",
                self.idle_timeout_ms,
            ),
        ]
    }
}
