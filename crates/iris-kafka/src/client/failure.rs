//! Explains connections that fail because of credentials, certificates or encryption.
//!
//! librdkafka reports such a failure among others, with OpenSSL's code: "Connection refused" may follow it at once, because a
//! name has a second address. Here it is kept until the broker accepts a connection, and worded with the settings to check.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::client::settings::KafkaSettings;

/// How long a failure is kept that is not reported again. librdkafka reports one that repeats at least every 30 s.
const KEPT: Duration = Duration::from_secs(40);

/// How long a diagnosis is valid. A failing connection is tried again every 2 s.
const DIAGNOSIS_VALID: Duration = Duration::from_secs(10);

/// A connection that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The broker, as `host:port`.
    pub(super) broker: String,
    /// The explanation.
    pub(super) text: String,
    /// Whether the broker's certificate was refused, for a reason that librdkafka does not report.
    pub(super) is_unverified: bool,
}

/// The brokers whose connections fail.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, Known>);

#[derive(Debug)]
struct Known {
    text: String,
    noted: Instant,
    diagnosed: Option<Instant>,
}

impl Failures {
    /// Adds a failure. Returns whether its cause should be diagnosed.
    pub(super) fn note(&mut self, failure: Failure) -> bool {
        let previous = self.0.remove(&failure.broker);
        // The diagnosis of the previous failure is shown until there is a new one.
        let (text, diagnosed) = match previous {
            Some(known) if failure.is_unverified && known.diagnosed.is_some() => {
                (known.text, known.diagnosed)
            }
            _ => (failure.text, None),
        };
        let known = Known {
            text,
            noted: Instant::now(),
            diagnosed,
        };
        self.0.insert(failure.broker, known);
        failure.is_unverified && diagnosed.is_none_or(|at| at.elapsed() >= DIAGNOSIS_VALID)
    }

    /// Replaces the explanation of a broker's failure.
    pub(super) fn diagnose(&mut self, broker: &str, text: Option<String>) {
        if let (Some(known), Some(text)) = (self.0.get_mut(broker), text) {
            known.text = text;
            known.diagnosed = Some(Instant::now());
        }
    }

    /// Removes the failure of a broker if it has accepted a connection since, which is this old. Older connections prove nothing:
    /// a broker checks credentials when a connection starts.
    pub(super) fn resolve(&mut self, broker: &str, connection: Duration) {
        let is_older = |known: &Known| known.noted.elapsed() >= connection;
        if self.0.get(broker).is_some_and(is_older) {
            self.0.remove(broker);
        }
    }

    /// Returns the explanation of a recent failure.
    pub(super) fn text(&self) -> Option<&str> {
        let recent = self.0.values().find(|known| known.noted.elapsed() < KEPT)?;
        Some(&recent.text)
    }
}

/// Explains an error that librdkafka reports about a broker; `None` if it has another kind of cause.
pub(super) fn explain(
    settings: &KafkaSettings,
    error: &KafkaError,
    reason: &str,
) -> Option<Failure> {
    // A connection that is closed while a client authenticates again says nothing about its credentials.
    if reason.contains("handshake failed: Local: ") {
        return None;
    }
    let broker = broker_of(reason)?.to_owned();
    let code = error.rdkafka_error_code();
    let is_unverified = reason.contains("certificate verify failed");
    let text = if code == Some(RDKafkaErrorCode::Authentication) {
        unauthenticated(settings, &broker, reason)
    } else if is_unverified {
        format!("the certificate of broker {broker} cannot be verified")
    } else if let Some(alert) = alert_of(reason) {
        refused(settings, &broker, alert)
    } else if reason.contains("wrong version number") {
        format!(
            "broker {broker} does not use TLS on this port: check `kafka.security.protocol` and the port"
        )
    } else if code == Some(RDKafkaErrorCode::SSL) {
        format!(
            "the TLS connection to broker {broker} failed: {}",
            detail(reason)
        )
    } else {
        return None;
    };
    Some(Failure {
        broker,
        text,
        is_unverified,
    })
}

/// Returns the address of the broker that an error is about. It starts with the connection's name, such as
/// `sasl_ssl://host:9093/1`, or with the role and the address of a coordinator.
fn broker_of(reason: &str) -> Option<&str> {
    let rest = match reason.split_once("://") {
        Some((_, rest)) => rest,
        None => reason.split_once(": ")?.1,
    };
    let end = rest
        .find('/')
        .into_iter()
        .chain(rest.find(": "))
        .min()
        .unwrap_or(rest.len());
    Some(&rest[..end]).filter(|broker| broker.contains(':'))
}

/// Returns the part of an error that describes it, without the connection's name and state.
fn detail(reason: &str) -> &str {
    let start = ["SASL authentication error: ", "SSL handshake failed: "]
        .iter()
        .find_map(|prefix| Some(reason.find(prefix)? + prefix.len()));
    let text = match start {
        Some(start) => &reason[start..],
        None => reason.split_once(": ").map_or(reason, |(_, text)| text),
    };
    text.split(" (after ").next().unwrap_or(text)
}

/// Explains that a broker did not accept the user or the password.
fn unauthenticated(settings: &KafkaSettings, broker: &str, reason: &str) -> String {
    let security = &settings.security;
    let passed = |names: &[&str]| names.iter().find_map(|name| settings.librdkafka.get(*name));
    let user = passed(&["sasl.username"]).unwrap_or(&security.username);
    let mechanism = passed(&["sasl.mechanism", "sasl.mechanisms"])
        .map_or(security.sasl_mechanism.name(), String::as_str);
    let password = match &security.password_file {
        _ if settings.librdkafka.contains_key("sasl.password") => {
            "`kafka.librdkafka.\"sasl.password\"`".to_owned()
        }
        Some(path) => format!(
            "the password in `{}` (`kafka.security.password_file`)",
            path.display()
        ),
        None => "`kafka.security.password`".to_owned(),
    };
    let detail = match detail(reason) {
        detail if detail.contains("invalid credentials") => "invalid credentials",
        detail => detail.trim_end_matches('.'),
    };
    format!(
        "broker {broker} does not authenticate user `{user}` with {mechanism}: {detail}; check `kafka.security.username` and \
         {password}"
    )
}

/// Returns the name of the TLS alert that a broker has sent, such as `certificate required`.
fn alert_of(reason: &str) -> Option<&str> {
    let start = reason.find(" alert ")? + " alert ".len();
    let alert = &reason[start..];
    alert.split([':', '(']).next().map(str::trim)
}

/// Explains that a broker has ended the handshake with an alert.
fn refused(settings: &KafkaSettings, broker: &str, alert: &str) -> String {
    let is_about_certificate = alert.contains("certificate") || alert.contains("unknown ca");
    match &settings.security.certificate {
        Some(path) if is_about_certificate => format!(
            "broker {broker} refuses the client certificate `{}` (`kafka.security.certificate`): {alert}",
            path.display()
        ),
        None if is_about_certificate => format!(
            "broker {broker} requires a client certificate ({alert}): set `kafka.security.certificate` and \
             `kafka.security.key`"
        ),
        _ => format!("broker {broker} refuses the TLS connection: {alert}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::settings::SecurityProtocol;

    fn explained(code: RDKafkaErrorCode, reason: &str) -> Option<String> {
        let mut settings = KafkaSettings::default();
        settings.security.protocol = SecurityProtocol::SaslSsl;
        settings.security.username = "iris".to_owned();
        settings.security.password_file = Some("/run/password".into());
        let failure = explain(&settings, &KafkaError::Global(code), reason)?;
        assert_eq!(failure.broker, "localhost:9093", "{reason}");
        Some(failure.text)
    }

    #[test]
    fn a_user_that_is_not_authenticated_is_named_with_the_setting_of_the_password() {
        let expected = "broker localhost:9093 does not authenticate user `iris` with SCRAM-SHA-512: invalid credentials; \
                        check `kafka.security.username` and the password in `/run/password` \
                        (`kafka.security.password_file`)";
        for name in [
            "sasl_ssl://localhost:9093/bootstrap",
            "GroupCoordinator: localhost:9093",
        ] {
            let reason = format!(
                "{name}: SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism \
                 SCRAM-SHA-512 (after 312ms in state AUTH_REQ)"
            );
            let text = explained(RDKafkaErrorCode::Authentication, &reason);
            assert_eq!(text.as_deref(), Some(expected));
        }
    }

    #[test]
    fn an_alert_of_a_broker_says_which_certificate_it_wants() {
        let reason = "ssl://localhost:9093/1: Receive failed: ssl/record/rec_layer_s3.c:1605: error:0A00045C:SSL \
                      routines::tlsv13 alert certificate required: SSL alert number 116 (after 4ms in state UP)";
        assert_eq!(
            explained(RDKafkaErrorCode::BrokerTransportFailure, reason).as_deref(),
            Some(
                "broker localhost:9093 requires a client certificate (certificate required): set \
                 `kafka.security.certificate` and `kafka.security.key`"
            )
        );
    }

    #[test]
    fn other_errors_are_not_explained() {
        let reason = "ssl://localhost:9093/1: Connect to ipv6#[::1]:9093 failed: Connection refused (after 0ms in state \
                      CONNECT)";
        assert_eq!(
            explained(RDKafkaErrorCode::BrokerTransportFailure, reason),
            None
        );
        let reason = "sasl_ssl://localhost:9093/1: SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport \
                      failure: broker's supported mechanisms: (n/a)";
        assert_eq!(explained(RDKafkaErrorCode::Authentication, reason), None);
        assert_eq!(
            explained(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down"),
            None
        );
    }

    #[test]
    fn a_failure_is_kept_until_the_broker_accepts_a_connection() {
        let failure = |broker: &str, text: &str| Failure {
            broker: broker.to_owned(),
            text: text.to_owned(),
            is_unverified: true,
        };
        let mut failures = Failures::default();
        assert!(failures.note(failure("a:1", "unverified")));
        assert_eq!(failures.text(), Some("unverified"));
        failures.diagnose("a:1", Some("expired".to_owned()));
        assert!(!failures.note(failure("a:1", "unverified")));
        assert_eq!(failures.text(), Some("expired"));
        failures.resolve("b:1", Duration::ZERO);
        failures.resolve("a:1", Duration::from_secs(5));
        assert_eq!(failures.text(), Some("expired"));
        failures.resolve("a:1", Duration::ZERO);
        assert_eq!(failures.text(), None);
    }
}
