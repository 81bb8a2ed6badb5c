//! The id of a topic, and the topic as a running client finds it.

use std::fmt;

use rdkafka::error::RDKafkaErrorCode;
use serde::{Deserialize, Serialize};

/// How the metadata of a committed offset begins, before the id of its topic.
const METADATA_PREFIX: &str = "topic-id=";

/// The id of brokers that have none: 16 zero bytes.
const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// The id of a topic, in the text form of Kafka's own tools. A recreated topic has the same name and another id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicId(String);

impl TopicId {
    /// Returns the id with this text; `None` for the one that stands for no id.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text != NO_ID).then(|| Self(text.to_owned()))
    }

    /// Returns the metadata of an offset that is committed for this topic.
    pub(crate) fn to_metadata(&self) -> String {
        format!("{METADATA_PREFIX}{self}")
    }

    /// Returns the id in the metadata of a committed offset, if it has one.
    pub(crate) fn from_metadata(metadata: &str) -> Option<Self> {
        Self::new(metadata.strip_prefix(METADATA_PREFIX)?)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether two ids are known to differ. Brokers before Kafka 2.8 have none.
#[must_use]
pub fn is_recreated(before: Option<&TopicId>, now: Option<&TopicId>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before != now)
}

/// A topic as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It exists.
    Exists {
        /// Its id, if the brokers have ids.
        id: Option<TopicId>,
        /// Its number of partitions.
        partitions: usize,
    },
    /// It does not exist.
    Missing,
    /// The cluster gives no answer about it.
    Unknown(RDKafkaErrorCode),
}

impl TopicState {
    /// Returns the state that an answer of the cluster describes.
    pub(crate) fn of(found: Result<(String, usize), RDKafkaErrorCode>) -> Self {
        match found {
            Ok((_, 0))
            | Err(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicId,
            ) => Self::Missing,
            Ok((id, partitions)) => Self::Exists {
                id: TopicId::new(&id),
                partitions,
            },
            Err(code) => Self::Unknown(code),
        }
    }

    /// Returns the topic's id; `None` if the brokers have no ids.
    ///
    /// # Errors
    /// A message, if the topic does not exist or its state is not known.
    pub(crate) fn into_id(self, topic: &str) -> Result<Option<TopicId>, String> {
        match self {
            Self::Exists { id, .. } => Ok(id),
            Self::Missing => Err(missing(topic)),
            Self::Unknown(code) => Err(format!("cannot read the id of topic `{topic}`: {code}")),
        }
    }
}

/// Returns the problem that a topic does not exist any more.
#[must_use]
pub(crate) fn missing(topic: &str) -> String {
    format!(
        "topic `{topic}` does not exist any more: create it with `iris-admin topics create`; it is then read from its \
         beginning"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<TopicId> {
        TopicId::new(text)
    }

    #[test]
    fn a_topic_is_recreated_if_both_ids_are_known_and_differ() {
        let (none, a, b) = (None, id("a"), id("b"));
        for (before, now, expected) in [
            (&none, &none, false),
            (&none, &a, false),
            (&a, &none, false),
            (&a, &a, false),
            (&a, &b, true),
        ] {
            assert_eq!(is_recreated(before.as_ref(), now.as_ref()), expected);
        }
        assert_eq!(id(NO_ID), None);
    }

    #[test]
    fn the_id_is_read_from_the_metadata_of_an_offset_and_other_metadata_is_ignored() {
        let a = id("4Yy1GbkqTBqqG6KrqGAyeQ").unwrap();
        assert_eq!(a.to_metadata(), "topic-id=4Yy1GbkqTBqqG6KrqGAyeQ");
        assert_eq!(TopicId::from_metadata(&a.to_metadata()), Some(a));
        for other in ["", "topic-id=", "AgAAAZI"] {
            assert_eq!(TopicId::from_metadata(other), None, "{other}");
        }
    }

    #[test]
    fn a_topic_exists_is_missing_or_is_unknown() {
        use RDKafkaErrorCode as Code;
        let exists = TopicState::Exists {
            id: id("a"),
            partitions: 3,
        };
        for (found, expected) in [
            (Ok(("a".to_owned(), 3)), exists),
            (Ok(("a".to_owned(), 0)), TopicState::Missing),
            (Err(Code::UnknownTopicOrPartition), TopicState::Missing),
            (
                Err(Code::TopicAuthorizationFailed),
                TopicState::Unknown(Code::TopicAuthorizationFailed),
            ),
        ] {
            assert_eq!(TopicState::of(found), expected);
        }
    }
}
