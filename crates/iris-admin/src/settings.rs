//! The settings of `iris-admin`.

use iris_contract::Topics;
use iris_contract::rights::Names;
use iris_kafka::KafkaSettings;
use iris_registry::RegistrySettings;
use iris_service::settings::{CommonArgs, Sources};
use iris_service::{ServiceSettings, TelemetrySettings, UsageError};
use serde::Serialize;

use crate::acls::names;

/// All settings of `iris-admin`.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The connection to the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// The bounds of the registry.
    pub registry: RegistrySettings,
    /// Startup: whether to wait for a broker.
    pub service: ServiceSettings,
    /// Logs.
    pub telemetry: TelemetrySettings,
    /// The settings of the services that decide which rights they need.
    #[serde(skip)]
    pub names: Names,
}

impl Settings {
    /// Loads the settings from all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, its source and the allowed values.
    pub fn load(args: &CommonArgs) -> Result<Self, UsageError> {
        let sources = Sources::collect(args, [])?;
        Ok(Self {
            kafka: sources.section()?,
            topics: sources.section()?,
            registry: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
            names: names(
                sources.excerpt("classifier")?,
                sources.excerpt("feedback_sink")?,
            ),
        })
    }
}
