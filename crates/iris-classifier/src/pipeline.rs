//! The workers: how many there are, what each reads, and under which transactional id.

use std::sync::Arc;

use iris_kafka::Start;
use iris_kafka::defence::Defence;
use iris_kafka::exactly_once::Worker;
use iris_kafka::startup::{self, Need};
use iris_registry::RegistryTopic;
use iris_service::{Part, Service, Work, supervise};
use tokio::sync::watch;
use tracing::info;

use crate::champion::Champion;
use crate::instance::Instance;
use crate::metrics::Metrics;
use crate::processor::Classify;
use crate::settings::Settings;
use crate::summary::Summary;
use crate::{NAME, model};

/// What one worker reads, and under which transactional id it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    name: String,
    start: Start,
    transactional_id: String,
}

/// The plan of each worker: one for each listed partition, with the paper's group names, or a number of members of one
/// consumer group.
fn plans(settings: &Settings, instance: &str) -> Vec<Plan> {
    let (topic, classifier) = (&settings.topics.input, &settings.classifier);
    let alone = |&partition: &i32| {
        let group_id = format!("unique_group_for_demo2_partition_{partition}");
        Plan {
            name: format!("partition {partition}"),
            transactional_id: format!("{group_id}-{topic}-{partition}"),
            start: Start {
                topic: topic.clone(),
                group_id,
                partitions: Some(vec![partition]),
            },
        }
    };
    let shared = |worker: usize| {
        let group_id = classifier.group_id.clone();
        Plan {
            name: format!("worker {worker}"),
            transactional_id: format!("{group_id}-{topic}-{instance}-{worker}"),
            start: Start {
                topic: topic.clone(),
                group_id,
                partitions: None,
            },
        }
    };
    let mut plans: Vec<Plan> = if classifier.partitions.is_empty() {
        (0..classifier.workers).map(shared).collect()
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

/// Returns the topics that the settings need. A record's partition has to exist in every topic of its outcomes.
fn needs(settings: &Settings) -> Vec<Need<'_>> {
    let (topics, classifier) = (&settings.topics, &settings.classifier);
    let partitions = classifier
        .partitions
        .iter()
        .max()
        .map_or(1, |&highest| highest.unsigned_abs() as usize + 1);
    let mut needs = vec![Need::read(&topics.input).with_partitions(partitions)];
    if classifier.publish_summaries {
        needs.push(Need::write(&topics.summaries));
    }
    needs.push(Need::read(&topics.models));
    let predictions = classifier
        .publish_predictions
        .then_some(&topics.predictions);
    let outcomes = [&topics.feedback, &topics.dead_letters];
    needs.extend(
        outcomes
            .into_iter()
            .chain(predictions)
            .map(|topic| Need::write(topic).with_partitions_of(&topics.input)),
    );
    needs
}

/// Waits for the cluster, and checks the topics. Returns whether the cluster was found before a stop.
async fn connect(
    settings: &Settings,
    service: &Service,
    startup: &Arc<Part>,
) -> anyhow::Result<bool> {
    let (settings, stop, startup) = (settings.clone(), service.stop.clone(), Arc::clone(startup));
    let found = tokio::task::spawn_blocking(move || {
        let waiting = &mut |cause| startup.report(Some(cause));
        let wait = settings.service.wait_for_broker;
        startup::connect(
            &settings.kafka,
            NAME,
            wait,
            &stop,
            waiting,
            &needs(&settings),
        )
    });
    Ok(found.await??.is_some())
}

/// Classifies until the service is stopped or, with an idle timeout, until there is no more input.
///
/// # Errors
/// [`iris_service::UsageError`] if the dataset or the settings cannot be used; another error if the cluster cannot.
pub async fn run(settings: Settings, service: &Service) -> anyhow::Result<Summary> {
    let fitted = model::fit(&settings.dataset, &settings.model)?;
    let startup = service.health.part("startup");
    if !connect(&settings, service, &startup).await? {
        return Ok(Summary::default());
    }

    let champion = Champion {
        topic: RegistryTopic::new(&settings.kafka, &settings.topics.models, NAME),
        schema: settings.dataset.schema(),
        fitted,
    };
    let (beginning, stop) = (champion.clone(), service.stop.clone());
    let waiting = Arc::clone(&startup);
    let first = tokio::task::spawn_blocking(move || {
        beginning.first(&stop, &|cause| waiting.report(Some(cause)))
    });
    let Some(first) = first.await?? else {
        return Ok(Summary::default());
    };
    let (served, serving) = watch::channel(first);
    // Ends with this function, however that ends.
    let stop = service.stop.child_token();
    let _following = stop.clone().drop_guard();
    tokio::task::spawn_blocking(move || champion.follow(&served, &stop));

    let instance = Instance::claim(
        &settings.classifier.instance,
        &settings.classifier.group_id,
        &std::env::temp_dir(),
    );
    let metrics = Metrics::register(service);
    let mut work: Vec<(String, Work<Summary>)> = Vec::new();
    for Plan {
        name,
        start,
        transactional_id,
    } in plans(&settings, &instance.name)
    {
        info!(
            "{name}: reading {} as group {}, writing as {transactional_id}",
            start.topic, start.group_id
        );
        let processor = Classify::new(
            serving.clone(),
            &start.group_id,
            &settings.topics,
            &settings.classifier,
            metrics.clone(),
            service.spans.clone(),
        );
        let pace = settings.classifier.pace();
        let part = service.health.part(&name);
        let (kafka, stop) = (settings.kafka.clone(), service.stop.clone());
        let lag = metrics.lag.clone();
        let worker = move || {
            let (group, topic) = (start.group_id.clone(), start.topic.clone());
            let mut worker =
                Worker::start(&kafka, NAME, start, &transactional_id, pace, processor)?;
            lag.watch(&group, &topic, worker.client_health());
            worker.run(&stop, &mut |problem| part.report(problem))?;
            part.finish();
            Ok(worker.finish(Classify::summary))
        };
        work.push((name, Box::new(worker)));
    }
    // Only now: until the workers are known, nothing else says that the service is not ready.
    startup.finish();
    let summaries = supervise(work, service, settings.service.shutdown_grace()).await?;
    Ok(summaries
        .into_iter()
        .fold(Summary::default(), Summary::plus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_partitions_have_the_papers_groups_and_ids_of_their_own() {
        let mut settings = Settings::default();
        settings.classifier.partitions = vec![0, 3];
        let plans = plans(&settings, "host-0");
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
    fn workers_of_a_group_share_it_and_have_ids_by_instance() {
        let mut settings = Settings::default();
        settings.classifier.workers = 2;
        let plans = plans(&settings, "host-0");
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
