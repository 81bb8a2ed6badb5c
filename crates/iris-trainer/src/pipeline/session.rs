//! A session: reads and learns from the last checkpoint to the end of the input, a stop or a fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iris_contract::PROVENANCE_HEADER;
use iris_contract::registry::{Decision, Entry};
use iris_core::Artefact;
use iris_kafka::{PartitionOffset, Positions, Read, TopicId, TopicReader};
use iris_registry::{Follower, Registry, RegistryWriter};
use tracing::{info, warn};

use super::committer::{Committer, TopicWriter, Waiting};
use super::context::Context;
use super::error::SessionError;
use super::sources::{check_partitions, lanes, open_all, watcher};
use crate::checkpoint::{CheckpointWriter, StoredCheckpoint};
use crate::decision::later_champion;
use crate::input::{Input, Raw};
use crate::learner::{Learner, LearnerState, Models};
use crate::merge::{Lane, Merge, Topic};
use crate::notices::{Notices, Subject};
use crate::overload::Overload;
use crate::schedule::Schedule;
use crate::summary::TrainerSummary;

/// How long one wait for records of a topic lasts. Records of the other one wait as long.
const POLL_TIMEOUT: Duration = Duration::from_millis(5);

/// How long it lasts while decisions wait for a transaction.
const WAITING_POLL_TIMEOUT: Duration = Duration::from_millis(1);

/// How long records are processed before the sample is adapted.
const LEARNING_TIME: Duration = Duration::from_millis(20);

/// The maximum number of records of each topic that are read before they are processed.
const MAX_READ: usize = 2_000;

/// The work between two faults.
pub(crate) struct Session<'a> {
    pub(super) context: &'a Context,
    pub(super) summary: &'a mut TrainerSummary,
    pub(super) notices: &'a mut Notices,
    pub(super) committer: Committer,
    pub(super) checkpoint_writer: CheckpointWriter,
    pub(super) follower: Follower,
    /// The registry with the entries that were submitted.
    pub(super) registry: Registry,
    pub(super) learner: Learner,
    pub(super) readers: [(Topic, TopicReader); 2],
    pub(super) merge: Merge<(i64, Input)>,
    pub(super) sources: BTreeMap<String, Positions>,
    pub(super) topic_ids: BTreeMap<String, TopicId>,
    /// The last entries that were submitted.
    pub(super) written: Vec<Entry>,
    pub(super) waiting: Waiting,
    pub(super) has_changes: bool,
    pub(super) submitted: Instant,
    pub(super) last_input: Instant,
    pub(super) overload: Overload,
}

impl<'a> Session<'a> {
    /// Opens the topics at the checkpoint's offsets and restores the learner.
    ///
    /// # Errors
    /// [`SessionError`] if a topic or a model cannot be read.
    pub(crate) fn begin(
        context: &'a Context,
        writer: RegistryWriter,
        follower: Follower,
        champion: Arc<Artefact>,
        stored: StoredCheckpoint,
        summary: &'a mut TrainerSummary,
        notices: &'a mut Notices,
    ) -> Result<Self, SessionError> {
        let (mut checkpoint, checkpoint_writer) = stored.into_writer(&context.owner);
        let readers = open_all(context, &mut checkpoint)?;
        check_partitions(context, &readers[0].1)?;
        let merge = Merge::new(lanes(context, &readers, &checkpoint.times));
        let registry = follower.registry().clone();
        let learner = restore_learner(context, &registry, champion, checkpoint.state)?;
        let max_lag = context.settings.trainer.max_lag();
        let mut session = Self {
            merge,
            learner,
            context,
            summary,
            notices,
            committer: Committer::start(TopicWriter {
                registry: writer,
                topics: context.settings.topics.clone(),
                sources: [readers[0].1.source(), readers[1].1.source()],
                watcher: watcher(context)?,
            }),
            checkpoint_writer,
            registry,
            follower,
            readers,
            sources: checkpoint.sources,
            topic_ids: checkpoint.topic_ids,
            written: Vec::new(),
            waiting: Waiting::default(),
            has_changes: true,
            submitted: Instant::now(),
            last_input: Instant::now(),
            // A run to the end of the input takes as long as it takes.
            overload: Overload::new(max_lag.filter(|_| !context.is_once), Instant::now()),
        };
        session.follow_champion()?;
        Ok(session)
    }

    /// Reads, learns, decides and commits until the service is stopped or the session is finished.
    ///
    /// # Errors
    /// [`SessionError`] at any fault; uncommitted work is lost and done again by the next session.
    pub(crate) fn run(&mut self) -> Result<(), SessionError> {
        let topics = &self.context.settings.topics;
        info!(
            "learning from {} and {}; the champion is {}",
            topics.predictions,
            topics.labels,
            self.learner.champion().model.version()
        );
        let schedule = Schedule::new(&self.context.settings.trainer, self.context.is_once);
        let mut is_learned = true;
        while !self.context.stop.is_cancelled() {
            let is_read = is_learned && self.read()?;
            is_learned = self.learn()?;
            self.take_sample(is_read && is_learned);
            self.log_notices();
            self.follow_commit()?;
            self.follow_registry()?;
            self.follow_champion()?;
            let is_at_end = self.merge.is_at_end();
            if schedule.is_input_over(is_at_end, self.last_input.elapsed()) {
                self.decide_what_is_due(true)?;
            }
            if schedule.is_finished(is_at_end) {
                break;
            }
            if schedule.is_checkpoint_due(self.has_changes, self.submitted.elapsed()) {
                self.submit()?;
            }
            let mut readers = self.readers.iter();
            let problem = readers.find_map(|(_, reader)| reader.client_health().problem());
            self.context.part.report(problem);
        }
        if self.has_changes {
            self.commit()?;
        }
        self.finish_commit()
    }

    /// Chooses the ratio of records to take, by whether all available records have been processed.
    fn take_sample(&mut self, is_drained: bool) {
        let Some(ratio) = self.overload.observe(is_drained, Instant::now()) else {
            return;
        };
        self.context.metrics.sample(ratio);
        if ratio < 1.0 {
            let one_in = ratio.recip();
            warn!("the stream is faster than the trainer: learning from one in {one_in} ids");
        } else {
            info!("learning from all records again");
        }
    }

    /// Reads the records that are available into the merge, and waits only if there are none. Returns whether it has read all
    /// of them.
    fn read(&mut self) -> Result<bool, SessionError> {
        let ratio = self.overload.ratio();
        let mut is_drained = true;
        let mut timeout = if self.waiting.is_empty() {
            POLL_TIMEOUT
        } else {
            WAITING_POLL_TIMEOUT
        };
        for (topic, reader) in &mut self.readers {
            let topic = *topic;
            let (mut reached, mut has_more) = (BTreeMap::new(), true);
            for _ in 0..MAX_READ {
                match reader.read(timeout)? {
                    None => {
                        has_more = false;
                        break;
                    }
                    Some(Read::End(partition)) => self.merge.end((topic, partition)),
                    Some(Read::Record(record)) => {
                        timeout = Duration::ZERO;
                        let timestamp = record.timestamp().unwrap_or_default();
                        let raw = Raw {
                            partition: record.partition(),
                            offset: record.offset(),
                            timestamp,
                            key: record.key(),
                            value: record.value(),
                            provenance: record.header(PROVENANCE_HEADER),
                        };
                        let input = Input::read(topic, &self.context.schema, ratio, raw);
                        let lane = (topic, record.partition());
                        self.merge.push(lane, timestamp, (record.offset(), input));
                        reached.insert(record.partition(), timestamp);
                    }
                }
            }
            is_drained &= !has_more;
            let name = self.context.topic_name(topic);
            for (partition, timestamp) in reached {
                self.context.metrics.lag.reached(name, partition, timestamp);
            }
        }
        Ok(is_drained)
    }

    /// Processes records whose order is known, and makes the decisions that become due. Returns whether it has processed all of
    /// them; it may take only some, so that the sample is adapted in time.
    fn learn(&mut self) -> Result<bool, SessionError> {
        let end = Instant::now() + LEARNING_TIME;
        while !self.context.stop.is_cancelled() {
            if Instant::now() >= end {
                return Ok(false);
            }
            let Some((lane, (offset, input))) = self.merge.pop(self.learner.now()) else {
                break;
            };
            self.take(lane, offset, input);
            if !self.waiting.is_empty() {
                self.follow_commit()?;
            }
            self.decide_what_is_due(false)?;
            if Schedule::is_feedback_due(self.learner.feedback_len()) {
                self.submit()?;
            }
        }
        Ok(true)
    }

    fn take(&mut self, (topic, partition): Lane, offset: i64, input: Input) {
        let name = self.context.topic_name(topic);
        let metrics = &self.context.metrics;
        if input.is_read() {
            self.summary.count_input(topic);
            metrics.read(topic.kind());
        }
        let place = || format!("partition {partition} of topic `{name}`, offset {offset}");
        if let Some(mistake) = input.key_mistake() {
            metrics.suspect_key(mistake.reason());
            let example = || format!("{}: {mistake}", place());
            self.notices
                .add(Subject::SuspectKey, mistake.reason(), 1, example);
        }
        let ratio = self.overload.ratio();
        match input.apply(&self.context.schema, ratio, &mut self.learner) {
            Ok(true) => {}
            Ok(false) => metrics.left_out(topic.kind()),
            Err(why) => {
                metrics.unusable(topic.kind(), why.reason());
                let example = || format!("{}: {why}", place());
                self.notices
                    .add(Subject::Skipped(topic), why.kind(), 1, example);
            }
        }
        for drift in self.learner.take_drifts() {
            metrics.drift(&drift);
            warn!("drift: {drift}");
        }
        let positions = self.sources.entry(name.to_owned()).or_default();
        positions.advance(PartitionOffset::new(partition, offset));
        self.has_changes = true;
        self.last_input = Instant::now();
    }

    /// Logs the records that were skipped or have expired, as far as lines about them are due.
    fn log_notices(&mut self) {
        let settings = &self.context.settings.trainer;
        let subjects = [Subject::ExpiredPrediction, Subject::ExpiredLabel];
        for (subject, unjoined) in subjects.into_iter().zip(self.learner.take_unjoined()) {
            let example = || unjoined.describe(settings);
            self.notices.add(subject, "", unjoined.records, example);
        }
        for notice in self.notices.take_due(Instant::now(), false) {
            notice.log();
        }
    }

    /// Follows the registry's champion if another writer has made a new one. Returns whether that is so.
    pub(super) fn follow_champion(&mut self) -> Result<bool, SessionError> {
        let registry = self.follower.registry();
        let known = self.learner.decision();
        let Some(made) = later_champion(registry, known) else {
            return Ok(false);
        };
        let made: Decision = made.clone();
        let champion = self.context.load(registry, made.version)?;
        let predecessor = self.context.load_if_possible(registry, made.replaces)?;
        if known != 0 {
            info!(
                "the champion is now {}: {} by {}",
                made.version, made.action, made.by
            );
        }
        self.learner
            .follow(made.number, made.action, champion, predecessor);
        self.has_changes = true;
        Ok(true)
    }
}

/// Restores the learner with the models that its state names, as far as they can be used.
///
/// # Errors
/// [`SessionError`] if a retry may succeed.
fn restore_learner(
    context: &Context,
    registry: &Registry,
    champion: Arc<Artefact>,
    state: LearnerState,
) -> Result<Learner, SessionError> {
    let models = Models {
        champion,
        predecessor: context.load_if_possible(registry, state.predecessor())?,
        shadow: context.load_if_possible(registry, state.shadow())?,
        kinds: context.settings.competing_kinds(),
        dataset: Arc::clone(&context.dataset),
    };
    let settings = context.settings.trainer.clone();
    let mut learner = Learner::restore(settings, context.schema.clone(), state, models);
    let known = learner.evaluation().never_learning_model();
    learner.compare_with(context.first_champion(registry, known)?);
    Ok(learner)
}
