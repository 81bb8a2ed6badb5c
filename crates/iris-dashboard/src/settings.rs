//! The settings of the dashboard.

use std::net::SocketAddr;
use std::path::PathBuf;

use iris_contract::Topics;
use iris_core::{ImpossibleSetting, Section};
use iris_feedback_store::StoreUrl;
use iris_kafka::KafkaSettings;
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-dashboard`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// The connection to the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// The record's fields.
    pub dataset: DatasetSettings,
    /// The page.
    pub dashboard: DashboardSettings,
    /// Start and stop.
    pub service: ServiceSettings,
    /// Logs, traces and the endpoint of health and metrics.
    pub telemetry: TelemetrySettings,
}

/// The page: its address and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardSettings {
    /// The address of the page, as `address:port`.
    pub listen: String,
    /// The feedback store whose table is shown; empty for none.
    pub store: StoreUrl,
    /// A file that contains the password of the database's user; a line break at its end is ignored.
    pub store_password_file: Option<PathBuf>,
    /// The length of the history that figures cover, in milliseconds.
    pub history_ms: u64,
    /// The maximum number of browser tabs that are updated at the same time.
    pub max_clients: usize,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            store: StoreUrl::default(),
            store_password_file: None,
            history_ms: 86_400_000,
            max_clients: 100,
        }
    }
}

impl Section for DashboardSettings {
    const NAME: &'static str = "dashboard";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        if self.listen.parse::<SocketAddr>().is_err() {
            let problem = format!(
                "is `{}`: allowed is an address and a port, such as 127.0.0.1:8080",
                self.listen
            );
            return Err(ImpossibleSetting::new("listen", problem));
        }
        self.store()?;
        if self.history_ms < 1_000 {
            let problem = format!("is {}: allowed is 1000 or more", self.history_ms);
            return Err(ImpossibleSetting::new("history_ms", problem));
        }
        ImpossibleSetting::if_zero("max_clients", self.max_clients as u64)
    }
}

impl DashboardSettings {
    /// Returns the address of the feedback store, with the password of `store_password_file` if that is set.
    ///
    /// # Errors
    /// [`ImpossibleSetting`] if the address cannot be used, or the file cannot be read.
    pub fn store(&self) -> Result<StoreUrl, ImpossibleSetting> {
        if self.store.is_empty() && self.store_password_file.is_none() {
            return Ok(StoreUrl::default());
        }
        self.store
            .with_password_file(self.store_password_file.as_deref())
    }

    /// Returns the length of the history, in seconds.
    #[must_use]
    pub fn history_s(&self) -> i64 {
        i64::try_from(self.history_ms / 1_000).unwrap_or(i64::MAX)
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
            dashboard: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_rejected_with_their_key() {
        DashboardSettings::default().validate().unwrap();
        let refusal = |change: fn(&mut DashboardSettings)| {
            let mut settings = DashboardSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(|settings| settings.listen = "8080".to_owned()),
            "listen is `8080`: allowed is an address and a port, such as 127.0.0.1:8080"
        );
        assert!(
            refusal(|settings| settings.store = "x".into()).starts_with("store is not the address")
        );
        assert!(
            refusal(|settings| settings.store_password_file = Some("x".into()))
                .starts_with("store is empty"),
        );
        assert_eq!(
            refusal(|settings| settings.history_ms = 999),
            "history_ms is 999: allowed is 1000 or more"
        );
    }
}
