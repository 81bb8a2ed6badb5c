//! Starts the service's work: checks the topics, chooses the first model, and runs the workers.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use iris_contract::{Classifier, figure};
use iris_kafka::Rights;
use iris_kafka::exactly_once::{IdleGroup, Worker, WorkerError};
use iris_kafka::startup::{Need, StartupError, connect};
use iris_registry::RegistryTopic;
use iris_service::{FirstModel, Follower, Part, Service, Work, supervise_with, watcher};
use tokio::sync::watch;
use tracing::info;

use crate::NAME;
use crate::champion::ChampionSource;
use crate::counts::Origin;
use crate::instance::Instance;
use crate::metrics::Metrics;
use crate::plan::{WorkerPlan, plans, worker_count};
use crate::processor::Classify;
use crate::settings::Settings;
use crate::summary::ClassifierSummary;

/// Returns the topics that the service needs. A topic of outcomes needs all partitions of the input.
fn needs(settings: &Settings) -> Vec<Need<'_>> {
    let (topics, classifier) = (&settings.topics, &settings.classifier);
    let listed = classifier.partitions.iter().max();
    let partitions = listed.map_or(1, |&highest| highest.unsigned_abs() as usize + 1);
    let mut needs = vec![Need::read(&topics.input).with_partitions(partitions)];
    if classifier.publish_summaries {
        needs.push(Need::write(&topics.summaries).without_keys());
    }
    needs.push(Need::read(&topics.models));
    let predictions = classifier
        .publish_predictions
        .then_some(&topics.predictions);
    let input = &topics.input;
    needs.push(outcome(&topics.feedback, input));
    needs.push(outcome(&topics.dead_letters, input).with_records_of(input));
    needs.extend(predictions.map(|topic| outcome(topic, input)));
    needs
}

/// Returns the need to write outcomes of the input to a topic, each to the partition of its record.
const fn outcome<'a>(topic: &'a str, input: &'a str) -> Need<'a> {
    Need::write(topic).with_partitions_of(input).without_keys()
}

/// Waits for the cluster and checks its topics. Returns the number of partitions of the input; `None` if the service was stopped.
async fn prepare(
    settings: &Settings,
    service: &Service,
    startup: &Arc<Part>,
) -> anyhow::Result<Option<usize>> {
    let (settings, stop) = (settings.clone(), service.stop.clone());
    let startup = Arc::clone(startup);
    let connected = tokio::task::spawn_blocking(move || {
        let (kafka, wait) = (&settings.kafka, settings.service.wait_for_broker);
        let waiting = &mut |cause| startup.report(Some(cause));
        let cluster = connect(kafka, NAME, wait, &stop, waiting, &needs(&settings))?;
        let input = &settings.topics.input;
        Ok::<_, StartupError>(cluster.map(|cluster| cluster.partitions(input).unwrap_or_default()))
    });
    Ok(connected.await??)
}

/// Returns the first model to serve; `None` if the service was stopped.
async fn first_model(
    source: &ChampionSource,
    service: &Service,
    startup: &Arc<Part>,
) -> anyhow::Result<Option<Classifier>> {
    let startup = Arc::clone(startup);
    let (source, stop) = (source.reporting_to(&startup), service.stop.clone());
    let first = tokio::task::spawn_blocking(move || {
        source.first(&stop, &|cause| startup.report(Some(cause)))
    });
    first.await?
}

/// Classifies until the service is stopped or, with an idle timeout, until there is no more input.
///
/// # Errors
/// [`iris_service::UsageError`] if the dataset or the settings cannot be used; another error if the cluster cannot.
pub async fn run(settings: Settings, service: &Service) -> anyhow::Result<ClassifierSummary> {
    let fitted = FirstModel::fit(&settings.dataset, &settings.model, &service.stop)?;
    let Some(fitted) = fitted else {
        return Ok(ClassifierSummary::default());
    };
    let metrics = figure::of_first_model(fitted.accuracy, fitted.held_out_rows);
    let fitted = fitted.into_artefact(NAME, metrics);
    let startup = service.health.part("startup");
    let Some(partitions) = prepare(&settings, service, &startup).await? else {
        return Ok(ClassifierSummary::default());
    };
    let source = ChampionSource {
        topic: RegistryTopic::new(&settings.kafka, &settings.topics.models, NAME)
            .until(&service.stop),
        schema: settings.dataset.schema(),
        fitted,
    };
    let Some(first) = first_model(&source, service, &startup).await? else {
        return Ok(ClassifierSummary::default());
    };
    let (sender, receiver) = watch::channel(first);
    let follower: Follower = Box::new(move |until, part| {
        source.reporting_to(part).follow(&sender, until, part);
        Ok(())
    });

    let instance = Instance::claim(
        &settings.classifier.instance,
        &settings.classifier.group_id,
        &std::env::temp_dir(),
    );
    let metrics = Metrics::register(service);
    let rights = Rights::new(&settings.kafka, NAME, &needs(&settings));
    let cores = available_parallelism().map_or(1, NonZero::get);
    let workers = worker_count(settings.classifier.workers, cores, partitions);
    let plans = plans(&settings, workers, &instance.name);
    let workers = Workers {
        instance: &instance.name,
        settings: &settings,
        service,
        champion: &receiver,
        metrics: &metrics,
        rights: &rights,
        idle: IdleGroup::of(plans.len()),
    };
    let work = plans.into_iter().map(|plan| workers.work(plan)).collect();
    // Only now: before the workers have registered, no other part reports that the service is not ready.
    startup.finish();
    let watcher = watcher("rights", move |until, report| rights.watch(until, report));
    let followers = vec![("champion".to_owned(), follower), watcher];
    let grace = settings.service.shutdown_grace();
    let summaries = supervise_with(work, followers, service, grace).await?;
    Ok(summaries
        .into_iter()
        .fold(ClassifierSummary::default(), ClassifierSummary::plus))
}

/// Returns an error with the rights whose lack explains it, if they are known.
fn explained(error: WorkerError, rights: &Rights) -> anyhow::Error {
    let missing = error.denied().and_then(|denied| rights.explain(denied));
    match missing {
        Some(missing) => anyhow::Error::new(error).context(missing),
        None => error.into(),
    }
}

/// What the workers of a process have in common.
struct Workers<'a> {
    instance: &'a str,
    settings: &'a Settings,
    service: &'a Service,
    champion: &'a watch::Receiver<Classifier>,
    metrics: &'a Metrics,
    rights: &'a Rights,
    idle: IdleGroup,
}

impl Workers<'_> {
    /// Returns the work of one worker, with its name.
    fn work(&self, plan: WorkerPlan) -> (String, Work<ClassifierSummary>) {
        let (settings, service) = (self.settings, self.service);
        let WorkerPlan {
            name,
            start,
            transactional_id,
        } = plan;
        info!(
            "{name}: reading {} as group {}, writing as {transactional_id}",
            start.topic, start.group_id
        );
        let processor = Classify::new(
            self.champion.clone(),
            Origin {
                group: &start.group_id,
                worker: &format!("{} {name}", self.instance),
            },
            &settings.topics,
            &settings.classifier,
            self.metrics.clone(),
            service.spans.clone(),
        );
        let policy = settings.classifier.commit_policy();
        let part = service.health.part(&name);
        let (kafka, stop) = (settings.kafka.clone(), service.stop.clone());
        let (lag, rights) = (self.metrics.lag.clone(), self.rights.clone());
        let idle = self.idle.clone();
        let work = move || {
            let (group, topic) = (start.group_id.clone(), start.topic.clone());
            let worker = Worker::start(&kafka, NAME, start, &transactional_id, policy, processor)?;
            let mut worker = worker.ending_with(&idle);
            lag.watch(&group, &topic, worker.client_health());
            worker
                .run(&stop, &mut |problem| part.report(problem))
                .map_err(|error| explained(error, &rights))?;
            part.finish();
            Ok(worker.finish(Classify::summary))
        };
        (name, Box::new(work))
    }
}
