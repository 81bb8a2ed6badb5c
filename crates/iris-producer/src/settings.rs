//! The settings that the producer uses.

use std::time::Duration;

use iris_core::{ImpossibleSetting, Section};
use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-producer`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// What to stream.
    pub dataset: DatasetSettings,
    /// How to stream it.
    pub producer: ProducerSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the endpoint.
    pub telemetry: TelemetrySettings,
}

/// How rows are streamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProducerSettings {
    /// Milliseconds between records; 0 sends as fast as the cluster takes them.
    pub interval_ms: u64,
    /// How often the file is streamed.
    pub rounds: u64,
    /// The column whose value is the record's key; empty for none, with the partitions taken in turn.
    pub key: String,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            interval_ms: 100,
            rounds: 1,
            key: String::new(),
        }
    }
}

impl Section for ProducerSettings {
    const NAME: &'static str = "producer";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        ImpossibleSetting::if_zero("rounds", self.rounds)
    }
}

impl ProducerSettings {
    /// The time between records.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Settings {
    /// Collects the settings of all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, where it came from and what is allowed.
    pub fn load(args: &Args) -> Result<Self, UsageError> {
        let sources = Sources::collect(&args.common, args.flags())?;
        Ok(Self {
            kafka: sources.section()?,
            topics: sources.section()?,
            dataset: sources.section()?,
            producer: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
        })
    }
}
