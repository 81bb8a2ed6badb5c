//! The topics that a service needs, and whether a cluster has them.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;

/// How a service uses a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It reads the topic.
    Read,
    /// It writes to the topic.
    Write,
    /// It asks for the topic's partitions and offsets.
    Describe,
    /// It creates the topic.
    Create,
    /// It deletes the topic.
    Delete,
    /// It adds partitions to the topic.
    Alter,
}

impl Operation {
    /// Returns the name of the right in Kafka's tools.
    pub(crate) fn right(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Describe => "Describe",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Alter => "Alter",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Describe => "describe",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Alter => "alter",
        })
    }
}

/// A topic that a service needs.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    topic: &'a str,
    operation: Operation,
    partitions: Partitions<'a>,
    /// Whether records that are written may lack a key.
    is_keyless: bool,
    /// The topic whose records are written whole.
    source: Option<&'a str>,
}

/// The partitions that a topic needs.
#[derive(Clone, Copy, Debug)]
enum Partitions<'a> {
    /// At least this number.
    AtLeast(usize),
    /// At least as many as another topic has.
    AsManyAs(&'a str),
}

impl<'a> Need<'a> {
    /// Returns the need to read a topic.
    #[must_use]
    pub const fn read(topic: &'a str) -> Self {
        Self::new(topic, Operation::Read)
    }

    /// Returns the need to write to a topic.
    #[must_use]
    pub const fn write(topic: &'a str) -> Self {
        Self::new(topic, Operation::Write)
    }

    /// Returns the need to delete a topic.
    #[must_use]
    pub const fn delete(topic: &'a str) -> Self {
        Self::new(topic, Operation::Delete)
    }

    /// Returns the need to ask for a topic's partitions and offsets.
    #[must_use]
    pub const fn describe(topic: &'a str) -> Self {
        Self::new(topic, Operation::Describe)
    }

    const fn new(topic: &'a str, operation: Operation) -> Self {
        Self {
            topic,
            operation,
            partitions: Partitions::AtLeast(1),
            is_keyless: false,
            source: None,
        }
    }

    /// Requires a number of partitions rather than 1.
    #[must_use]
    pub const fn with_partitions(mut self, partitions: usize) -> Self {
        self.partitions = Partitions::AtLeast(partitions);
        self
    }

    /// Requires as many partitions as another topic has.
    #[must_use]
    pub const fn with_partitions_of(mut self, topic: &'a str) -> Self {
        self.partitions = Partitions::AsManyAs(topic);
        self
    }

    /// Requires that the topic accepts records without a key.
    #[must_use]
    pub const fn without_keys(mut self) -> Self {
        self.is_keyless = true;
        self
    }

    /// Requires that the topic accepts dead letters of another topic's records.
    #[must_use]
    pub const fn with_records_of(mut self, topic: &'a str) -> Self {
        self.source = Some(topic);
        self
    }

    pub(crate) const fn topic(&self) -> &'a str {
        self.topic
    }

    pub(crate) const fn operation(&self) -> Operation {
        self.operation
    }

    pub(super) const fn is_keyless(&self) -> bool {
        self.is_keyless
    }

    pub(super) const fn source(&self) -> Option<&'a str> {
        self.source
    }

    /// Returns the topics whose settings decide whether the need is met.
    pub(super) fn configured_topics(&self) -> impl Iterator<Item = &'a str> {
        let topic = (self.is_keyless || self.source.is_some()).then_some(self.topic);
        topic.into_iter().chain(self.source)
    }
}

/// The error for a topic that does not meet a need.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The topic does not exist.
    #[error(
        "cannot {operation} topic `{topic}`: it does not exist; create it with `iris-admin topics create`"
    )]
    NoSuchTopic {
        /// The topic.
        topic: String,
        /// The operation that needs it.
        operation: Operation,
    },
    /// The topic has too few partitions.
    #[error(
        "cannot {operation} topic `{topic}`: it has {found} partitions and {wanted} are needed; delete and recreate it \
         with `iris-admin topics delete --yes` and `iris-admin topics create`, or add partitions to it"
    )]
    TooFewPartitions {
        /// The topic.
        topic: String,
        /// The operation that needs it.
        operation: Operation,
        /// Its number of partitions.
        found: usize,
        /// The number that is needed.
        wanted: usize,
    },
    /// A setting of the topic makes it impossible to write the service's records.
    #[error(
        "cannot {operation} topic `{topic}`: its {setting} is `{value}`, {consequence}; change it with {command}, or name \
         another topic in the settings and create it with `iris-admin topics create`"
    )]
    Impossible {
        /// The topic.
        topic: String,
        /// The operation that needs it.
        operation: Operation,
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The consequence, as a clause.
        consequence: &'static str,
        /// The command that changes the setting.
        command: String,
    },
}

/// The brokers of a cluster when a service started, and its topics: each with its number of partitions or the reason why it
/// cannot be used.
#[derive(Clone, Debug)]
pub struct Cluster {
    brokers: usize,
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
                // Other errors pass, such as a leader that is not elected yet; the service can start.
                _ => Ok(topic.partitions().len()),
            };
            (topic.name().to_owned(), found)
        });
        Self {
            brokers: metadata.brokers().len(),
            topics: topics.collect(),
        }
    }
}

impl Cluster {
    /// Returns the number of brokers that take part in the cluster.
    #[must_use]
    pub fn brokers(&self) -> usize {
        self.brokers
    }

    /// Returns the number of partitions of a topic; `None` if it does not exist or the user may not see it.
    #[must_use]
    pub fn partitions(&self, topic: &str) -> Option<usize> {
        self.topics.get(topic)?.as_ref().ok().copied()
    }

    /// Checks that a topic meets a need.
    pub(super) fn check(&self, need: &Need<'_>) -> Result<(), TopicError> {
        let (topic, operation) = (need.topic.to_owned(), need.operation);
        let wanted = match need.partitions {
            Partitions::AtLeast(partitions) => partitions,
            Partitions::AsManyAs(other) => self.partitions(other).unwrap_or_default(),
        };
        match self.topics.get(need.topic) {
            Some(&Ok(found)) if found < wanted => Err(TopicError::TooFewPartitions {
                topic,
                operation,
                found,
                wanted,
            }),
            Some(&Ok(_)) => Ok(()),
            Some(Err(_)) | None => Err(TopicError::NoSuchTopic { topic, operation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a need against a cluster with a topic of 3 partitions, a deleted one and one that the user may not see.
    fn check(need: Need<'_>) -> Result<(), String> {
        let cluster = Cluster {
            brokers: 1,
            topics: [
                ("input", Ok(3)),
                ("output", Ok(2)),
                ("deleted", Err(RDKafkaErrorCode::UnknownTopicOrPartition)),
                ("secret", Err(RDKafkaErrorCode::TopicAuthorizationFailed)),
            ]
            .map(|(topic, found)| (topic.to_owned(), found))
            .into(),
        };
        cluster.check(&need).map_err(|error| error.to_string())
    }

    #[test]
    fn a_topic_with_enough_partitions_is_accepted() {
        for need in [
            Need::read("input"),
            Need::read("input").with_partitions(3),
            Need::write("input").with_partitions_of("output"),
        ] {
            assert_eq!(check(need), Ok(()), "{need:?}");
        }
    }

    #[test]
    fn each_error_names_the_topic_the_operation_and_a_command() {
        let missing = |operation, topic| {
            Err(format!(
                "cannot {operation} topic `{topic}`: it does not exist; create it with `iris-admin topics create`"
            ))
        };
        assert_eq!(check(Need::read("other")), missing("read", "other"));
        assert_eq!(check(Need::write("deleted")), missing("write", "deleted"));
        assert_eq!(check(Need::read("secret")), missing("read", "secret"));
        let too_few = "cannot write topic `output`: it has 2 partitions and 3 are needed; delete and recreate it with \
                       `iris-admin topics delete --yes` and `iris-admin topics create`, or add partitions to it";
        assert_eq!(
            check(Need::write("output").with_partitions_of("input")),
            Err(too_few.to_owned())
        );
    }
}
