//! Creates and deletes topics.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicResult};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

use crate::admin::error::AdminError;
use crate::admin::topic::{TopicOutcome, TopicSpec};
use crate::client::config;
use crate::client::connected::Connected;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;

/// How long a request to the cluster may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the metadata is requested while waiting for a change.
const METADATA_INTERVAL: Duration = Duration::from_millis(50);

/// Creates, describes and deletes a cluster's topics.
pub struct Admin {
    pub(super) client: Connected<AdminClient<ClientEvents>>,
    pub(super) reader: Connected<BaseConsumer<ClientEvents>>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Creates the clients.
    ///
    /// # Errors
    /// [`AdminError`] if a setting cannot be used.
    pub fn new(settings: &KafkaSettings, service: &str) -> Result<Self, AdminError> {
        let config = config::admin(settings, service)?;
        let context = || ClientEvents::new(settings);
        Ok(Self {
            client: Connected::new(&config, settings, context()).map_err(AdminError::Client)?,
            reader: Connected::new(&config, settings, context()).map_err(AdminError::Client)?,
        })
    }

    /// Creates the topics that do not exist, and adds partitions to those that can grow and have fewer; in a dry run, only asks
    /// the cluster whether it would. If another one exists with another number of partitions, nothing is changed.
    ///
    /// # Errors
    /// [`AdminError`]; [`AdminError::OtherPartitions`] if a topic exists with another number of partitions and cannot be given
    /// the missing ones.
    pub async fn create(
        &self,
        specs: &[TopicSpec],
        dry_run: bool,
    ) -> Result<Vec<TopicOutcome>, AdminError> {
        const OPERATION: &str = "create";
        let metadata = self.metadata(OPERATION)?;
        let outcomes = compare(&metadata, specs)?;
        let with_outcomes = || specs.iter().zip(&outcomes);
        let topics: Vec<NewTopic<'_>> = with_outcomes()
            .filter(|(_, outcome)| **outcome == TopicOutcome::Created)
            .map(|(spec, _)| spec.new_topic())
            .collect();
        if !topics.is_empty() {
            let options = options().validate_only(dry_run);
            let results = self.client.create_topics(&topics, &options).await;
            // A topic that another client has created meanwhile is as good as one that existed before.
            check(OPERATION, results, RDKafkaErrorCode::TopicAlreadyExists)?;
        }
        for (spec, _) in
            with_outcomes().filter(|(_, outcome)| matches!(outcome, TopicOutcome::Grown(_)))
        {
            self.grow(spec, dry_run).await?;
        }
        if !dry_run {
            let is_ready = |metadata: &Metadata| {
                specs.iter().all(|spec| {
                    i32::try_from(led_partitions_of(metadata, &spec.name)) == Ok(spec.partitions)
                })
            };
            self.wait_for(OPERATION, is_ready).await?;
        }
        Ok(outcomes)
    }

    /// Deletes the topics that exist.
    ///
    /// # Errors
    /// [`AdminError`] if the cluster refuses.
    pub async fn delete(&self, names: &[&str]) -> Result<Vec<TopicOutcome>, AdminError> {
        const OPERATION: &str = "delete";
        let metadata = self.metadata(OPERATION)?;
        let exists = |name: &&str| partitions_of(&metadata, name).is_some();
        let existing: Vec<&str> = names.iter().copied().filter(exists).collect();
        if !existing.is_empty() {
            let results = self.client.delete_topics(&existing, &options()).await;
            check(
                OPERATION,
                results,
                RDKafkaErrorCode::UnknownTopicOrPartition,
            )?;
        }
        let are_deleted = |metadata: &Metadata| {
            names
                .iter()
                .all(|name| partitions_of(metadata, name).is_none())
        };
        self.wait_for(OPERATION, are_deleted).await?;
        let outcome = |name| {
            if exists(name) {
                TopicOutcome::Deleted
            } else {
                TopicOutcome::Absent
            }
        };
        Ok(names.iter().map(outcome).collect())
    }

    /// Waits until the brokers show a change: the controller answers before they do.
    async fn wait_for(
        &self,
        operation: &'static str,
        is_done: impl Fn(&Metadata) -> bool,
    ) -> Result<(), AdminError> {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        while !is_done(&self.metadata(operation)?) {
            if Instant::now() >= deadline {
                return Err(AdminError::NotSeen {
                    operation,
                    timeout: REQUEST_TIMEOUT,
                });
            }
            tokio::time::sleep(METADATA_INTERVAL).await;
        }
        Ok(())
    }

    pub(super) fn metadata(&self, operation: &'static str) -> Result<Metadata, AdminError> {
        self.reader
            .fetch_metadata(None, REQUEST_TIMEOUT)
            .map_err(|source| AdminError::Request { operation, source })
    }
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}

/// Checks the results of an operation, in which one code counts as success.
fn check(
    operation: &'static str,
    results: Result<Vec<TopicResult>, KafkaError>,
    accepted: RDKafkaErrorCode,
) -> Result<(), AdminError> {
    let results = results.map_err(|source| AdminError::Request { operation, source })?;
    let (mut refused, mut done) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(topic) => done.push(topic),
            Err((_, code)) if code == accepted => {}
            Err(failed) => refused.push(failed),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(AdminError::Refused {
        operation,
        refused,
        done,
    })
}

/// Returns for each topic whether it is to be created, to be given more partitions, or to be left as it is.
///
/// # Errors
/// [`AdminError::OtherPartitions`] if one exists with another number of partitions and cannot be given the missing ones.
fn compare(metadata: &Metadata, specs: &[TopicSpec]) -> Result<Vec<TopicOutcome>, AdminError> {
    let outcome = |spec: &TopicSpec| {
        let found = partitions_of(metadata, &spec.name);
        outcome(spec, found).ok_or_else(|| AdminError::OtherPartitions {
            topic: spec.name.clone(),
            found: found.unwrap_or_default(),
            wanted: spec.partitions,
        })
    };
    specs.iter().map(outcome).collect()
}

/// Returns the outcome of creating a topic that exists with this number of partitions, if it exists; `None` if it cannot get
/// the specified number.
fn outcome(spec: &TopicSpec, found: Option<usize>) -> Option<TopicOutcome> {
    let wanted = usize::try_from(spec.partitions).ok()?;
    match found {
        None => Some(TopicOutcome::Created),
        Some(found) if found == wanted => Some(TopicOutcome::Unchanged),
        Some(found) if found < wanted && spec.can_grow => Some(TopicOutcome::Grown(found)),
        Some(_) => None,
    }
}

/// Returns the number of a topic's partitions; `None` if it does not exist.
fn partitions_of(metadata: &Metadata, name: &str) -> Option<usize> {
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)?;
    topic.error().is_none().then(|| topic.partitions().len())
}

/// Returns the number of a topic's partitions that have a leader.
fn led_partitions_of(metadata: &Metadata, name: &str) -> usize {
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let partitions = topic.map(|topic| topic.partitions()).unwrap_or_default();
    partitions
        .iter()
        .filter(|partition| partition.leader() >= 0)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_topic_that_can_grow_is_given_partitions_and_none_loses_any() {
        let spec = |can_grow| TopicSpec {
            name: "t".to_owned(),
            partitions: 5,
            can_grow,
            replication_factor: 1,
            config: Vec::new(),
        };
        for (can_grow, found, expected) in [
            (false, None, Some(TopicOutcome::Created)),
            (false, Some(5), Some(TopicOutcome::Unchanged)),
            (false, Some(1), None),
            (true, Some(1), Some(TopicOutcome::Grown(1))),
            (true, Some(5), Some(TopicOutcome::Unchanged)),
            (true, Some(6), None),
        ] {
            assert_eq!(outcome(&spec(can_grow), found), expected, "{found:?}");
        }
    }
}
