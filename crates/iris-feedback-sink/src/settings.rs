//! The settings of the sink.

use std::path::PathBuf;

use iris_contract::Topics;
use iris_contract::rights::SINK_GROUP;
use iris_core::{InvalidSetting, Section};
use iris_feedback_store::StoreUrl;
use iris_kafka::KafkaSettings;
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-feedback-sink`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// The connection to the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// The meaning of a record's fields.
    pub dataset: DatasetSettings,
    /// The feedback store.
    pub feedback_sink: FeedbackSinkSettings,
    /// Start and stop.
    pub service: ServiceSettings,
    /// Logs, traces and the endpoint of health and metrics.
    pub telemetry: TelemetrySettings,
}

/// The section `feedback_sink`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedbackSinkSettings {
    /// The database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub store: StoreUrl,
    /// A file that contains the password of the database's user; a line break at its end is ignored.
    pub store_password_file: Option<PathBuf>,
    /// The consumer group. It shows the sink's progress; reading resumes at the store's offsets.
    pub group_id: String,
    /// A name that distinguishes this process from others of its group and survives a restart.
    pub instance: String,
    /// Whether the partitions of a process wait for it while it restarts, instead of being given to others. Needs `instance`.
    pub static_membership: bool,
}

impl Default for FeedbackSinkSettings {
    fn default() -> Self {
        Self {
            store: "sqlite://feedback.db".into(),
            store_password_file: None,
            group_id: SINK_GROUP.to_owned(),
            instance: String::new(),
            static_membership: false,
        }
    }
}

impl Section for FeedbackSinkSettings {
    const NAME: &'static str = "feedback_sink";

    fn validate(&self) -> Result<(), InvalidSetting> {
        self.store()?;
        if self.static_membership && self.instance.is_empty() {
            return Err(InvalidSetting::new(
                "static_membership",
                "is true, but `instance` is empty",
            ));
        }
        if self.group_id.is_empty() {
            return Err(InvalidSetting::new(
                "group_id",
                "is empty: allowed is any name",
            ));
        }
        Ok(())
    }
}

impl FeedbackSinkSettings {
    /// Returns the address of the store, with the password of `store_password_file` if that is set.
    ///
    /// # Errors
    /// [`InvalidSetting`] if the address cannot be used, or the file cannot be read.
    pub fn store(&self) -> Result<StoreUrl, InvalidSetting> {
        self.store
            .with_password_file(self.store_password_file.as_deref())
    }
}

impl Settings {
    /// Merges the settings of all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, its source and the allowed values.
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
