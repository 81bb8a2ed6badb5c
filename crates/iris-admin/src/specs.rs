//! How each topic is to be.

use iris_kafka::{TopicSpec, Topics};

/// The largest record batch of a topic that holds input records with something added, in bytes. Brokers take 1 MiB by
/// default, and so does the input topic: the outcome of a record that just fits must fit, too.
const OUTCOME_MAX_MESSAGE_BYTES: u32 = 4 << 20;

/// Only segments that are not written to any more are compacted. These are written often, and read at every start.
const COMPACTED_SEGMENT_BYTES: u32 = 16 << 20;

/// The pipeline's topics, as they are to be created.
#[must_use]
pub fn topic_specs(topics: &Topics) -> Vec<TopicSpec> {
    let max_message_bytes = ("max.message.bytes", OUTCOME_MAX_MESSAGE_BYTES.to_string());
    let spec = |(key, name): (&str, &str)| TopicSpec {
        name: name.to_owned(),
        partitions: match key {
            // Each is one log.
            "models" | "trainer" | "summaries" => 1,
            _ => topics.partitions,
        },
        replication_factor: topics.replication_factor,
        config: match key {
            "feedback" | "predictions" | "dead_letters" => vec![max_message_bytes.clone()],
            "models" => vec![
                max_message_bytes.clone(),
                ("cleanup.policy", "compact".to_owned()),
            ],
            "trainer" => vec![
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", COMPACTED_SEGMENT_BYTES.to_string()),
            ],
            _ => Vec::new(),
        },
    };
    topics.names().into_iter().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_created_as_the_settings_say() {
        let topics = Topics {
            partitions: 3,
            replication_factor: 2,
            ..Topics::default()
        };
        let specs = topic_specs(&topics);
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "iris_demo2_topic",
                "feedback_topic_demo2",
                "predictions_topic_demo2",
                "dead_letter_topic_demo2",
                "models_topic_demo2",
                "labels_topic_demo2",
                "trainer_topic_demo2",
                "summaries_topic_demo2"
            ]
        );
        let partitions: Vec<i32> = specs.iter().map(|spec| spec.partitions).collect();
        assert_eq!(partitions, [3, 3, 3, 3, 1, 3, 1, 1]);
        assert!(specs.iter().all(|spec| spec.replication_factor == 2));
        assert!(specs[0].config.is_empty());
        assert_eq!(specs[4].config[1], ("cleanup.policy", "compact".to_owned()));
    }
}
