//! The settings of the producer.

use std::time::Duration;

use iris_contract::Topics;
use iris_core::{InvalidSetting, Section};
use iris_kafka::KafkaSettings;
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-producer`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// The cluster and the client.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// The dataset to stream.
    pub dataset: DatasetSettings,
    /// The pace of streaming.
    pub producer: ProducerSettings,
    /// Start and stop.
    pub service: ServiceSettings,
    /// Logs, metrics and traces.
    pub telemetry: TelemetrySettings,
}

/// The settings `producer.*`: how rows are streamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProducerSettings {
    /// The milliseconds between records; 0 to send as fast as the cluster accepts them.
    pub interval_ms: u64,
    /// The number of times that the file is streamed.
    pub rounds: u64,
    /// The column whose value is the record's key; empty for no key, with the partitions used in turn.
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

    fn validate(&self) -> Result<(), InvalidSetting> {
        InvalidSetting::if_zero("rounds", self.rounds)
    }
}

impl ProducerSettings {
    /// Returns the time between records.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }
}

impl Settings {
    /// Collects the settings of all sources.
    ///
    /// # Errors
    /// [`UsageError`] with the key, its source and the allowed values.
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
