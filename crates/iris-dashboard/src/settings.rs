//! The settings of the dashboard.

use std::net::SocketAddr;
use std::path::PathBuf;

use iris_contract::Topics;
use iris_core::{InvalidSetting, Section};
use iris_feedback_store::StoreUrl;
use iris_kafka::KafkaSettings;
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::http::Site;

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
    /// The host names under which the page may be opened, besides `localhost` and every IP address. Requests for another host, or
    /// from the page of another host, are refused.
    #[serde(deserialize_with = "iris_service::settings::list")]
    pub allowed_hosts: Vec<String>,
    /// The path of the page, such as `/iris`, if a proxy serves it below this path and keeps the path in its requests; empty for
    /// none.
    pub base_path: String,
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
            allowed_hosts: Vec::new(),
            base_path: String::new(),
            store: StoreUrl::default(),
            store_password_file: None,
            history_ms: 86_400_000,
            max_clients: 100,
        }
    }
}

impl Section for DashboardSettings {
    const NAME: &'static str = "dashboard";

    fn validate(&self) -> Result<(), InvalidSetting> {
        if self.listen.parse::<SocketAddr>().is_err() {
            let problem = format!(
                "is `{}`: allowed is an address and a port, such as 127.0.0.1:8080",
                self.listen
            );
            return Err(InvalidSetting::new("listen", problem));
        }
        self.check_site()?;
        self.store()?;
        if self.history_ms < 1_000 {
            let problem = format!("is {}: allowed is 1000 or more", self.history_ms);
            return Err(InvalidSetting::new("history_ms", problem));
        }
        InvalidSetting::if_zero("max_clients", self.max_clients as u64)
    }
}

impl DashboardSettings {
    /// Returns the address of the feedback store, with the password of `store_password_file` if that is set.
    ///
    /// # Errors
    /// [`InvalidSetting`] if the address cannot be used, or the file cannot be read.
    pub fn store(&self) -> Result<StoreUrl, InvalidSetting> {
        if self.store.is_empty() && self.store_password_file.is_none() {
            return Ok(StoreUrl::default());
        }
        self.store
            .with_password_file(self.store_password_file.as_deref())
    }

    /// Checks the host names and the path.
    fn check_site(&self) -> Result<(), InvalidSetting> {
        let is_name = |name: &str| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && name.bytes().all(is_allowed)
        };
        if let Some(host) = self.allowed_hosts.iter().find(|host| !is_name(host)) {
            let problem = format!(
                "has `{host}`: allowed are names of hosts without a scheme and a port, such as iris.example.org"
            );
            return Err(InvalidSetting::new("allowed_hosts", problem));
        }
        let path = self.base_path.strip_suffix('/').unwrap_or(&self.base_path);
        let is_path = |path: &str| {
            path.strip_prefix('/')
                .is_some_and(|path| path.split('/').all(is_name))
        };
        if path.is_empty() || is_path(path) {
            return Ok(());
        }
        let problem = format!(
            "is `{}`: allowed is a path of letters, digits, `-`, `.` and `_`, such as /iris",
            self.base_path
        );
        Err(InvalidSetting::new("base_path", problem))
    }

    /// Returns the host names and the path under which the page is served.
    #[must_use]
    pub fn site(&self) -> Site {
        Site::new(&self.allowed_hosts, &self.base_path)
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
        for host in ["", "http://a", "a:80", "a b"] {
            let mut settings = DashboardSettings::default();
            settings.allowed_hosts.push(host.to_owned());
            let problem = settings.validate().unwrap_err().to_string();
            assert!(
                problem.starts_with("allowed_hosts has `"),
                "{host}: {problem}"
            );
        }
        for (path, is_allowed) in [
            ("", true),
            ("/", true),
            ("/iris", true),
            ("/a/b.c/", true),
            ("iris", false),
            ("//iris", false),
            ("/a//", false),
            ("/{a}", false),
            ("/a?b", false),
        ] {
            let base_path = path.to_owned();
            let settings = DashboardSettings {
                base_path,
                ..DashboardSettings::default()
            };
            assert_eq!(settings.validate().is_ok(), is_allowed, "{path}");
        }
        assert_eq!(
            refusal(|settings| settings.history_ms = 999),
            "history_ms is 999: allowed is 1000 or more"
        );
    }
}
