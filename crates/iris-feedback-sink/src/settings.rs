//! The settings that the sink uses.

use std::fmt;

use iris_core::{ImpossibleSetting, Section};
use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

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

/// Where feedback is stored. Neither `Debug` nor `Serialize` shows a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedbackSinkSettings {
    /// The database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[serde(serialize_with = "without_password")]
    pub store: String,
    /// The consumer group under which the sink's progress is shown.
    pub group_id: String,
}

impl Default for FeedbackSinkSettings {
    fn default() -> Self {
        Self {
            store: "sqlite://feedback.db".to_owned(),
            group_id: "iris-feedback-sink".to_owned(),
        }
    }
}

impl fmt::Debug for FeedbackSinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = hide_password(&self.store);
        f.debug_struct("FeedbackSinkSettings")
            .field("store", &store)
            .field("group_id", &self.group_id)
            .finish()
    }
}

fn without_password<S: Serializer>(store: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hide_password(store))
}

/// A database's URL, fit to be shown.
pub(crate) fn hide_password(store: &str) -> String {
    match Url::parse(store) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("hidden")) {
            Ok(()) => url.into(),
            Err(()) => "hidden".to_owned(),
        },
        _ => store.to_owned(),
    }
}

impl Section for FeedbackSinkSettings {
    const NAME: &'static str = "feedback_sink";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        let is_known = ["sqlite:", "postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.store.starts_with(scheme));
        if !is_known {
            let problem = format!(
                "is `{}`: allowed are sqlite://FILE and postgres://USER:PASSWORD@HOST/DATABASE",
                hide_password(&self.store)
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let store = "postgres://iris:swordfish@db.example:5432/feedback".to_owned();
        let settings = FeedbackSinkSettings {
            store,
            ..FeedbackSinkSettings::default()
        };
        settings.validate().unwrap();
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).unwrap());
        assert!(!shown.contains("swordfish"), "{shown}");
        assert!(
            shown.contains("postgres://iris:hidden@db.example:5432/feedback"),
            "{shown}"
        );
    }

    #[test]
    fn other_databases_are_refused() {
        let settings = FeedbackSinkSettings {
            store: "mysql://x".to_owned(),
            ..FeedbackSinkSettings::default()
        };
        assert_eq!(
            settings.validate().unwrap_err().to_string(),
            "store is `mysql://x`: allowed are sqlite://FILE and postgres://USER:PASSWORD@HOST/DATABASE"
        );
    }
}
