//! The registry's topic: read, followed, and written by one at a time.
//!
//! Whoever writes first fences, by the one transactional id that all writers share, whoever was about to write; then it
//! reads all that was committed, and only then decides. So every decision knows all those before it, and of two who
//! decide at the same time one is refused and decides again. The registry is partition 0 of its topic: one log, one order.
//!
//! Deliberately absent: what records mean (iris-core's `registry`).

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use iris_contract::registry::Entry;
use iris_core::{Artefact, ArtefactError, ImpossibleSetting, ModelVersion};
use iris_kafka::{
    Fault, Headers, KafkaSettings, Offsets, OutgoingRecord, ReadError, Record, TopicReader,
    TransactionalProducer, pause,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::registry::{Registered, Registry, RegistryError};

/// The partition that has the registry, however many there are.
const PARTITION: i32 = 0;

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long reading may bring nothing before it is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before looking again whether a transaction can be read.
const SETTLE_STEP: Duration = Duration::from_millis(20);

/// How often a decision is tried again after others came first.
const MOST_ATTEMPTS: usize = 20;

/// Why the registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryTopicError {
    /// A setting cannot be used.
    #[error("kafka.{0}")]
    Setting(#[from] ImpossibleSetting),
    /// The topic cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Reading brings nothing.
    #[error("reading topic `{topic}` has brought nothing for {} s", STALL_TIMEOUT.as_secs())]
    Stalled {
        /// The topic.
        topic: String,
    },
    /// The topic cannot be written to.
    #[error("cannot write to topic `{topic}`")]
    Write {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        fault: Fault,
    },
    /// An artefact is larger than the topic takes.
    #[error(
        "model {key} takes {bytes} bytes, more than topic `{topic}` takes: raise the topic's max.message.bytes, or train on \
         fewer rows"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// The model's version.
        key: String,
        /// The artefact's size before compression.
        bytes: usize,
    },
    /// What is asked for is refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A model is refused.
    #[error("model {version} is refused")]
    Artefact {
        /// The model.
        version: ModelVersion,
        /// Why.
        #[source]
        source: ArtefactError,
    },
    /// The service is stopping.
    #[error("stopped")]
    Stopped,
}

impl RegistryTopicError {
    /// Whether trying again may help: it is the cluster that did not do what it was asked for in time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Read(_) | Self::Stalled { .. } => true,
            Self::Write { fault, .. } => !matches!(fault, Fault::NotAuthorised(_)),
            _ => false,
        }
    }
}

/// The topic of the registry.
#[derive(Clone, Debug)]
pub struct RegistryTopic {
    settings: KafkaSettings,
    topic: String,
    service: String,
}

impl RegistryTopic {
    /// Names the topic, and the service that uses it.
    #[must_use]
    pub fn new(settings: &KafkaSettings, topic: &str, service: &str) -> Self {
        Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            service: service.to_owned(),
        }
    }

    /// Reads what is committed.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if the topic is not there, or cannot be read.
    pub fn read(&self) -> Result<Registry, RegistryTopicError> {
        Ok(self.read_to_end()?.0)
    }

    /// What is committed, and the offset at which reading goes on.
    fn read_to_end(&self) -> Result<(Registry, i64), RegistryTopicError> {
        let start = Offsets::from([(PARTITION, 0)]);
        let mut reader = TopicReader::open_at(&self.settings, &self.topic, &start)?;
        let (mut registry, mut next) = (Registry::default(), 0);
        let mut latest = Instant::now();
        while !reader.has_reached_the_end() {
            if let Some(record) = reader.next(POLL_TIMEOUT)? {
                latest = Instant::now();
                apply(&mut registry, &record);
                next = record.offset() + 1;
            } else if latest.elapsed() >= STALL_TIMEOUT {
                let topic = self.topic.clone();
                return Err(RegistryTopicError::Stalled { topic });
            }
        }
        Ok((registry, next))
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if it is not there, cannot be read, or is not what its version says.
    pub fn load(
        &self,
        registry: &Registry,
        version: ModelVersion,
    ) -> Result<Artefact, RegistryTopicError> {
        let Some(&Registered { offset, .. }) = registry.model(version) else {
            return Err(RegistryError::NoSuchModel(version).into());
        };
        let start = Offsets::from([(PARTITION, offset)]);
        let mut reader = TopicReader::open_at(&self.settings, &self.topic, &start)?;
        let key = version.to_string();
        let mut latest = Instant::now();
        while !reader.has_reached_the_end() {
            if let Some(record) = reader.next(POLL_TIMEOUT)? {
                latest = Instant::now();
                if record.key() == Some(key.as_bytes())
                    && let Some(json) = record.value()
                {
                    return Artefact::read(version, json)
                        .map_err(|source| RegistryTopicError::Artefact { version, source });
                }
            } else if latest.elapsed() >= STALL_TIMEOUT {
                let topic = self.topic.clone();
                return Err(RegistryTopicError::Stalled { topic });
            }
        }
        Err(RegistryError::NoSuchModel(version).into())
    }

    /// Writes what `decide` wants written, knowing everything that was written before. Called again when another decision
    /// came first. Returns the registry as it is then.
    ///
    /// # Errors
    /// What `decide` returns; [`RegistryTopicError`] if the topic cannot be used.
    pub fn update(
        &self,
        stop: &CancellationToken,
        decide: &mut dyn FnMut(&Registry) -> Result<Vec<Entry>, RegistryError>,
    ) -> Result<Registry, RegistryTopicError> {
        let mut writer = self.writer()?;
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_jitter()
            .with_max_times(MOST_ATTEMPTS)
            .build();
        let mut written: Vec<Entry> = Vec::new();
        loop {
            if !writer.take_turn(stop, &mut |_| ())? {
                return Err(RegistryTopicError::Stopped);
            }
            let registry = self.read()?;
            // What became of the attempt before may not have been known.
            if !written.is_empty() && registry.has(&written) {
                return Ok(registry);
            }
            written = decide(&registry)?;
            if written.is_empty() {
                return Ok(registry);
            }
            let Err(problem) = writer.write(&written, []) else {
                return writer.read_with(&written, stop);
            };
            match delays.next().filter(|_| problem.may_pass()) {
                Some(delay) => {
                    debug!(error = &problem as &dyn std::error::Error, "deciding again");
                    pause(delay, stop);
                }
                None => return Err(problem),
            }
        }
    }

    /// Somebody who may write, as soon as it is its turn.
    ///
    /// # Errors
    /// [`RegistryTopicError::Setting`] if a setting cannot be used.
    pub fn writer(&self) -> Result<RegistryWriter, RegistryTopicError> {
        let transactional_id = format!("{}-registry", self.topic);
        let producer =
            TransactionalProducer::new(&self.settings, &self.service, &transactional_id)?;
        Ok(RegistryWriter {
            topic: self.clone(),
            producer,
        })
    }

    /// Reads what is committed, and goes on reading.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if the topic is not there, or cannot be read.
    pub fn follow(&self) -> Result<Follower, RegistryTopicError> {
        let (registry, next) = self.read_to_end()?;
        let start = Offsets::from([(PARTITION, next)]);
        Ok(Follower {
            topic: self.topic.clone(),
            reader: TopicReader::open_to_wait(&self.settings, &self.topic, &start)?,
            registry,
        })
    }
}

/// Somebody who writes to the registry, until somebody else does.
#[derive(Debug)]
pub struct RegistryWriter {
    topic: RegistryTopic,
    producer: TransactionalProducer,
}

impl RegistryWriter {
    /// Fences whoever was about to write; whoever does so next fences this one, and what it writes is refused. What is
    /// read after this is all that was ever written before. `waiting` is told what is waited for. Returns whether it is
    /// this one's turn; it is not if `stop` was cancelled.
    ///
    /// # Errors
    /// [`RegistryTopicError::Write`] if the user may not.
    pub fn take_turn(
        &mut self,
        stop: &CancellationToken,
        waiting: &mut dyn FnMut(String),
    ) -> Result<bool, RegistryTopicError> {
        let prepared = self.producer.prepare(stop, waiting);
        prepared.map_err(|fault| self.write_error(fault))
    }

    /// Writes entries, and records of other topics with them, as one transaction.
    ///
    /// # Errors
    /// [`RegistryTopicError`]; another turn has to be taken then. Unless it is known that nothing was written, it
    /// [may pass](RegistryTopicError::may_pass), and the registry says what was.
    pub fn write<'a>(
        &mut self,
        entries: &'a [Entry],
        others: impl IntoIterator<Item = OutgoingRecord<'a>>,
    ) -> Result<(), RegistryTopicError> {
        let Err(fault) = self.try_to_write(entries, others) else {
            return Ok(());
        };
        self.producer.give_up(&fault);
        if self.producer.take_too_large().is_empty() {
            Err(self.write_error(fault))
        } else {
            Err(self.too_large(entries))
        }
    }

    fn try_to_write<'a>(
        &mut self,
        entries: &'a [Entry],
        others: impl IntoIterator<Item = OutgoingRecord<'a>>,
    ) -> Result<(), Fault> {
        self.producer.begin()?;
        for entry in entries {
            self.producer.send(OutgoingRecord {
                topic: &self.topic.topic,
                partition: Some(PARTITION),
                timestamp: None,
                key: Some(entry.key.as_bytes()),
                value: Some(&entry.value),
                headers: Headers::default(),
            })?;
        }
        for record in others {
            self.producer.send(record)?;
        }
        self.producer.commit()
    }

    fn write_error(&self, fault: Fault) -> RegistryTopicError {
        RegistryTopicError::Write {
            topic: self.topic.topic.clone(),
            fault,
        }
    }

    fn too_large(&self, entries: &[Entry]) -> RegistryTopicError {
        let largest = entries.iter().max_by_key(|entry| entry.value.len());
        RegistryTopicError::TooLarge {
            topic: self.topic.topic.clone(),
            key: largest.map(|entry| entry.key.clone()).unwrap_or_default(),
            bytes: largest.map_or(0, |entry| entry.value.len()),
        }
    }

    /// Reads until what was committed can be read: its end is written after the commit is answered.
    fn read_with(
        &self,
        written: &[Entry],
        stop: &CancellationToken,
    ) -> Result<Registry, RegistryTopicError> {
        let give_up = Instant::now() + STALL_TIMEOUT;
        loop {
            let registry = self.topic.read()?;
            if registry.has(written) {
                return Ok(registry);
            }
            if Instant::now() >= give_up {
                let topic = self.topic.topic.clone();
                return Err(RegistryTopicError::Stalled { topic });
            }
            if !pause(SETTLE_STEP, stop) {
                return Err(RegistryTopicError::Stopped);
            }
        }
    }
}

/// The registry as it changes.
#[derive(Debug)]
pub struct Follower {
    topic: String,
    reader: TopicReader,
    registry: Registry,
}

impl Follower {
    /// What is known.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until what was committed can be read.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if reading cannot go on, or `stop` was cancelled.
    pub fn wait_for(
        &mut self,
        written: &[Entry],
        stop: &CancellationToken,
    ) -> Result<(), RegistryTopicError> {
        let give_up = Instant::now() + STALL_TIMEOUT;
        while !self.registry.has(written) {
            if stop.is_cancelled() {
                return Err(RegistryTopicError::Stopped);
            }
            if Instant::now() >= give_up {
                let topic = self.topic.clone();
                return Err(RegistryTopicError::Stalled { topic });
            }
            self.wait(POLL_TIMEOUT)?;
        }
        Ok(())
    }

    /// Waits for a change. Returns whether there was one within `timeout`.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if reading cannot go on.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, RegistryTopicError> {
        match self.reader.next(timeout)? {
            Some(record) => {
                apply(&mut self.registry, &record);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Takes a record into account. One that is refused is told, and changes nothing.
fn apply(registry: &mut Registry, record: &Record<'_>) {
    let (offset, timestamp) = (record.offset(), record.timestamp());
    let key = record.key().unwrap_or_default();
    if let Err(error) = registry.apply(offset, timestamp, key, record.value()) {
        warn!(
            "the registry's topic `{}`, offset {offset}: {error}",
            record.topic()
        );
    }
}
