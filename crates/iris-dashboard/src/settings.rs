//! The settings that the dashboard uses.

use std::net::SocketAddr;

use iris_core::{ImpossibleSetting, Section};
use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, StoreUrl, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-dashboard`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// What a record's fields mean.
    pub dataset: DatasetSettings,
    /// What is shown, and where.
    pub dashboard: DashboardSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the endpoint.
    pub telemetry: TelemetrySettings,
}

/// What is shown, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardSettings {
    /// Where the page is served, as `address:port`.
    pub listen: String,
    /// The feedback store whose table is shown; empty for none.
    pub store: StoreUrl,
    /// How far back figures go, in seconds.
    pub history_s: u64,
    /// The most browser tabs that are kept up to date at the same time.
    pub most_clients: usize,
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            store: StoreUrl::default(),
            history_s: 86_400,
            most_clients: 100,
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
        let problem = (!self.store.is_empty()).then(|| self.store.problem());
        if let Some(problem) = problem.flatten() {
            return Err(ImpossibleSetting::new("store", problem));
        }
        ImpossibleSetting::if_zero("history_s", self.history_s)?;
        ImpossibleSetting::if_zero("most_clients", self.most_clients as u64)
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
    fn impossible_settings_are_refused_with_their_key() {
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
        assert!(refusal(|settings| settings.store = "x".into()).starts_with("store is `x`"));
        assert_eq!(
            refusal(|settings| settings.history_s = 0),
            "history_s is 0: allowed is 1 or more"
        );
    }
}
