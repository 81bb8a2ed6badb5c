//! The registry's topic, and reading it. The registry is partition 0: one log, one order.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use iris_contract::registry::RegistryRecord;
use iris_core::{Artefact, BlockId, ModelVersion, RowRecords, RowStorage};
use iris_kafka::{KafkaSettings, Positions, ReadProgress, Record, TopicReader, next_offset};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::{RegistryError, RegistryTopicError};
use crate::registered::Registered;
use crate::registry::Registry;

/// The partition of the registry, however many its topic has.
pub(crate) const PARTITION: i32 = 0;

/// The topic of the registry.
#[derive(Clone, Debug)]
pub struct RegistryTopic {
    pub(crate) settings: KafkaSettings,
    pub(crate) topic: String,
    pub(crate) service: String,
    report: Option<Report>,
    /// Ends reading; never cancelled unless the caller has given its own.
    stop: CancellationToken,
}

/// Receives the progress of reading the topic.
#[derive(Clone)]
struct Report(Arc<dyn Fn(&ReadProgress) + Send + Sync>);

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

impl RegistryTopic {
    /// Returns the topic of this name; `service` is the name under which brokers log its clients.
    #[must_use]
    pub fn new(settings: &KafkaSettings, topic: &str, service: &str) -> Self {
        Self {
            settings: settings.clone(),
            topic: topic.to_owned(),
            service: service.to_owned(),
            report: None,
            stop: CancellationToken::new(),
        }
    }

    /// Ends reading with [`ReadError::Stopped`](iris_kafka::ReadError::Stopped) when `stop` is cancelled.
    #[must_use]
    pub fn until(mut self, stop: &CancellationToken) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Passes the progress of reading to `report` every few seconds, for the service's health.
    #[must_use]
    pub fn reporting(mut self, report: impl Fn(&ReadProgress) + Send + Sync + 'static) -> Self {
        self.report = Some(Report(Arc::new(report)));
        self
    }

    fn report(&self, progress: &ReadProgress) {
        if let Some(Report(report)) = &self.report {
            report(progress);
        }
    }

    /// Reads the committed registry.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if the topic does not exist or cannot be read.
    pub fn read(&self) -> Result<Registry, RegistryTopicError> {
        Ok(self.read_to_end()?.0)
    }

    /// Reads the committed registry, and the offset at which reading continues.
    pub(crate) fn read_to_end(&self) -> Result<(Registry, i64), RegistryTopicError> {
        let mut reader = self.open_at(0)?;
        let (mut registry, mut next) = (Registry::default(), 0);
        let report = &mut |progress: &ReadProgress| self.report(progress);
        reader.read_to_end(&self.stop, report, |record| {
            apply(&mut registry, &record);
            next = next_offset(record.offset());
            Ok::<_, RegistryTopicError>(ControlFlow::<Infallible>::Continue(()))
        })?;
        Ok((registry, next))
    }

    fn open_at(&self, offset: i64) -> Result<TopicReader, RegistryTopicError> {
        let start = Positions::from([(PARTITION, offset)]);
        Ok(TopicReader::open_at(&self.settings, &self.topic, &start)?)
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if it does not exist, lacks rows, cannot be read, or does not have the content that its version
    /// stands for.
    pub fn load(
        &self,
        registry: &Registry,
        version: ModelVersion,
    ) -> Result<Artefact, RegistryTopicError> {
        let refused = |source| RegistryTopicError::Artefact { version, source };
        registry.usable(version).map_err(|error| match error {
            RegistryError::Refused { problem, .. } => refused(problem),
            error => error.into(),
        })?;
        let missing = || RegistryTopicError::from(RegistryError::NoSuchModel(version));
        let start = registry.first_offset(version).ok_or_else(missing)?;
        let storage = registry.model(version).and_then(Registered::rows);
        let report = &mut |progress: &ReadProgress| self.report(progress);
        let mut found = Found::nothing_of(storage);
        let mut reader = self.open_at(start)?;
        reader.read_to_end(&self.stop, report, |record| {
            found.take(version, record.key().unwrap_or_default(), record.value());
            Ok::<_, RegistryTopicError>(if found.is_complete() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        let description = found.description.ok_or_else(missing)?;
        Artefact::read(version, &description, &found.rows).map_err(refused)
    }
}

/// The records of a model that were read so far.
#[derive(Debug, Default)]
struct Found {
    /// The blocks of its rows.
    blocks: BTreeSet<BlockId>,
    /// The number of parts of its rows, if it has format 2.
    parts: u32,
    description: Option<Vec<u8>>,
    rows: RowRecords,
}

impl Found {
    /// Returns that no record was read yet of a model whose rows are here.
    fn nothing_of(storage: Option<&RowStorage>) -> Self {
        let mut found = Self::default();
        match storage {
            Some(RowStorage::Blocks(blocks)) => found.blocks = blocks.iter().copied().collect(),
            Some(&RowStorage::Parts(parts)) => found.parts = parts,
            Some(RowStorage::Inline) | None => {}
        }
        found
    }

    /// Takes a record if it belongs to the model. A later one replaces an earlier one with the same key.
    fn take(&mut self, wanted: ModelVersion, key: &[u8], value: Option<&[u8]>) {
        let json = || value.map(<[u8]>::to_vec);
        match RegistryRecord::read(key, None) {
            Ok(RegistryRecord::Model(version, _)) if version == wanted => self.description = json(),
            Ok(RegistryRecord::Block(block, _)) if self.blocks.contains(&block) => {
                set(&mut self.rows.blocks, block, json());
            }
            Ok(RegistryRecord::Part(version, part, _))
                if version == wanted && part < self.parts =>
            {
                set(&mut self.rows.parts, part, json());
            }
            _ => {}
        }
    }

    /// Whether these are all records of the model.
    fn is_complete(&self) -> bool {
        self.description.is_some()
            && self.rows.blocks.len() == self.blocks.len()
            && u32::try_from(self.rows.parts.len()) == Ok(self.parts)
    }
}

/// Sets the value of a key, or removes it.
pub(crate) fn set<K: Ord>(map: &mut BTreeMap<K, Vec<u8>>, key: K, value: Option<Vec<u8>>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Applies a record. A refused record is logged and changes nothing.
pub(crate) fn apply(registry: &mut Registry, record: &Record<'_>) {
    let (offset, timestamp) = (record.offset(), record.timestamp());
    let key = record.key().unwrap_or_default();
    if let Err(error) = registry.apply(offset, timestamp, key, record.value()) {
        warn!(
            "the registry's topic `{}`, offset {offset}: {error}",
            record.topic()
        );
    }
}
