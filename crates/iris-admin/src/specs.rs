//! The topics as they are to be created.

use iris_contract::{Topic, Topics};
use iris_kafka::TopicSpec;

/// Returns the specification of every topic of the pipeline.
#[must_use]
pub fn topic_specs(topics: &Topics) -> Vec<TopicSpec> {
    let spec = |topic| TopicSpec {
        name: topics.name(topic).to_owned(),
        partitions: topics.partitions_of(topic),
        can_grow: topic.can_grow(),
        replication_factor: topics.replication_factor,
        config: topic.config(),
    };
    Topic::ALL.into_iter().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_the_settings_partitions_and_replicas() {
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
        assert_eq!(partitions, [3, 3, 3, 3, 1, 3, 1, 3]);
        assert!(specs.iter().all(|spec| spec.replication_factor == 2));
        let growing: Vec<bool> = specs.iter().map(|spec| spec.can_grow).collect();
        assert_eq!(
            growing,
            [false, false, false, false, false, false, false, true]
        );
        assert!(specs[0].config.is_empty());
        assert_eq!(specs[4].config[1], ("cleanup.policy", "compact".to_owned()));
    }
}
