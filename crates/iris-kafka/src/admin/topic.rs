//! A topic to create, and a topic as it exists.

use rdkafka::admin::{NewTopic, TopicReplication};
use serde::{Serialize, Serializer};

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its number of partitions.
    pub partitions: i32,
    /// Whether partitions are added to the topic if it exists with fewer.
    pub can_grow: bool,
    /// The number of replicas of each partition.
    pub replication_factor: i32,
    /// Its configuration, as names and values.
    pub config: Vec<(&'static str, String)>,
}

impl TopicSpec {
    pub(super) fn new_topic(&self) -> NewTopic<'_> {
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

/// The result of an operation on a topic; in a dry run, the result that it would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicOutcome {
    /// The topic did not exist and was created.
    Created,
    /// The topic existed with this number of partitions and was given more.
    Grown(usize),
    /// The topic exists as specified.
    Unchanged,
    /// The topic existed and was deleted.
    Deleted,
    /// The topic to delete did not exist.
    Absent,
}

impl TopicOutcome {
    /// Returns its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Grown(_) => "grown",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Absent => "absent",
        }
    }
}

impl Serialize for TopicOutcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A topic as the cluster describes it.
#[derive(Clone, Debug, Serialize)]
pub struct TopicDescription {
    /// Its name.
    pub topic: String,
    /// Whether it exists.
    pub exists: bool,
    /// The number of replicas of its first partition.
    pub replication_factor: usize,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition as the cluster describes it.
#[derive(Clone, Debug, Serialize)]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The id of its leader; -1 if it has none.
    pub leader: i32,
    /// The ids of the brokers that have a replica.
    pub replicas: Vec<i32>,
    /// The ids of the brokers whose replicas are in sync.
    pub in_sync: Vec<i32>,
    /// Its low watermark.
    pub low_watermark: i64,
    /// Its high watermark.
    pub high_watermark: i64,
}
