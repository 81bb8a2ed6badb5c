//! What every service does before its first record: find the cluster, and the topics it needs.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use iris_core::ImpossibleSetting;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::connection::ClientEvents;
use crate::pause::pause;
use crate::settings::KafkaSettings;

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

/// The cluster as it was found when a service started.
#[derive(Debug)]
pub struct Cluster {
    metadata: Metadata,
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
        let mut config: ClientConfig = settings.client_config(service)?;
        settings.pass_through(&mut config);
        let client: BaseConsumer<ClientEvents> = config
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
                    return Ok(Some(Self { metadata }));
                }
                Err(error) => error,
            };
            // Serves the client's events, which say more than that the request failed.
            while client.poll(EVENTS_TIMEOUT).is_some() {}
            let cause = client
                .context()
                .connection
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
        let topic = need.topic.to_owned();
        let operation = need.operation.to_owned();
        let Some(found) = self
            .metadata
            .topics()
            .iter()
            .find(|found| found.name() == need.topic)
        else {
            return Err(StartupError::NoSuchTopic { topic, operation });
        };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                Err(StartupError::NotAuthorised { topic, operation })
            }
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
                Err(StartupError::NoSuchTopic { topic, operation })
            }
            _ if found.partitions().len() < need.partitions => {
                Err(StartupError::TooFewPartitions {
                    topic,
                    operation,
                    found: found.partitions().len(),
                    wanted: need.partitions,
                })
            }
            _ => Ok(found.partitions().len()),
        }
    }
}
