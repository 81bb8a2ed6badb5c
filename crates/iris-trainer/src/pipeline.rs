//! The loop: predictions and labels in; challengers, decisions and late feedback out.
//!
//! What was decided, what is left to learn, the feedback and where reading goes on are one transaction, under the
//! transactional id of everybody who writes to the registry. So a decision rests on all decisions before it; and a second
//! trainer fences the first, which notices and ends. After any fault the state is read again from the topic, as after a
//! restart: there is one way back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_contract::PROVENANCE_HEADER;
use iris_contract::registry::{Decision, Entry};
use iris_core::{Artefact, FitError, ModelVersion, Schema, split};
use iris_kafka::startup::{Need, connect};
use iris_kafka::{
    Headers, Offsets, OutgoingRecord, Read, ReadError, ReadProgress, TopicReader, pause,
};
use iris_registry::Registry;
use iris_registry::{Follower, RegistryTopic, RegistryTopicError, RegistryWriter};
use iris_service::{Part, Service, UsageError, Work, read_dataset, supervise};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::NAME;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::decision::{self, Outcome, Step, Trial};
use crate::input::{Input, Raw};
use crate::learner::{self, Drift, Due, Learner, Models, Row};
use crate::merge::{Lane, Merge, Topic};
use crate::metrics::Metrics;
use crate::observation::RawPrediction;
use crate::pace::Pace;
use crate::settings::Settings;
use crate::summary::Summary;

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(20);

/// How long to wait after a fault.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Records read in one go, of each topic.
const READ_AT_ONCE: usize = 2_000;

/// Why a session ended before it was to.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Registry(#[from] RegistryTopicError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "another trainer has taken over: only one at a time decides; stop one of the two, or give them topics of their own"
    )]
    TakenOver,
    #[error(
        "the registry has lost its champion: somebody has deleted its records; to begin anew, delete the topics and create \
         them"
    )]
    NoChampion,
    #[error("training on what was learned")]
    Fit(#[from] FitError),
    #[error(
        "model {0} is for other columns than dataset.features and dataset.label name: another dataset needs another \
         topics.models and topics.trainer_state"
    )]
    OtherColumns(ModelVersion),
}

impl Trouble {
    fn is_retriable(&self) -> bool {
        match self {
            Self::Registry(problem) => problem.is_retriable(),
            Self::Read(_) | Self::Checkpoint(CheckpointError::Read(_)) => true,
            _ => false,
        }
    }
}

/// Learns and decides until the service is stopped or, with `is_once`, until all that there is has been learned.
///
/// # Errors
/// [`UsageError`] if the dataset or the settings cannot be used; another error if the cluster cannot, or another trainer
/// has taken over.
pub async fn run(settings: Settings, is_once: bool, service: &Service) -> anyhow::Result<Summary> {
    let grace = settings.service.shutdown_grace();
    let trainer = Trainer {
        holdout: holdout(&settings)?,
        schema: settings.dataset.schema(),
        topic: RegistryTopic::new(&settings.kafka, &settings.topics.models, NAME),
        part: service.health.part("trainer"),
        metrics: Metrics::register(service),
        stop: service.stop.clone(),
        owner: format!("{:016x}", fastrand::u64(..)),
        is_once,
        settings,
    };
    let work: Work<Summary> = Box::new(move || trainer.work());
    let ended = supervise(vec![(NAME.to_owned(), work)], service, grace).await?;
    ended.into_iter().next().context("no work was done")
}

/// The dataset's rows that no model is fitted to.
fn holdout(settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let rows = read_dataset(&settings.dataset).map_err(UsageError::new)?;
    let model = &settings.model;
    let split = split::train_test_split(rows.len(), model.test_size, model.random_state)
        .map_err(|error| UsageError::from(anyhow::Error::new(error).context("model.test_size")))?;
    let row = |&row: &usize| (rows.features(row).to_vec(), rows.label(row).to_owned());
    Ok(split.test.iter().map(row).collect())
}

struct Trainer {
    settings: Settings,
    schema: Schema,
    holdout: Vec<Row>,
    topic: RegistryTopic,
    part: Arc<Part>,
    metrics: Metrics,
    stop: CancellationToken,
    /// Tells this process from others that train.
    owner: String,
    is_once: bool,
}

impl Trainer {
    fn work(&self) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let waiting = &mut |cause| self.part.report(Some(cause));
        let Settings {
            kafka,
            topics,
            service,
            ..
        } = &self.settings;
        let wait = service.wait_for_broker;
        let needs = [
            Need::read(&topics.predictions),
            Need::read(&topics.labels),
            Need::write(&topics.feedback).with_partitions_of(&topics.predictions),
            Need::write(&topics.models),
            Need::write(&topics.trainer_state),
        ];
        if connect(kafka, NAME, wait, &self.stop, waiting, &needs)?.is_none() {
            return Ok(summary);
        }
        let mut is_owner = false;
        while !self.stop.is_cancelled() {
            match self.session(&mut is_owner, &mut summary) {
                Ok(()) => break,
                Err(trouble) if trouble.is_retriable() => {
                    let trouble = format!("{:#}", anyhow::Error::new(trouble));
                    warn!("going back to the last checkpoint: {trouble}");
                    self.part.report(Some(trouble));
                    pause(RETRY_DELAY, &self.stop);
                }
                Err(_) if self.stop.is_cancelled() => break,
                Err(trouble) => return Err(trouble.into()),
            }
        }
        self.part.finish();
        Ok(summary)
    }

    /// Works from the last checkpoint on, to the end or to a fault.
    fn session(&self, is_owner: &mut bool, summary: &mut Summary) -> Result<(), Trouble> {
        if !self.await_champion()? {
            return Ok(());
        }
        let mut writer = self.topic.writer()?;
        if !writer.take_turn(&self.stop, &mut |cause| self.part.report(Some(cause)))? {
            return Ok(());
        }
        let trainer_topic = &self.settings.topics.trainer_state;
        let report = &mut |progress: &ReadProgress| self.part.report(Some(progress.to_string()));
        let found = Checkpoint::read(&self.settings.kafka, trainer_topic, report)?;
        let (checkpoint, owner) = found.unwrap_or_default();
        if is_taken_over(*is_owner, &self.owner, &owner) {
            return Err(Trouble::TakenOver);
        }
        let follower = self.topic.follow()?;
        let Some(champion) = follower.registry().champion() else {
            return Err(Trouble::NoChampion);
        };
        let champion = self.load(follower.registry(), champion)?;
        let mut session = Session::begin(self, writer, follower, champion, checkpoint, summary)?;
        session.commit(&[])?;
        *is_owner = true;
        session.run()
    }

    /// Waits until a classifier has adopted a first champion, without disturbing it: whoever takes a turn fences those who
    /// write. Returns whether there is one; there is none if the service was stopped.
    fn await_champion(&self) -> Result<bool, Trouble> {
        let mut follower = self.topic.follow()?;
        while follower.registry().champion().is_none() {
            let waits = "waiting for a first champion, which a classifier adopts";
            self.part.report(Some(waits.to_owned()));
            follower.wait(POLL_TIMEOUT)?;
            if self.stop.is_cancelled() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The name of a topic that is read.
    fn topic_name(&self, topic: Topic) -> &str {
        let topics = &self.settings.topics;
        match topic {
            Topic::Predictions => &topics.predictions,
            Topic::Labels => &topics.labels,
        }
    }

    fn load(&self, registry: &Registry, version: ModelVersion) -> Result<Arc<Artefact>, Trouble> {
        let artefact = self.topic.load(registry, version)?;
        check_columns(&artefact, &self.schema)?;
        Ok(Arc::new(artefact))
    }

    /// A model that can be done without.
    fn load_if_possible(
        &self,
        registry: &Registry,
        version: Option<ModelVersion>,
    ) -> Result<Option<Arc<Artefact>>, Trouble> {
        let Some(version) = version else {
            return Ok(None);
        };
        match self.load(registry, version) {
            Ok(artefact) => Ok(Some(artefact)),
            Err(trouble) if trouble.is_retriable() => Err(trouble),
            Err(trouble) => {
                warn!(
                    "going on without model {version}: {:#}",
                    anyhow::Error::new(trouble)
                );
                Ok(None)
            }
        }
    }
}

/// The work between two faults.
struct Session<'a> {
    trainer: &'a Trainer,
    summary: &'a mut Summary,
    writer: RegistryWriter,
    follower: Follower,
    learner: Learner,
    readers: [(Topic, TopicReader); 2],
    merge: Merge<(i64, Input)>,
    sources: BTreeMap<String, Offsets>,
    /// The entries that were written last, which a registry that is read has to have.
    written: Vec<Entry>,
    has_news: bool,
    committed: Instant,
    last_input: Instant,
}

impl<'a> Session<'a> {
    fn begin(
        trainer: &'a Trainer,
        writer: RegistryWriter,
        follower: Follower,
        champion: Arc<Artefact>,
        checkpoint: Checkpoint,
        summary: &'a mut Summary,
    ) -> Result<Self, Trouble> {
        let Checkpoint { sources, state } = checkpoint;
        let open = |topic| -> Result<_, ReadError> {
            let name = trainer.topic_name(topic);
            let none = Offsets::new();
            let known = sources.get(name).unwrap_or(&none);
            let reader = TopicReader::resume(&trainer.settings.kafka, name, known)?;
            trainer
                .metrics
                .lag
                .watch(NAME, name, reader.client_health());
            Ok((topic, reader))
        };
        let readers = [open(Topic::Predictions)?, open(Topic::Labels)?];
        let lanes = readers.iter().flat_map(|(topic, reader)| {
            let partitions = reader.partitions().iter();
            partitions.map(move |&partition| -> Lane { (*topic, partition) })
        });
        let registry = follower.registry();
        let (predecessor, shadow) = learner::needed(&state);
        let models = Models {
            champion,
            predecessor: trainer.load_if_possible(registry, predecessor)?,
            shadow: trainer.load_if_possible(registry, shadow)?,
        };
        let mut session = Self {
            merge: Merge::new(lanes),
            learner: Learner::restore(
                trainer.settings.trainer.clone(),
                trainer.schema.clone(),
                state,
                models,
            ),
            trainer,
            summary,
            writer,
            follower,
            readers,
            sources,
            written: Vec::new(),
            has_news: true,
            committed: Instant::now(),
            last_input: Instant::now(),
        };
        session.follow_champion()?;
        Ok(session)
    }

    fn run(&mut self) -> Result<(), Trouble> {
        let topics = &self.trainer.settings.topics;
        info!(
            "learning from {} and {}; the champion is {}",
            topics.predictions,
            topics.labels,
            self.learner.champion().model.version()
        );
        let pace = Pace::new(&self.trainer.settings.trainer, self.trainer.is_once);
        while !self.trainer.stop.is_cancelled() {
            self.read()?;
            while !self.trainer.stop.is_cancelled()
                && let Some((lane, (offset, input))) = self.merge.pop()
            {
                self.take(lane, offset, input);
                self.decide_what_is_due(false)?;
                if Pace::is_feedback_due(self.learner.feedback_len()) {
                    self.commit(&[])?;
                }
            }
            while self.follower.wait(Duration::ZERO)? {}
            self.follow_champion()?;
            let is_at_end = self.merge.is_at_end();
            if pace.awaits_nothing(is_at_end, self.last_input.elapsed()) {
                self.decide_what_is_due(true)?;
            }
            if pace.is_over(is_at_end) {
                break;
            }
            if pace.is_checkpoint_due(self.has_news, self.committed.elapsed()) {
                self.commit(&[])?;
            }
            let mut problems = self
                .readers
                .iter()
                .map(|(_, reader)| reader.client_health().problem());
            self.trainer
                .part
                .report(problems.find_map(|problem| problem));
        }
        if self.has_news {
            self.commit(&[])?;
        }
        Ok(())
    }

    /// Reads what is there into the merge.
    fn read(&mut self) -> Result<(), Trouble> {
        for (topic, reader) in &mut self.readers {
            let topic = *topic;
            let mut timeout = POLL_TIMEOUT;
            let mut reached = BTreeMap::new();
            for _ in 0..READ_AT_ONCE {
                match reader.read(timeout)? {
                    None => break,
                    Some(Read::End(partition)) => self.merge.end((topic, partition)),
                    Some(Read::Record(record)) => {
                        timeout = Duration::ZERO;
                        let lane = (topic, record.partition());
                        let timestamp = record.timestamp().unwrap_or_default();
                        reached.insert(record.partition(), timestamp);
                        let raw = Raw {
                            partition: record.partition(),
                            offset: record.offset(),
                            timestamp,
                            key: record.key(),
                            value: record.value(),
                            provenance: record.header(PROVENANCE_HEADER),
                        };
                        let input = Input::read(topic, &self.trainer.schema, raw);
                        self.merge.push(lane, timestamp, (record.offset(), input));
                    }
                }
            }
            let name = self.trainer.topic_name(topic);
            for (partition, timestamp) in reached {
                self.trainer.metrics.lag.reached(name, partition, timestamp);
            }
        }
        Ok(())
    }

    fn take(&mut self, (topic, partition): Lane, offset: i64, input: Input) {
        let name = self.trainer.topic_name(topic);
        let metrics = &self.trainer.metrics;
        if input.is_read() {
            self.summary.count_input(topic);
            metrics.read(topic.kind());
        }
        if let Err(why) = input.teach(&self.trainer.schema, &mut self.learner) {
            metrics.unusable(topic.kind());
            warn!("partition {partition} of topic `{name}`, offset {offset}: passed over: {why}");
        }
        for drift in self.learner.take_drifts() {
            metrics.drift(&drift);
            match drift {
                Drift::Errors { rise } => {
                    warn!("drift: the error rate has risen, the test's statistic to {rise:.2}")
                }
                Drift::Feature { name, index } => warn!(
                    "drift: the values of {name} spread otherwise than the training rows', population stability index {index:.2}"
                ),
            }
        }
        let offsets = self.sources.entry(name.to_owned()).or_default();
        offsets.insert(partition, offset + 1);
        self.has_news = true;
        self.last_input = Instant::now();
    }

    /// Goes on under the registry's champion, if somebody else has made another one. Returns whether that is so.
    fn follow_champion(&mut self) -> Result<bool, Trouble> {
        let registry = self.follower.registry();
        let known = self.learner.decision();
        let Some(made) = decision::later_champion(registry, known) else {
            return Ok(false);
        };
        let made: Decision = made.clone();
        let champion = self.trainer.load(registry, made.version)?;
        let predecessor = self.trainer.load_if_possible(registry, made.replaces)?;
        if known != 0 {
            info!(
                "the champion is {} now: {} by {}",
                made.version, made.action, made.by
            );
        }
        self.learner
            .follow(made.number, made.action, champion, predecessor);
        self.has_news = true;
        Ok(true)
    }

    /// Decides what is to be decided, until nothing is. A decision of somebody else's that is not known here yet is no
    /// danger: it fenced this writer, and what is decided without it is refused.
    fn decide_what_is_due(&mut self, is_end: bool) -> Result<(), Trouble> {
        while let Some(due) = self.learner.due(is_end) {
            self.follower.wait_for(&self.written, &self.trainer.stop)?;
            if self.follow_champion()? {
                // What was due may not be any more.
                continue;
            }
            let registry = self.follower.registry().clone();
            match due {
                Due::Training(cause) => self.train(&registry, cause)?,
                Due::RollBack => self.roll_back(&registry)?,
                Due::Shadow => self.end_shadow(&registry)?,
            }
        }
        Ok(())
    }

    fn train(&mut self, registry: &Registry, cause: &str) -> Result<(), Trouble> {
        let holdout = &self.trainer.holdout;
        let trial = decision::train(&mut self.learner, &self.sources, holdout, cause)?;
        let Some(trial) = trial else {
            self.has_news = true;
            return Ok(());
        };
        let model = &trial.challenger.model;
        info!(
            "trained challenger {} on {} rows: {cause}",
            model.version(),
            model.training_set().len()
        );
        let has_shadow = self.trainer.settings.trainer.shadow_records > 0;
        let step = decision::admit(&mut self.learner, registry, trial, has_shadow);
        self.carry_out(&step)
    }

    fn end_shadow(&mut self, registry: &Registry) -> Result<(), Trouble> {
        let Some((challenger, verdict)) = self.learner.judge_shadow() else {
            return Ok(());
        };
        let trial = Trial {
            challenger,
            verdict,
        };
        let step = decision::enter(&mut self.learner, registry, trial);
        self.carry_out(&step)
    }

    fn roll_back(&mut self, registry: &Registry) -> Result<(), Trouble> {
        let load = |version| self.trainer.load(registry, version);
        let step = decision::roll_back(&mut self.learner, registry, load)?;
        self.carry_out(&step)
    }

    /// Writes a decision, and says so.
    fn carry_out(&mut self, step: &Step) -> Result<(), Trouble> {
        if let Outcome::NothingToRollBackTo(_) = &step.outcome {
            error!("{}", step.outcome);
            return Ok(());
        }
        self.commit(&step.entries)?;
        self.summary.count_decision(&step.outcome);
        self.trainer.metrics.decided(&step.outcome);
        info!("{}", step.outcome);
        Ok(())
    }

    /// Writes what was decided, the feedback and the state as one transaction.
    fn commit(&mut self, entries: &[Entry]) -> Result<(), Trouble> {
        let topics = &self.trainer.settings.topics;
        let feedback = self.learner.take_feedback();
        let checkpoint = Checkpoint {
            sources: self.sources.clone(),
            state: self.learner.store(),
        };
        let state = checkpoint.records(&self.trainer.owner);
        let outgoing = feedback
            .iter()
            .map(|feedback| late_feedback(&topics.feedback, feedback))
            .chain(state.iter().map(|(key, value)| OutgoingRecord {
                topic: &topics.trainer_state,
                partition: Some(0),
                timestamp: None,
                key: Some(key.as_bytes()),
                value: Some(value),
                headers: Headers::default(),
            }));
        self.writer.write(entries, outgoing)?;
        if !entries.is_empty() {
            self.written = entries.to_vec();
        }
        self.trainer
            .metrics
            .committed(&self.learner, feedback.len());
        self.has_news = false;
        self.committed = Instant::now();
        Ok(())
    }
}

/// Whether another trainer has written the state since this one did. A state that is gone counts as another's.
fn is_taken_over(has_written: bool, own_name: &str, writer: &str) -> bool {
    has_written && writer != own_name
}

/// Checks that a model is for the columns that the settings name.
fn check_columns(artefact: &Artefact, schema: &Schema) -> Result<(), Trouble> {
    let theirs = artefact.model.training_set().schema();
    if (&theirs.features, &theirs.label) == (&schema.features, &schema.label) {
        Ok(())
    } else {
        Err(Trouble::OtherColumns(artefact.model.version()))
    }
}

fn late_feedback<'a>(topic: &'a str, feedback: &'a RawPrediction) -> OutgoingRecord<'a> {
    let headers = Headers::default();
    OutgoingRecord {
        topic,
        partition: Some(feedback.place.partition),
        timestamp: Some(feedback.timestamp),
        key: feedback.key.as_deref().map(str::as_bytes),
        value: Some(feedback.value.as_bytes()),
        headers: match &feedback.provenance {
            Some(provenance) => headers.set(PROVENANCE_HEADER, provenance),
            None => headers,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{announced, learner, model, schema};

    #[test]
    fn only_what_the_cluster_may_get_over_leads_back_to_the_last_checkpoint() {
        let version = model(0.0).model.version();
        let read_stalled = || ReadError::Stalled {
            topic: "t".to_owned(),
            timeout: Duration::from_secs(1),
            cause: None,
        };
        let stalled = RegistryTopicError::Stalled {
            topic: "t".to_owned(),
        };
        let corrupt = CheckpointError::Corrupt {
            topic: "t".to_owned(),
            problem: "x".to_owned(),
        };
        for (trouble, is_retriable) in [
            (Trouble::from(read_stalled()), true),
            (CheckpointError::from(read_stalled()).into(), true),
            (stalled.into(), true),
            (corrupt.into(), false),
            (RegistryTopicError::Stopped.into(), false),
            (Trouble::TakenOver, false),
            (Trouble::NoChampion, false),
            (Trouble::OtherColumns(version), false),
        ] {
            assert_eq!(trouble.is_retriable(), is_retriable, "{trouble:?}");
        }
    }

    #[test]
    fn a_trainer_gives_way_once_another_has_written_the_state_or_it_is_gone() {
        assert!(!is_taken_over(false, "me", "another"), "it begins");
        assert!(!is_taken_over(true, "me", "me"));
        assert!(is_taken_over(true, "me", "another"));
        assert!(is_taken_over(true, "me", ""));
    }

    #[test]
    fn a_model_for_other_features_or_another_label_is_refused() {
        let artefact = model(0.0);
        assert!(check_columns(&artefact, &schema()).is_ok());
        let other_id = Schema {
            id: "Number".into(),
            ..schema()
        };
        assert!(check_columns(&artefact, &other_id).is_ok());
        let other_features = Schema {
            features: vec!["y".into()],
            ..schema()
        };
        let other_label = Schema {
            label: "Kind".into(),
            ..schema()
        };
        for schema in [other_features, other_label] {
            let refused = check_columns(&artefact, &schema).unwrap_err().to_string();
            assert!(refused.contains("topics.models"), "{refused}");
        }
    }

    #[test]
    fn late_feedback_keeps_the_partition_time_key_and_value_of_its_prediction() {
        let mut feedback = announced(&learner(|_| ()), 7, 1.0, Some("a"));
        feedback.place.partition = 3;
        feedback.key = Some("k".to_owned());
        let record = late_feedback("feedback", &feedback);
        assert_eq!((record.topic, record.partition), ("feedback", Some(3)));
        assert_eq!(record.timestamp, Some(7));
        assert_eq!(record.key, Some(&b"k"[..]));
        assert_eq!(record.value, Some(feedback.value.as_bytes()));
    }
}
