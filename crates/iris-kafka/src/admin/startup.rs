//! What every service does before its first record: find the cluster, and the topics it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use iris_core::ImpossibleSetting;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::client::config;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;
use crate::pause::pause;

/// How long one attempt to reach a broker may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long to look for what the client says of a failed attempt.
const EVENTS_TIMEOUT: Duration = Duration::from_millis(20);

/// A topic that a service uses, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What the service does with it: "read" or "write".
    pub operation: &'a str,
    /// The partitions that it must have at least.
    pub partitions: usize,
}

/// Why a service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The settings are not usable.
    #[error("kafka.{0}")]
    Settings(#[from] ImpossibleSetting),
    /// The client cannot be made.
    #[error("cannot create a client")]
    Client(#[source] KafkaError),
    /// No broker answers, and the service is not to wait.
    #[error(
        "no broker at {bootstrap_servers}: {cause}; start one, or name another with --bootstrap-servers"
    )]
    NoBroker {
        /// The address.
        bootstrap_servers: String,
        /// Why.
        cause: String,
    },
    /// A topic does not exist.
    #[error(
        "cannot {operation} topic `{topic}`: it does not exist; create it with `iris-admin topics create`"
    )]
    NoSuchTopic {
        /// The topic.
        topic: String,
        /// What it is needed for.
        operation: String,
    },
    /// A topic has too few partitions.
    #[error(
        "cannot {operation} topic `{topic}`: it has {found} partitions and {wanted} are needed; delete it and create \
         it anew with `iris-admin topics delete --yes` and `iris-admin topics create`, or add partitions to it"
    )]
    TooFewPartitions {
        /// The topic.
        topic: String,
        /// What it is needed for.
        operation: String,
        /// The partitions that it has.
        found: usize,
        /// The partitions that are needed.
        wanted: usize,
    },
    /// The user may not see a topic.
    #[error(
        "cannot {operation} topic `{topic}`: not authorised; `iris-admin topics describe` shows what the user may see"
    )]
    NotAuthorised {
        /// The topic.
        topic: String,
        /// What it is needed for.
        operation: String,
    },
}

/// The cluster as it was found when a service started: each topic with its number of partitions, or why it cannot be seen.
#[derive(Clone, Debug)]
pub struct Cluster {
    topics: BTreeMap<String, Result<usize, RDKafkaErrorCode>>,
}

impl From<&Metadata> for Cluster {
    fn from(metadata: &Metadata) -> Self {
        let topics = metadata.topics().iter().map(|topic| {
            let found = match topic.error().map(RDKafkaErrorCode::from) {
                Some(
                    refused @ (RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::UnknownTopicOrPartition),
                ) => Err(refused),
                // A leader that is about to be elected, for instance, keeps no service from starting.
                _ => Ok(topic.partitions().len()),
            };
            (topic.name().to_owned(), found)
        });
        Self {
            topics: topics.collect(),
        }
    }
}

impl Cluster {
    /// Waits until a broker answers. Each attempt that fails logs one warning with the address and the cause, and is
    /// told to `waiting`. `None` if `stop` was cancelled meanwhile.
    ///
    /// # Errors
    /// [`StartupError`] if the settings are not usable or, with `wait` false, the first attempt fails.
    pub fn find(
        settings: &KafkaSettings,
        service: &str,
        wait: bool,
        stop: &CancellationToken,
        waiting: &mut dyn FnMut(String),
    ) -> Result<Option<Self>, StartupError> {
        let bootstrap_servers = &settings.bootstrap_servers;
        let client: BaseConsumer<ClientEvents> = config::admin(settings, service)?
            .create_with_context(ClientEvents::new(settings))
            .map_err(StartupError::Client)?;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times()
            .build();
        let mut attempt = 1_u32;
        while !stop.is_cancelled() {
            let error = match client.fetch_metadata(None, ATTEMPT_TIMEOUT) {
                Ok(metadata) => {
                    if attempt > 1 {
                        info!("connected to {bootstrap_servers}");
                    }
                    return Ok(Some(Self::from(&metadata)));
                }
                Err(error) => error,
            };
            // Serves the client's events, which say more than that the request failed.
            while client.poll(EVENTS_TIMEOUT).is_some() {}
            let cause = client
                .context()
                .client_health
                .latest_error()
                .unwrap_or_else(|| error.to_string());
            if !wait {
                return Err(StartupError::NoBroker {
                    bootstrap_servers: bootstrap_servers.clone(),
                    cause,
                });
            }
            let delay = delays.next().unwrap_or_default();
            warn!(
                "no broker at {bootstrap_servers} (attempt {attempt}): {cause}; trying again in {} ms",
                delay.as_millis()
            );
            waiting(format!("no broker at {bootstrap_servers}: {cause}"));
            attempt = attempt.saturating_add(1);
            pause(delay, stop);
        }
        Ok(None)
    }

    /// Checks that a topic is there; returns how many partitions it has.
    ///
    /// # Errors
    /// [`StartupError`] that names the topic, the operation and the command that helps.
    pub fn require(&self, need: Need<'_>) -> Result<usize, StartupError> {
        let (topic, operation) = (need.topic.to_owned(), need.operation.to_owned());
        match self.topics.get(need.topic) {
            Some(&Ok(found)) if found < need.partitions => Err(StartupError::TooFewPartitions {
                topic,
                operation,
                found,
                wanted: need.partitions,
            }),
            Some(&Ok(found)) => Ok(found),
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                Err(StartupError::NotAuthorised { topic, operation })
            }
            Some(Err(_)) | None => Err(StartupError::NoSuchTopic { topic, operation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::SimulatedCluster;

    /// What is said of a need on a cluster with a topic of 3 partitions, one that was deleted and one that may not be seen.
    fn answer(topic: &str, operation: &str, partitions: usize) -> Result<usize, String> {
        let cluster = Cluster {
            topics: [
                ("input", Ok(3)),
                ("deleted", Err(RDKafkaErrorCode::UnknownTopicOrPartition)),
                ("secret", Err(RDKafkaErrorCode::TopicAuthorizationFailed)),
            ]
            .map(|(topic, found)| (topic.to_owned(), found))
            .into(),
        };
        let need = Need {
            topic,
            operation,
            partitions,
        };
        cluster.require(need).map_err(|error| error.to_string())
    }

    #[test]
    fn a_topic_with_enough_partitions_is_accepted_and_all_of_them_are_counted() {
        assert_eq!(answer("input", "read", 1), Ok(3));
        assert_eq!(answer("input", "read", 3), Ok(3));
    }

    #[test]
    fn each_obstacle_names_the_topic_the_operation_and_the_command_that_helps() {
        let missing = |operation, topic| {
            Err(format!(
                "cannot {operation} topic `{topic}`: it does not exist; create it with `iris-admin topics create`"
            ))
        };
        assert_eq!(answer("other", "read", 1), missing("read", "other"));
        assert_eq!(answer("deleted", "write", 1), missing("write", "deleted"));
        let secret = "cannot read topic `secret`: not authorised; `iris-admin topics describe` shows what the user may see";
        assert_eq!(answer("secret", "read", 1), Err(secret.to_owned()));
        let too_few = "cannot write topic `input`: it has 3 partitions and 4 are needed; delete it and create it anew with \
                       `iris-admin topics delete --yes` and `iris-admin topics create`, or add partitions to it";
        assert_eq!(answer("input", "write", 4), Err(too_few.to_owned()));
    }

    #[test]
    fn a_missing_broker_is_named_with_its_address_the_cause_and_what_to_do() {
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
    fn a_cluster_that_answers_is_found_with_its_topics() {
        let simulated = SimulatedCluster::new(1, &["input", "output"]);
        let stop = CancellationToken::new();
        let waiting = &mut |cause| panic!("{cause}");
        let found = Cluster::find(&simulated.settings, "test", true, &stop, waiting).unwrap();
        let need = |topic| Need {
            topic,
            operation: "read",
            partitions: 1,
        };
        let found = found.unwrap();
        assert_eq!(found.require(need("output")).unwrap(), 1);
        assert!(found.require(need("other")).is_err());
    }

    #[test]
    fn nobody_is_asked_once_the_service_is_stopped() {
        let stop = CancellationToken::new();
        stop.cancel();
        let waiting = &mut |cause| panic!("{cause}");
        let found = Cluster::find(&KafkaSettings::default(), "test", false, &stop, waiting);
        assert!(found.unwrap().is_none());
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_before_anybody_is_asked() {
        let mut settings = KafkaSettings::default();
        settings
            .librdkafka
            .insert("no.such.property".to_owned(), "x".into());
        let (stop, waiting) = (CancellationToken::new(), &mut |cause| panic!("{cause}"));
        let refused = Cluster::find(&settings, "test", true, &stop, waiting).unwrap_err();
        assert!(matches!(refused, StartupError::Client(_)), "{refused:?}");
    }
}
