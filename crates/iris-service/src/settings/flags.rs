//! Flags as a source of settings.

use std::path::PathBuf;

use clap::Args;
use config::{Value, ValueKind};

/// The flags that every binary has.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", env = "IRIS_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Print the effective settings, secrets hidden, and exit
    #[arg(long, global = true)]
    pub print_config: bool,
    /// Brokers to connect to first, as host:port, separated by commas
    #[arg(long, value_name = "HOST:PORT", global = true)]
    pub bootstrap_servers: Option<String>,
    /// Exit with code 1 if no broker answers at start, instead of waiting for one
    #[arg(long, global = true)]
    pub no_wait: bool,
}

/// A setting that a flag sets.
#[derive(Clone, Debug)]
pub struct Flag {
    pub(super) name: &'static str,
    pub(super) key: &'static str,
    pub(super) value: Value,
}

impl CommonArgs {
    /// Returns the settings that these flags set.
    pub(super) fn flags(&self) -> [Option<Flag>; 2] {
        [
            Flag::new(
                "--bootstrap-servers",
                "kafka.bootstrap_servers",
                self.bootstrap_servers.clone(),
            ),
            Flag::new(
                "--no-wait",
                "service.wait_for_broker",
                self.no_wait.then_some(false),
            ),
        ]
    }
}

impl Flag {
    /// Returns the flag `name`, which sets `key`; `None` if the flag is absent.
    pub fn new(
        name: &'static str,
        key: &'static str,
        value: Option<impl Into<ValueKind>>,
    ) -> Option<Self> {
        value.map(|value| Self {
            name,
            key,
            value: Value::new(None, value),
        })
    }
}
