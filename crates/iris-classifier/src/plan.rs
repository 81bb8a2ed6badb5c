//! The plan of the workers: the input and the transactional id of each.

use iris_contract::rights::{single_partition_group, worker_transactional_id_prefix};
use iris_kafka::Start;
use iris_kafka::defence::Defence;

use crate::settings::Settings;

/// The input and the transactional id of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerPlan {
    pub(crate) name: String,
    pub(crate) start: Start,
    pub(crate) transactional_id: String,
}

/// Returns the number of workers of a group's process for the setting `workers`, on so many cores, if the topic has so many
/// partitions.
pub(crate) fn worker_count(setting: usize, cores: usize, partitions: usize) -> usize {
    match setting {
        0 => cores.min(partitions).max(1),
        set => set,
    }
}

/// Returns the plan of each worker: one per listed partition, with the paper's group names, or `workers` members of one consumer
/// group.
pub(crate) fn plans(settings: &Settings, workers: usize, instance: &str) -> Vec<WorkerPlan> {
    let (topic, classifier, kafka) = (
        &settings.topics.input,
        &settings.classifier,
        &settings.kafka,
    );
    let transactional_id =
        |group: &str, rest: &str| worker_transactional_id_prefix(group, topic) + rest;
    let is_static = classifier.static_membership;
    let member = |worker: usize| is_static.then(|| format!("{instance}-{worker}"));
    let alone = |&partition: &i32| {
        let group_id = kafka.prefixed(&single_partition_group(partition));
        WorkerPlan {
            name: format!("partition {partition}"),
            transactional_id: transactional_id(&group_id, &partition.to_string()),
            start: Start {
                topic: topic.clone(),
                group_id,
                partitions: Some(vec![partition]),
                instance: None,
            },
        }
    };
    let shared = |worker: usize| {
        let group_id = kafka.prefixed(&classifier.group_id);
        WorkerPlan {
            name: format!("worker {worker}"),
            transactional_id: transactional_id(&group_id, &format!("{instance}-{worker}")),
            start: Start {
                topic: topic.clone(),
                group_id,
                partitions: None,
                instance: member(worker),
            },
        }
    };
    let mut plans: Vec<WorkerPlan> = if classifier.partitions.is_empty() {
        (0..workers).map(shared).collect()
    } else {
        classifier.partitions.iter().map(alone).collect()
    };
    if !Defence::StableId.is_on() {
        let unique = format!("-{}", std::process::id());
        plans
            .iter_mut()
            .for_each(|plan| plan.transactional_id += &unique);
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_worker_for_each_core_unless_there_are_fewer_partitions_or_a_number_is_set() {
        for ((setting, cores, partitions), expected) in [
            ((0, 2, 5), 2),
            ((0, 64, 5), 5),
            ((0, 5, 5), 5),
            ((0, 1, 5), 1),
            ((0, 8, 0), 1),
            ((3, 2, 5), 3),
            ((7, 64, 5), 7),
        ] {
            assert_eq!(worker_count(setting, cores, partitions), expected);
        }
    }

    #[test]
    fn each_listed_partition_has_the_papers_group_and_its_own_transactional_id() {
        let mut settings = Settings::default();
        settings.classifier.partitions = vec![0, 3];
        let plans = plans(&settings, 2, "host-0");
        let groups: Vec<&str> = plans
            .iter()
            .map(|plan| plan.start.group_id.as_str())
            .collect();
        assert_eq!(
            groups,
            [
                "unique_group_for_demo2_partition_0",
                "unique_group_for_demo2_partition_3"
            ]
        );
        assert_eq!(plans[1].start.partitions, Some(vec![3]));
        assert_eq!(
            plans[1].transactional_id,
            "unique_group_for_demo2_partition_3-iris_demo2_topic-3"
        );
    }

    #[test]
    fn every_group_and_transactional_id_begins_with_the_prefix() {
        let mut settings = Settings::default();
        settings.kafka.name_prefix = "team-a.".to_owned();
        let shared = plans(&settings, 2, "host-0");
        settings.classifier.partitions = vec![3];
        let alone = plans(&settings, 2, "host-0");
        let names: Vec<(&str, &str)> = [&shared[0], &alone[0]]
            .map(|plan| (plan.start.group_id.as_str(), plan.transactional_id.as_str()))
            .into();
        assert_eq!(
            names,
            [
                (
                    "team-a.iris-classifier",
                    "team-a.iris-classifier-iris_demo2_topic-host-0-0"
                ),
                (
                    "team-a.unique_group_for_demo2_partition_3",
                    "team-a.unique_group_for_demo2_partition_3-iris_demo2_topic-3"
                )
            ]
        );
    }

    #[test]
    fn the_workers_of_a_group_share_it_and_have_transactional_ids_by_instance() {
        let plans = plans(&Settings::default(), 2, "host-0");
        assert!(plans.iter().all(
            |plan| plan.start.group_id == "iris-classifier" && plan.start.partitions.is_none()
        ));
        let ids: Vec<&str> = plans
            .iter()
            .map(|plan| plan.transactional_id.as_str())
            .collect();
        assert_eq!(
            ids,
            [
                "iris-classifier-iris_demo2_topic-host-0-0",
                "iris-classifier-iris_demo2_topic-host-0-1"
            ]
        );
    }
}
