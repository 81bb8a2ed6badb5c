//! The settings of `iris-admin`.

use iris_contract::Topics;
use iris_contract::rights::Names;
use iris_core::ModelSettings;
use iris_kafka::KafkaSettings;
use iris_registry::RegistrySettings;
use iris_service::settings::{CommonArgs, Sources};
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::Serialize;

use crate::acls::names::names;

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
    /// The settings of the model that `models adopt` fits.
    #[serde(skip)]
    pub first_model: FirstModelSettings,
    /// The settings of the services that decide which rights they need.
    #[serde(skip)]
    pub names: Names,
}

/// The settings of the model that is fitted to the dataset.
#[derive(Clone, Debug, Default)]
pub struct FirstModelSettings {
    /// The dataset.
    pub dataset: DatasetSettings,
    /// How the model is fitted.
    pub model: ModelSettings,
}

impl Settings {
    /// Loads the settings from all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, its source and the allowed values.
    pub fn load(args: &CommonArgs) -> Result<Self, UsageError> {
        let sources = Sources::collect(args, [])?;
        let kafka: KafkaSettings = sources.section()?;
        Ok(Self {
            names: names(
                kafka.name_prefix.clone(),
                sources.excerpt("classifier")?,
                sources.excerpt("feedback_sink")?,
            ),
            kafka,
            topics: sources.section()?,
            registry: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
            first_model: FirstModelSettings {
                dataset: sources.section()?,
                model: sources.section()?,
            },
        })
    }
}
