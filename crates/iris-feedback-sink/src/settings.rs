//! The settings that the sink uses.

use iris_core::{ImpossibleSetting, Section};
use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, StoreUrl, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-feedback-sink`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// What a record's fields mean.
    pub dataset: DatasetSettings,
    /// Where feedback is stored.
    pub feedback_sink: FeedbackSinkSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the endpoint.
    pub telemetry: TelemetrySettings,
}

/// Where feedback is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedbackSinkSettings {
    /// The database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub store: StoreUrl,
    /// The consumer group under which the sink's progress is shown.
    pub group_id: String,
}

impl Default for FeedbackSinkSettings {
    fn default() -> Self {
        Self {
            store: "sqlite://feedback.db".into(),
            group_id: "iris-feedback-sink".to_owned(),
        }
    }
}

impl Section for FeedbackSinkSettings {
    const NAME: &'static str = "feedback_sink";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        if let Some(problem) = self.store.problem() {
            return Err(ImpossibleSetting::new("store", problem));
        }
        if self.group_id.is_empty() {
            return Err(ImpossibleSetting::new(
                "group_id",
                "is empty: allowed is any name",
            ));
        }
        Ok(())
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
            feedback_sink: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
        })
    }
}
