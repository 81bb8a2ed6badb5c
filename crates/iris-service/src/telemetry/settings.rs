//! The settings `telemetry.*`.

use std::net::SocketAddr;
use std::str::FromStr;

use iris_core::{InvalidSetting, Section, one_of};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The settings `telemetry.*`: logs, the health and metrics endpoint, and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// A filter in tracing's syntax, such as `info` or `info,iris_kafka=debug`.
    pub log: String,
    /// The format of log lines.
    #[serde(deserialize_with = "one_of")]
    pub format: LogFormat,
    /// The address of the health and metrics endpoint, as `host:port`; empty for none.
    pub http_addr: String,
    /// The HTTP address of the OTLP collector that receives spans, as `http://host:4318` or `https://host:4318`; empty for
    /// none.
    pub otlp_endpoint: String,
    /// A file with the certificate authorities of an https collector, in PEM format; empty for those of the system.
    pub otlp_ca: String,
    /// The ratio of records for which the producer starts a trace, from 0 to 1.
    pub trace_sample_ratio: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            format: LogFormat::Text,
            http_addr: String::new(),
            otlp_endpoint: String::new(),
            otlp_ca: String::new(),
            trace_sample_ratio: 1.0,
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Plain text.
    Text,
    /// One JSON object per line.
    Json,
}

impl Section for TelemetrySettings {
    const NAME: &'static str = "telemetry";

    fn validate(&self) -> Result<(), InvalidSetting> {
        if let Err(error) = EnvFilter::try_new(&self.log) {
            let problem = format!(
                "is `{}`: {error}; allowed is a filter such as info or iris_kafka=debug",
                self.log
            );
            return Err(InvalidSetting::new("log", problem));
        }
        if !self.http_addr.is_empty() && SocketAddr::from_str(&self.http_addr).is_err() {
            let problem = format!(
                "is `{}`: allowed is an address and a port, such as 127.0.0.1:9100",
                self.http_addr
            );
            return Err(InvalidSetting::new("http_addr", problem));
        }
        if let Some(problem) = problem_of_collector(&self.otlp_endpoint) {
            return Err(InvalidSetting::new("otlp_endpoint", problem));
        }
        if !(0.0..=1.0).contains(&self.trace_sample_ratio) {
            let problem = format!("is {}: allowed is 0 to 1", self.trace_sample_ratio);
            return Err(InvalidSetting::new("trace_sample_ratio", problem));
        }
        Ok(())
    }
}

/// Returns the problem of a collector's address; `None` if it can be used. The address is not repeated: it may have a secret.
fn problem_of_collector(address: &str) -> Option<&'static str> {
    if address.is_empty() {
        return None;
    }
    if address.contains(['@', '?', '#']) {
        return Some(
            "has a user name, a password or parameters, which logs would show: leave them out, and set the environment \
             variable OTEL_EXPORTER_OTLP_HEADERS, such as authorization=Basic%20...",
        );
    }
    let host = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    host.unwrap_or_default().is_empty().then_some(
        "is not an http or https address: allowed is the address of a collector's HTTP receiver, such as http://localhost:4318",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_setting_is_refused() {
        TelemetrySettings::default().validate().unwrap();
        let filter = TelemetrySettings {
            log: "iris=loud".to_owned(),
            ..TelemetrySettings::default()
        };
        assert_eq!(filter.validate().unwrap_err().key, "log");
        for (address, problem) in [
            ("https://iris:swordfish@collector:4318", "has a user name"),
            ("http://collector:4318?key=swordfish", "has a user name"),
            ("collector:4318", "is not an http or https address"),
            ("http://", "is not an http or https address"),
            ("https://", "is not an http or https address"),
        ] {
            let settings = TelemetrySettings {
                otlp_endpoint: address.to_owned(),
                ..TelemetrySettings::default()
            };
            let refused = settings.validate().unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("otlp_endpoint {problem}")),
                "{refused}"
            );
            assert!(!refused.contains("swordfish"), "{refused}");
        }
        let secure = TelemetrySettings {
            otlp_endpoint: "https://collector:4318".to_owned(),
            ..TelemetrySettings::default()
        };
        secure.validate().unwrap();
        let address = TelemetrySettings {
            http_addr: "9100".to_owned(),
            ..TelemetrySettings::default()
        };
        assert_eq!(
            address.validate().unwrap_err().to_string(),
            "http_addr is `9100`: allowed is an address and a port, such as 127.0.0.1:9100"
        );
    }
}
