//! The command line.

use std::path::PathBuf;

use clap::Parser;
use iris_service::settings::{CommonArgs, Flag};

/// Streams the rows of a CSV file to Kafka as JSON records.
#[derive(Debug, Parser)]
#[command(
    name = "iris-producer",
    version,
    about,
    after_help = "Example: iris-producer --file data/iris.csv --interval-ms 100 --bootstrap-servers localhost:9092"
)]
pub struct Args {
    /// The flags of every binary.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The CSV file to stream
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Milliseconds between records; 0 sends as fast as the cluster accepts them
    #[arg(long, value_name = "MS")]
    pub interval_ms: Option<u64>,
    /// The number of times to stream the file
    #[arg(long, value_name = "N")]
    pub rounds: Option<u64>,
}

impl Args {
    /// Returns the settings that the flags set.
    #[must_use]
    pub fn flags(&self) -> [Option<Flag>; 3] {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        [
            Flag::new("--file", "dataset.path", file),
            Flag::new("--interval-ms", "producer.interval_ms", self.interval_ms),
            Flag::new("--rounds", "producer.rounds", self.rounds),
        ]
    }
}
