//! The topics: their names, partitions, clean-up and the size of their records.

use iris_core::{InvalidSetting, Section};
use serde::{Deserialize, Serialize};

/// The largest record batch of a topic that holds input records with something added, in bytes. The input topic has the
/// brokers' default of 1 MiB: the outcome of the largest input record must fit, too.
const OUTCOME_MAX_MESSAGE_BYTES: u32 = 4 << 20;

/// The size of a segment of a compacted topic that is written often, in bytes. Only closed segments are compacted, and
/// the topic is read at every start.
const COMPACTED_SEGMENT_BYTES: u32 = 16 << 20;

/// A topic of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Records to classify: [`input`](crate::input).
    Input,
    /// Mispredictions: [`prediction`](crate::prediction).
    Feedback,
    /// All predictions: [`prediction`](crate::prediction).
    Predictions,
    /// Records that cannot be classified: [`dead_letter`](crate::dead_letter).
    DeadLetters,
    /// The registry of models; compacted: [`registry`](crate::registry).
    Models,
    /// Labels that come late or correct earlier ones: [`label`](crate::label).
    Labels,
    /// The trainer's state; compacted.
    TrainerState,
    /// The classifiers' transactions: [`transaction_summary`](crate::transaction_summary).
    Summaries,
}

impl Topic {
    /// All topics, in the order in which they are created and listed.
    pub const ALL: [Self; 8] = [
        Self::Input,
        Self::Feedback,
        Self::Predictions,
        Self::DeadLetters,
        Self::Models,
        Self::Labels,
        Self::TrainerState,
        Self::Summaries,
    ];

    /// Returns the key of the topic's name in the settings.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Feedback => "feedback",
            Self::Predictions => "predictions",
            Self::DeadLetters => "dead_letters",
            Self::Models => "models",
            Self::Labels => "labels",
            Self::TrainerState => "trainer_state",
            Self::Summaries => "summaries",
        }
    }

    /// Whether the topic is one log with one order, and so has one partition.
    #[must_use]
    pub fn is_one_log(self) -> bool {
        matches!(self, Self::Models | Self::TrainerState)
    }

    /// Whether the topic can be given more partitions while it is used: its readers merge all partitions, and each record can be
    /// in any of them.
    #[must_use]
    pub fn can_grow(self) -> bool {
        matches!(self, Self::Summaries)
    }

    /// Returns the configuration that the topic is created with; everything else is the brokers' default, retention
    /// included.
    #[must_use]
    pub fn config(self) -> Vec<(&'static str, String)> {
        let compacted = ("cleanup.policy", "compact".to_owned());
        let segment_bytes = ("segment.bytes", COMPACTED_SEGMENT_BYTES.to_string());
        let max_message_bytes = ("max.message.bytes", OUTCOME_MAX_MESSAGE_BYTES.to_string());
        match self {
            Self::Feedback | Self::Predictions | Self::DeadLetters => vec![max_message_bytes],
            Self::Models => vec![max_message_bytes, compacted, segment_bytes],
            Self::TrainerState => vec![compacted, segment_bytes],
            Self::Input | Self::Labels | Self::Summaries => Vec::new(),
        }
    }
}

/// The topics' names, partitions and replication factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topics {
    /// The name of [`Topic::Input`].
    pub input: String,
    /// The name of [`Topic::Feedback`].
    pub feedback: String,
    /// The name of [`Topic::Predictions`].
    pub predictions: String,
    /// The name of [`Topic::DeadLetters`].
    pub dead_letters: String,
    /// The name of [`Topic::Models`].
    pub models: String,
    /// The name of [`Topic::Labels`].
    pub labels: String,
    /// The name of [`Topic::TrainerState`].
    pub trainer_state: String,
    /// The name of [`Topic::Summaries`].
    pub summaries: String,
    /// Partitions of each topic except `models` and `trainer_state`, which have one.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication_factor: i32,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            input: "iris_demo2_topic".to_owned(),
            feedback: "feedback_topic_demo2".to_owned(),
            predictions: "predictions_topic_demo2".to_owned(),
            dead_letters: "dead_letter_topic_demo2".to_owned(),
            models: "models_topic_demo2".to_owned(),
            labels: "labels_topic_demo2".to_owned(),
            trainer_state: "trainer_topic_demo2".to_owned(),
            summaries: "summaries_topic_demo2".to_owned(),
            partitions: 5,
            replication_factor: 1,
        }
    }
}

impl Section for Topics {
    const NAME: &'static str = "topics";

    fn validate(&self) -> Result<(), InvalidSetting> {
        let names = self.names();
        for (position, (key, name)) in names.iter().enumerate() {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty()
                || name.len() > 249
                || matches!(*name, "." | "..")
                || !name.bytes().all(legal)
            {
                let allowed =
                    "allowed are 1 to 249 of the characters a-z, A-Z, 0-9, `.`, `_` and `-`";
                return Err(InvalidSetting::new(*key, format!("is `{name}`: {allowed}")));
            }
            if let Some((other, _)) = names[..position]
                .iter()
                .find(|(_, earlier)| earlier == name)
            {
                let problem =
                    format!("is `{name}`, and `{other}` too: each topic has its own name");
                return Err(InvalidSetting::new(*key, problem));
            }
        }
        for (key, number) in [
            ("partitions", self.partitions),
            ("replication_factor", self.replication_factor),
        ] {
            if number < 1 {
                return Err(InvalidSetting::new(
                    key,
                    format!("is {number}: allowed is 1 or more"),
                ));
            }
        }
        Ok(())
    }
}

impl Topics {
    /// Returns the name of a topic.
    #[must_use]
    pub fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::Input => &self.input,
            Topic::Feedback => &self.feedback,
            Topic::Predictions => &self.predictions,
            Topic::DeadLetters => &self.dead_letters,
            Topic::Models => &self.models,
            Topic::Labels => &self.labels,
            Topic::TrainerState => &self.trainer_state,
            Topic::Summaries => &self.summaries,
        }
    }

    /// Returns every topic's key and name.
    #[must_use]
    pub fn names(&self) -> [(&'static str, &str); 8] {
        Topic::ALL.map(|topic| (topic.key(), self.name(topic)))
    }

    /// Returns the number of partitions that a topic is created with.
    #[must_use]
    pub fn partitions_of(&self, topic: Topic) -> i32 {
        if topic.is_one_log() {
            1
        } else {
            self.partitions
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_has_its_own_name() {
        let error = Topics {
            feedback: "iris_demo2_topic".to_owned(),
            ..Topics::default()
        }
        .validate()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "feedback is `iris_demo2_topic`, and `input` too: each topic has its own name"
        );
        assert!(
            Topics {
                input: "no spaces".to_owned(),
                ..Topics::default()
            }
            .validate()
            .is_err()
        );
        assert!(
            Topics {
                partitions: 0,
                ..Topics::default()
            }
            .validate()
            .is_err()
        );
    }
}
