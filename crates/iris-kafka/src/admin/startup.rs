//! Connects to the cluster and checks the topics, as every service does before its first record.

use std::time::Duration;

use iris_core::InvalidSetting;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::configs;
pub use crate::admin::needs::{Cluster, Need, Operation, TopicError};
use crate::client::config;
use crate::client::connected::Connected;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;
use crate::pause::{Backoff, pause};
use crate::rights::{MissingRights, Rights};

/// How long one attempt to reach a broker may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to wait for the client's error after a failed attempt.
const EVENTS_TIMEOUT: Duration = Duration::from_millis(20);

/// The error of a service that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Settings(#[from] InvalidSetting),
    /// The client cannot be created.
    #[error("cannot create a client")]
    Client(#[source] KafkaError),
    /// No broker answers, and the service does not wait for one.
    #[error(
        "no broker at {bootstrap_servers}: {cause}; start one, or name another with --bootstrap-servers"
    )]
    NoBroker {
        /// The address.
        bootstrap_servers: String,
        /// The client's error.
        cause: String,
    },
    /// A broker answers, but encryption or authentication fails, and the service does not wait.
    #[error("cannot connect to Kafka: {0}")]
    Connection(String),
    /// The user lacks rights.
    #[error(transparent)]
    Rights(#[from] MissingRights),
    /// A topic does not meet a need.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// Waits until a broker answers, and checks that the topics meet the `needs`. Each failed attempt logs a warning with the
/// address and the cause, and passes the problem to `waiting`, for the service's health. Returns `None` if `stop` was
/// cancelled meanwhile.
///
/// # Errors
/// [`StartupError`] if a setting cannot be used, if the user lacks a right, if a topic does not meet a need or, with `wait`
/// false, if the first attempt fails.
pub fn connect(
    settings: &KafkaSettings,
    service: &str,
    wait: bool,
    stop: &CancellationToken,
    waiting: &mut dyn FnMut(String),
    needs: &[Need<'_>],
) -> Result<Option<Cluster>, StartupError> {
    let Some(cluster) = find(settings, service, wait, stop, waiting)? else {
        return Ok(None);
    };
    if let Some(missing) = Rights::new(settings, service, needs).missing() {
        return Err(missing.into());
    }
    for need in needs {
        cluster.check(need)?;
    }
    configs::check(settings, service, needs)?;
    Ok(Some(cluster))
}

fn find(
    settings: &KafkaSettings,
    service: &str,
    wait: bool,
    stop: &CancellationToken,
    waiting: &mut dyn FnMut(String),
) -> Result<Option<Cluster>, StartupError> {
    let bootstrap_servers = &settings.bootstrap_servers;
    let config = config::admin(settings, service)?;
    let client: Connected<BaseConsumer<ClientEvents>> =
        Connected::new(&config, settings, ClientEvents::new(settings))
            .map_err(StartupError::Client)?;
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
    let mut attempt = 1_u32;
    while !stop.is_cancelled() {
        let error = match client.fetch_metadata(None, ATTEMPT_TIMEOUT) {
            Ok(metadata) => {
                if attempt > 1 {
                    info!("connected to {bootstrap_servers}");
                }
                return Ok(Some(Cluster::from(&metadata)));
            }
            Err(error) => error,
        };
        let cause = latest_error(&client).unwrap_or_else(|| error.to_string());
        let failure = client.context().client_health.failure();
        if !wait {
            return Err(match failure {
                Some(failure) => StartupError::Connection(failure),
                None => StartupError::NoBroker {
                    bootstrap_servers: bootstrap_servers.clone(),
                    cause,
                },
            });
        }
        let problem = match failure {
            Some(_) => "cannot connect to Kafka".to_owned(),
            None => format!("no broker at {bootstrap_servers}"),
        };
        let delay = backoff.next_delay();
        warn!(
            "{problem} (attempt {attempt}): {cause}; trying again in {} ms",
            delay.as_millis()
        );
        waiting(format!("{problem}: {cause}"));
        attempt = attempt.saturating_add(1);
        pause(delay, stop);
    }
    Ok(None)
}

/// Serves the client's events, and returns its latest error: it is more specific than the error of the failed request.
fn latest_error(client: &BaseConsumer<ClientEvents>) -> Option<String> {
    while client.poll(EVENTS_TIMEOUT).is_some() {}
    client.context().client_health.latest_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::SimulatedCluster;

    #[test]
    fn a_missing_broker_is_reported_with_its_address_the_cause_and_a_remedy() {
        let error = StartupError::NoBroker {
            bootstrap_servers: "nowhere:1".to_owned(),
            cause: "refused".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "no broker at nowhere:1: refused; start one, or name another with --bootstrap-servers"
        );
    }

    #[test]
    fn connecting_returns_the_cluster_and_checks_its_topics() {
        let simulated = SimulatedCluster::new(1, &["input", "output"]);
        let stop = CancellationToken::new();
        let connect = |needs: &[Need<'_>]| {
            let waiting = &mut |cause| panic!("{cause}");
            connect(&simulated.settings, "test", true, &stop, waiting, needs)
        };
        let found = connect(&[Need::read("input"), Need::write("output")]);
        assert_eq!(found.unwrap().unwrap().partitions("output"), Some(1));
        let missing = connect(&[Need::read("input"), Need::write("other")]).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("cannot write topic `other`: it does not exist"),
            "{missing}"
        );
    }

    #[test]
    fn a_stopped_service_does_not_connect() {
        let stop = CancellationToken::new();
        stop.cancel();
        let waiting = &mut |cause| panic!("{cause}");
        let found = connect(
            &KafkaSettings::default(),
            "test",
            false,
            &stop,
            waiting,
            &[],
        );
        assert!(found.unwrap().is_none());
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_refused_before_connecting() {
        let mut settings = KafkaSettings::default();
        settings
            .librdkafka
            .insert("no.such.property".to_owned(), "x".into());
        let (stop, waiting) = (CancellationToken::new(), &mut |cause| panic!("{cause}"));
        let refused = connect(&settings, "test", true, &stop, waiting, &[]).unwrap_err();
        assert!(matches!(refused, StartupError::Client(_)), "{refused:?}");
    }
}
