//! The settings that administration uses.

use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::{CommonArgs, Sources};
use iris_service::{ServiceSettings, TelemetrySettings, UsageError};
use serde::Serialize;

/// All settings of `iris-admin`.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// Whether to wait for a broker.
    pub service: ServiceSettings,
    /// Logs.
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// Collects the settings of all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, where it came from and what is allowed.
    pub fn load(args: &CommonArgs) -> Result<Self, UsageError> {
        let sources = Sources::collect(args, [])?;
        Ok(Self {
            kafka: sources.section()?,
            topics: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
        })
    }
}
