//! The pipeline: reads predictions and labels; writes challengers, decisions and late feedback.
//!
//! Decisions, the learner's state, late feedback and the offsets are written in one transaction, under the transactional id
//! that all writers of the registry share. Each decision therefore knows all earlier ones, and a second trainer fences the
//! first, which notices and ends. After any fault, a new session reads the state from the topic again, as after a restart.

mod commits;
mod committer;
mod context;
mod error;
mod outgoing;
mod session;
mod sources;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use iris_contract::Topics;
use iris_core::{Artefact, Lineage};
use iris_kafka::startup::{self, Need};
use iris_kafka::{ReadProgress, Rights, pause};
use iris_registry::RegistryTopic;
use iris_service::{
    ReplacedError, Service, SplitDataset, UsageError, Work, supervise_with, watcher,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::NAME;
use crate::challenger::DATASET;
use crate::checkpoint::{StoredCheckpoint, is_taken_over};
use crate::learner::Row;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::settings::Settings;
use crate::storage::Storage;
use crate::summary::TrainerSummary;

use context::Context;
use error::{Recovery, SessionError};
use session::Session;

/// How long one wait for the registry's records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(20);

/// How long to wait before a session is restarted.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Learns and decides until the service is stopped or, with `is_once`, until the end of the input.
///
/// # Errors
/// [`UsageError`] if the dataset or the settings cannot be used; [`ReplacedError`] if another trainer has taken over; another
/// error if the cluster cannot be used.
pub async fn run(
    settings: Settings,
    is_once: bool,
    service: &Service,
) -> anyhow::Result<TrainerSummary> {
    let grace = settings.service.shutdown_grace();
    let Some((dataset, holdout)) = dataset(&settings, &service.stop)? else {
        return Ok(TrainerSummary::default());
    };
    let part = service.health.part("trainer");
    let topic =
        RegistryTopic::new(&settings.kafka, &settings.topics.models, NAME).until(&service.stop);
    let context = Context {
        holdout,
        dataset: Arc::new(dataset),
        schema: settings.dataset.schema(),
        topic: topic.reporting(part.reporter()),
        storage: RefCell::new(Storage::new(settings.registry.clone())),
        part,
        metrics: Metrics::register(service),
        stop: service.stop.clone(),
        owner: format!("{:016x}", fastrand::u64(..)),
        is_once,
        settings,
    };
    let rights = Rights::new(
        &context.settings.kafka,
        NAME,
        &needs(&context.settings.topics),
    );
    let watched = rights.clone();
    let watcher = watcher("rights", move |until, report| watched.watch(until, report));
    let work: Work<TrainerSummary> = Box::new(move || work(&context, &rights));
    let work = vec![(NAME.to_owned(), work)];
    let ended = supervise_with(work, vec![watcher], service, grace).await?;
    ended.into_iter().next().context("no work was done")
}

/// Returns the model of the dataset, and the dataset's rows that no model is trained on; `None` if `stop` is cancelled.
fn dataset(
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Option<(Artefact, Vec<Row>)>, UsageError> {
    let Some(dataset) = SplitDataset::read(&settings.dataset, &settings.model, stop)? else {
        return Ok(None);
    };
    let row = |(features, label): (&[f64], &str)| (features.to_vec(), label.to_owned());
    let lineage = Lineage {
        rows: vec![(DATASET.to_owned(), dataset.training_rows() as u64)],
        ..Lineage::default()
    };
    let artefact = Artefact {
        model: dataset.fit()?,
        lineage,
    };
    Ok(Some((artefact, dataset.held_out().map(row).collect())))
}

/// Connects to the cluster and runs sessions until one ends without an error that may clear.
fn work(context: &Context, rights: &Rights) -> anyhow::Result<TrainerSummary> {
    let mut summary = TrainerSummary::default();
    if !connect(context)? {
        return Ok(summary);
    }
    let mut is_owner = false;
    let mut notices = Notices::default();
    let mut reported = None;
    while !context.stop.is_cancelled() {
        let Err(error) = session(context, &mut is_owner, &mut summary, &mut notices) else {
            break;
        };
        if let Some(version) = error.too_large_model()
            && context.storage.borrow_mut().refuse(version)
        {
            // The challenger is trained again, and rejected if it is refused alone.
            warn!("restarting from the last checkpoint: {error}");
            continue;
        }
        match error.recovery(context.stop.is_cancelled()) {
            Recovery::Restart => {
                let problem = format!("{:#}", anyhow::Error::new(error));
                context.part.report(Some(problem.clone()));
                if reported.as_ref() != Some(&problem) {
                    warn!("restarting from the last checkpoint: {problem}");
                    reported = Some(problem);
                }
                pause(RETRY_DELAY, &context.stop);
            }
            Recovery::Stop => break,
            Recovery::Fail => {
                let missing = error.denied().and_then(|denied| rights.explain(denied));
                let failure = match error {
                    SessionError::TakenOver => ReplacedError::new(error).into(),
                    error => anyhow::Error::from(error),
                };
                return Err(match missing {
                    Some(missing) => failure.context(missing),
                    None => failure,
                });
            }
        }
    }
    for notice in notices.take_due(Instant::now(), true) {
        notice.log();
    }
    context.part.finish();
    Ok(summary)
}

/// Returns the topics that the trainer needs.
fn needs(topics: &Topics) -> [Need<'_>; 7] {
    [
        Need::read(&topics.predictions),
        Need::read(&topics.labels),
        Need::write(&topics.feedback)
            .with_partitions_of(&topics.predictions)
            .without_keys(),
        Need::read(&topics.models),
        Need::write(&topics.models),
        Need::read(&topics.trainer_state),
        Need::write(&topics.trainer_state),
    ]
}

/// Waits for the cluster and checks the topics. Returns whether they are ready; they are not if the service was stopped.
fn connect(context: &Context) -> anyhow::Result<bool> {
    let Settings {
        kafka,
        topics,
        service,
        ..
    } = &context.settings;
    let waiting = &mut |cause| context.part.report(Some(cause));
    let wait = service.wait_for_broker;
    let needs = needs(topics);
    let cluster = startup::connect(kafka, NAME, wait, &context.stop, waiting, &needs)?;
    Ok(cluster.is_some())
}

/// Runs one session from the last checkpoint. `is_owner`: whether this process has written a checkpoint.
fn session(
    context: &Context,
    is_owner: &mut bool,
    summary: &mut TrainerSummary,
    notices: &mut Notices,
) -> Result<(), SessionError> {
    if !await_champion(context)? {
        return Ok(());
    }
    let mut writer = context.topic.writer()?;
    let waiting = &mut |cause| context.part.report(Some(cause));
    let topic = context.settings.topics.trainer_state.as_str();
    if !writer.take_turn(&[topic], &context.stop, waiting)? {
        return Ok(());
    }
    let reading = &mut |progress: &ReadProgress| context.part.report(Some(progress.to_string()));
    let stored = StoredCheckpoint::read(&context.settings.kafka, topic, reading)?;
    if is_taken_over(*is_owner, &context.owner, &stored.writer) {
        return Err(SessionError::TakenOver);
    }
    let follower = context.topic.follow()?;
    let Some(champion) = follower.registry().champion() else {
        return Err(SessionError::NoChampion);
    };
    let champion = context.load(follower.registry(), champion)?;
    let mut session = Session::begin(
        context, writer, follower, champion, stored, summary, notices,
    )?;
    session.commit()?;
    *is_owner = true;
    session.run()
}

/// Waits until a classifier has adopted a first champion, without taking a turn, which would fence the classifier. Returns
/// whether there is a champion; there is none if the service was stopped.
fn await_champion(context: &Context) -> Result<bool, SessionError> {
    let mut follower = context.topic.follow()?;
    while follower.registry().champion().is_none() {
        let cause = "waiting for the first champion, which a classifier or `iris-admin models adopt` adopts";
        context.part.report(Some(cause.to_owned()));
        follower.wait(POLL_TIMEOUT)?;
        if context.stop.is_cancelled() {
            return Ok(false);
        }
    }
    Ok(true)
}
