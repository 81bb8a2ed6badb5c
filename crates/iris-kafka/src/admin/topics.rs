//! Creating, describing and deleting topics.

use std::thread;
use std::time::{Duration, Instant};

use iris_core::ImpossibleSetting;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use serde::Serialize;

use crate::client::config;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;

/// How long a request to the cluster may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How often to look whether brokers see a change.
const METADATA_INTERVAL: Duration = Duration::from_millis(50);

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// The replicas of each partition.
    pub replication_factor: i32,
    /// Its configuration, as name and value.
    pub config: Vec<(&'static str, String)>,
}

/// What was done about a topic, or in a dry run would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TopicOutcome {
    /// It was not there and was created.
    Created,
    /// It is there as wanted.
    Unchanged,
    /// It was there and was deleted.
    Deleted,
    /// It was not there to be deleted.
    Absent,
}

/// A topic as it is.
#[derive(Clone, Debug, Serialize)]
pub struct TopicDescription {
    /// Its name.
    pub topic: String,
    /// Whether it exists.
    pub exists: bool,
    /// The replicas of its first partition.
    pub replication_factor: usize,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as it is.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it; -1 for none.
    pub leader: i32,
    /// The brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
    /// Its low watermark.
    pub low_watermark: i64,
    /// Its high watermark.
    pub high_watermark: i64,
}

/// Why an operation on topics failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The settings are not usable.
    #[error("kafka.{0}")]
    Settings(#[from] ImpossibleSetting),
    /// The client cannot be made.
    #[error("cannot create an admin client")]
    Client(#[source] KafkaError),
    /// The cluster did not answer.
    #[error("cannot {operation} topics")]
    Request {
        /// What was asked for.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: KafkaError,
    },
    /// The cluster refused for one topic.
    #[error("cannot {operation} topic `{topic}`: {code}")]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// The topic.
        topic: String,
        /// The cluster's answer.
        code: RDKafkaErrorCode,
    },
    /// The controller has done it, but a broker does not know yet.
    #[error("the cluster took the request to {operation} topics, but does not show it after {} s", timeout.as_secs())]
    NotSeen {
        /// What was asked for.
        operation: &'static str,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// A topic exists with another number of partitions than wanted.
    #[error(
        "topic `{topic}` exists with {found} partitions, but {wanted} are wanted: set topics.partitions to {found}, or \
         delete the topic with `iris-admin topics delete --yes` and create it anew"
    )]
    OtherPartitions {
        /// The topic.
        topic: String,
        /// Its partitions.
        found: usize,
        /// Those that are wanted.
        wanted: i32,
    },
}

/// Administers a cluster's topics.
pub struct Admin {
    client: AdminClient<ClientEvents>,
    reader: BaseConsumer<ClientEvents>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Makes an admin client.
    ///
    /// # Errors
    /// [`AdminError`] if the settings are not usable.
    pub fn new(settings: &KafkaSettings, service: &str) -> Result<Self, AdminError> {
        let config = config::admin(settings, service)?;
        let context = || ClientEvents::new(settings);
        Ok(Self {
            client: config
                .create_with_context(context())
                .map_err(AdminError::Client)?,
            reader: config
                .create_with_context(context())
                .map_err(AdminError::Client)?,
        })
    }

    /// Creates the topics that are not there; in a dry run, only asks whether it could. Either all of those that are
    /// there are as wanted, or nothing is created.
    ///
    /// # Errors
    /// [`AdminError`]; [`AdminError::OtherPartitions`] if one is there with another number of partitions.
    pub async fn create(
        &self,
        specs: &[TopicSpec],
        dry_run: bool,
    ) -> Result<Vec<TopicOutcome>, AdminError> {
        const OPERATION: &str = "create";
        let metadata = self.metadata(OPERATION)?;
        let mut missing = Vec::new();
        for spec in specs {
            match partitions_of(&metadata, &spec.name) {
                None => missing.push(spec),
                Some(found) if i32::try_from(found) == Ok(spec.partitions) => {}
                Some(found) => {
                    let topic = spec.name.clone();
                    return Err(AdminError::OtherPartitions {
                        topic,
                        found,
                        wanted: spec.partitions,
                    });
                }
            }
        }
        let topics: Vec<NewTopic<'_>> = missing.iter().map(|spec| spec.new_topic()).collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_TIMEOUT))
            .operation_timeout(Some(REQUEST_TIMEOUT))
            .validate_only(dry_run);
        if !topics.is_empty() {
            let results = self.client.create_topics(&topics, &options).await;
            for result in results.map_err(|source| AdminError::Request {
                operation: OPERATION,
                source,
            })? {
                match result {
                    // Created by somebody else meanwhile: as idempotent as having been there.
                    Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((topic, code)) => {
                        return Err(AdminError::Refused {
                            operation: OPERATION,
                            topic,
                            code,
                        });
                    }
                }
            }
        }
        if !dry_run {
            let is_ready = |metadata: &Metadata| {
                let partitions = |spec: &TopicSpec| led_partitions_of(metadata, &spec.name);
                specs
                    .iter()
                    .all(|spec| i32::try_from(partitions(spec)) == Ok(spec.partitions))
            };
            self.wait_for(OPERATION, is_ready).await?;
        }
        let outcome = |spec: &TopicSpec| {
            let is_missing = missing.iter().any(|missing| missing.name == spec.name);
            if is_missing {
                TopicOutcome::Created
            } else {
                TopicOutcome::Unchanged
            }
        };
        Ok(specs.iter().map(outcome).collect())
    }

    /// Deletes the topics that are there.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster refuses.
    pub async fn delete(&self, names: &[&str]) -> Result<Vec<TopicOutcome>, AdminError> {
        const OPERATION: &str = "delete";
        let metadata = self.metadata(OPERATION)?;
        let is_there = |name: &&str| partitions_of(&metadata, name).is_some();
        let there: Vec<&str> = names.iter().copied().filter(is_there).collect();
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_TIMEOUT))
            .operation_timeout(Some(REQUEST_TIMEOUT));
        if !there.is_empty() {
            let results = self.client.delete_topics(&there, &options).await;
            for result in results.map_err(|source| AdminError::Request {
                operation: OPERATION,
                source,
            })? {
                match result {
                    Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                    Err((topic, code)) => {
                        return Err(AdminError::Refused {
                            operation: OPERATION,
                            topic,
                            code,
                        });
                    }
                }
            }
        }
        let is_gone = |metadata: &Metadata| {
            names
                .iter()
                .all(|name| partitions_of(metadata, name).is_none())
        };
        self.wait_for(OPERATION, is_gone).await?;
        let outcome = |name| {
            if is_there(name) {
                TopicOutcome::Deleted
            } else {
                TopicOutcome::Absent
            }
        };
        Ok(names.iter().map(outcome).collect())
    }

    /// Describes topics, whether they are there or not.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster does not answer.
    pub fn describe(&self, names: &[&str]) -> Result<Vec<TopicDescription>, AdminError> {
        const OPERATION: &str = "describe";
        let metadata = self.metadata(OPERATION)?;
        let failed = |source| AdminError::Request {
            operation: OPERATION,
            source,
        };
        let mut descriptions = Vec::new();
        for &name in names {
            let found = metadata
                .topics()
                .iter()
                .find(|topic| topic.name() == name && topic.error().is_none());
            let mut partitions = Vec::new();
            for partition in found.map(|topic| topic.partitions()).unwrap_or_default() {
                let (low_watermark, high_watermark) =
                    self.watermarks(name, partition.id()).map_err(failed)?;
                partitions.push(PartitionDescription {
                    partition: partition.id(),
                    leader: partition.leader(),
                    replicas: partition.replicas().to_vec(),
                    in_sync: partition.isr().to_vec(),
                    low_watermark,
                    high_watermark,
                });
            }
            partitions.sort_by_key(|partition| partition.partition);
            descriptions.push(TopicDescription {
                topic: name.to_owned(),
                exists: found.is_some(),
                replication_factor: partitions
                    .first()
                    .map_or(0, |partition| partition.replicas.len()),
                partitions,
            });
        }
        Ok(descriptions)
    }

    /// A partition's watermarks. A leader that was just chosen may not know it yet.
    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        use RDKafkaErrorCode as Code;
        let give_up = Instant::now() + REQUEST_TIMEOUT;
        loop {
            let watermarks = self
                .reader
                .fetch_watermarks(topic, partition, REQUEST_TIMEOUT);
            let code = watermarks
                .as_ref()
                .err()
                .and_then(KafkaError::rdkafka_error_code);
            match code {
                Some(
                    Code::NotLeaderForPartition
                    | Code::LeaderNotAvailable
                    | Code::UnknownTopicOrPartition,
                ) if Instant::now() < give_up => thread::sleep(METADATA_INTERVAL),
                _ => return watermarks,
            }
        }
    }

    /// Waits until brokers see what the controller has done: it answers before they do.
    async fn wait_for(
        &self,
        operation: &'static str,
        is_done: impl Fn(&Metadata) -> bool,
    ) -> Result<(), AdminError> {
        let give_up = Instant::now() + REQUEST_TIMEOUT;
        while !is_done(&self.metadata(operation)?) {
            if Instant::now() >= give_up {
                return Err(AdminError::NotSeen {
                    operation,
                    timeout: REQUEST_TIMEOUT,
                });
            }
            tokio::time::sleep(METADATA_INTERVAL).await;
        }
        Ok(())
    }

    fn metadata(&self, operation: &'static str) -> Result<Metadata, AdminError> {
        self.reader
            .fetch_metadata(None, REQUEST_TIMEOUT)
            .map_err(|source| AdminError::Request { operation, source })
    }
}

impl TopicSpec {
    fn new_topic(&self) -> NewTopic<'_> {
        let topic = NewTopic::new(
            &self.name,
            self.partitions,
            TopicReplication::Fixed(self.replication_factor),
        );
        self.config
            .iter()
            .fold(topic, |topic, (name, value)| topic.set(name, value))
    }
}

/// How many partitions a topic has; `None` if it is not there.
fn partitions_of(metadata: &Metadata, name: &str) -> Option<usize> {
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)?;
    topic.error().is_none().then(|| topic.partitions().len())
}

/// How many partitions of a topic have a leader.
fn led_partitions_of(metadata: &Metadata, name: &str) -> usize {
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let partitions = topic.map(|topic| topic.partitions()).unwrap_or_default();
    partitions
        .iter()
        .filter(|partition| partition.leader() >= 0)
        .count()
}
