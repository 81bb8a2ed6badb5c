//! The names of the pipeline's topics.

use iris_core::{ImpossibleSetting, Section};
use serde::{Deserialize, Serialize};

/// The names of the pipeline's topics, and how they are created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Topics {
    /// Records to classify.
    pub input: String,
    /// Mispredicted records.
    pub feedback: String,
    /// Classified records.
    pub predictions: String,
    /// Records that cannot be classified.
    pub dead_letters: String,
    /// The registry of models; compacted.
    pub models: String,
    /// Labels that come late or correct earlier ones.
    pub labels: String,
    /// Where the trainer stands; compacted.
    pub trainer: String,
    /// What each transaction of the classifiers did.
    pub summaries: String,
    /// Partitions of each topic but `models`, `trainer` and `summaries`, which have one.
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
            trainer: "trainer_topic_demo2".to_owned(),
            summaries: "summaries_topic_demo2".to_owned(),
            partitions: 5,
            replication_factor: 1,
        }
    }
}

impl Section for Topics {
    const NAME: &'static str = "topics";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
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
                return Err(ImpossibleSetting::new(
                    *key,
                    format!("is `{name}`: {allowed}"),
                ));
            }
            if let Some((other, _)) = names[..position]
                .iter()
                .find(|(_, earlier)| earlier == name)
            {
                let problem =
                    format!("is `{name}`, and `{other}` too: each topic has its own name");
                return Err(ImpossibleSetting::new(*key, problem));
            }
        }
        for (key, number) in [
            ("partitions", self.partitions),
            ("replication_factor", self.replication_factor),
        ] {
            if number < 1 {
                return Err(ImpossibleSetting::new(
                    key,
                    format!("is {number}: allowed is 1 or more"),
                ));
            }
        }
        Ok(())
    }
}

impl Topics {
    /// Every topic's key and name.
    #[must_use]
    pub fn names(&self) -> [(&'static str, &str); 8] {
        [
            ("input", &self.input),
            ("feedback", &self.feedback),
            ("predictions", &self.predictions),
            ("dead_letters", &self.dead_letters),
            ("models", &self.models),
            ("labels", &self.labels),
            ("trainer", &self.trainer),
            ("summaries", &self.summaries),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_apart() {
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
