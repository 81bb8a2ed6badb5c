//! The names of consumer groups and transactional ids.

use super::{Condition, On, Pattern, ResourceKind};
use crate::topics::{Topic, Topics};

/// The classifiers' consumer group, unless the settings name another.
pub const CLASSIFIER_GROUP: &str = "iris-classifier";

/// The sink's consumer group, unless the settings name another.
pub const SINK_GROUP: &str = "iris-feedback-sink";

/// The name in an access control list that stands for every name.
const EVERY_NAME: &str = "*";

/// The topic in which coordinators keep transactions.
const TRANSACTION_LOG: &str = "__transaction_state";

/// The name of the cluster in access control lists.
const CLUSTER_NAME: &str = "kafka-cluster";

/// The settings that decide which rights are needed, besides the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `kafka.name_prefix`.
    pub prefix: String,
    /// `classifier.group_id`.
    pub classifier_group: String,
    /// `classifier.partitions`.
    pub classifier_partitions: Vec<i32>,
    /// `classifier.publish_predictions`.
    pub publish_predictions: bool,
    /// `classifier.publish_summaries`.
    pub publish_summaries: bool,
    /// `feedback_sink.group_id`.
    pub sink_group: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            classifier_group: CLASSIFIER_GROUP.to_owned(),
            classifier_partitions: Vec::new(),
            publish_predictions: true,
            publish_summaries: true,
            sink_group: SINK_GROUP.to_owned(),
        }
    }
}

/// Returns the consumer group of a worker that reads one listed partition.
#[must_use]
pub fn single_partition_group(partition: i32) -> String {
    format!("unique_group_for_demo2_partition_{partition}")
}

/// Returns the beginning of the transactional id of each worker that reads `input` as `group`.
#[must_use]
pub fn worker_transactional_id_prefix(group: &str, input: &str) -> String {
    format!("{group}-{input}-")
}

/// Returns the transactional id of all writers of the registry.
#[must_use]
pub fn registry_transactional_id(models: &str) -> String {
    format!("{models}-registry")
}

/// Returns the transactional id of `iris-admin redrive`.
#[must_use]
pub fn redrive_transactional_id(dead_letters: &str) -> String {
    format!("iris-admin-redrive-{dead_letters}")
}

impl Names {
    /// Whether a condition is met.
    pub(super) fn meets(&self, condition: Condition) -> bool {
        match condition {
            Condition::Always => true,
            Condition::PublishesPredictions => self.publish_predictions,
            Condition::PublishesSummaries => self.publish_summaries,
        }
    }

    /// Returns the name that a consumer group or a transactional id has on the cluster.
    fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Returns the classifiers' groups.
    fn classifier_groups(&self) -> Vec<String> {
        if self.classifier_partitions.is_empty() {
            return vec![self.prefixed(&self.classifier_group)];
        }
        let partitions = self.classifier_partitions.iter();
        let group = |partition| self.prefixed(&single_partition_group(partition));
        partitions.copied().map(group).collect()
    }
}

impl On {
    /// Returns the resources that this stands for.
    pub(super) fn resources(
        self,
        topics: &Topics,
        names: &Names,
    ) -> Vec<(ResourceKind, String, Pattern)> {
        let topic = |topic| topics.name(topic).to_owned();
        let literal = |kind, name: String| (kind, name, Pattern::Literal);
        let (group, id) = (ResourceKind::Group, ResourceKind::TransactionalId);
        match self {
            Self::Topic(name) => vec![literal(ResourceKind::Topic, topic(name))],
            Self::EveryTopic => {
                let all = Topic::ALL.into_iter();
                all.map(|name| literal(ResourceKind::Topic, topic(name)))
                    .collect()
            }
            Self::ClassifierGroups => {
                let groups = names.classifier_groups().into_iter();
                groups.map(|name| literal(group, name)).collect()
            }
            Self::SinkGroup => vec![literal(group, names.prefixed(&names.sink_group))],
            Self::WorkerIds => {
                let prefix = |name: String| worker_transactional_id_prefix(&name, &topics.input);
                let groups = names.classifier_groups().into_iter();
                groups
                    .map(|name| (id, prefix(name), Pattern::Prefix))
                    .collect()
            }
            Self::RegistryId => {
                let name = registry_transactional_id(&topics.models);
                vec![literal(id, names.prefixed(&name))]
            }
            Self::RedriveId => {
                let name = redrive_transactional_id(&topics.dead_letters);
                vec![literal(id, names.prefixed(&name))]
            }
            Self::EveryId => vec![literal(id, EVERY_NAME.to_owned())],
            Self::TransactionLog => vec![literal(ResourceKind::Topic, TRANSACTION_LOG.to_owned())],
            Self::Cluster => vec![literal(ResourceKind::Cluster, CLUSTER_NAME.to_owned())],
        }
    }
}
