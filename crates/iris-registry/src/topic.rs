//! The registry's topic, and reading it. The registry is partition 0: one log, one order.

use std::convert::Infallible;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use iris_core::{Artefact, ModelVersion};
use iris_kafka::{KafkaSettings, Positions, ReadProgress, Record, TopicReader, next_offset};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::error::RegistryTopicError;
use crate::registry::{Registered, Registry, RegistryError};

/// The partition of the registry, however many its topic has.
pub(crate) const PARTITION: i32 = 0;

/// The topic of the registry.
#[derive(Clone, Debug)]
pub struct RegistryTopic {
    pub(crate) settings: KafkaSettings,
    pub(crate) topic: String,
    pub(crate) service: String,
    report: Option<Report>,
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
        }
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
        let never = CancellationToken::new();
        let report = &mut |progress: &ReadProgress| self.report(progress);
        reader.read_to_end(&never, report, |record| {
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
    /// [`RegistryTopicError`] if it does not exist, cannot be read, or does not have the content that its version
    /// stands for.
    pub fn load(
        &self,
        registry: &Registry,
        version: ModelVersion,
    ) -> Result<Artefact, RegistryTopicError> {
        let Some(&Registered { offset, .. }) = registry.model(version) else {
            return Err(RegistryError::NoSuchModel(version).into());
        };
        let key = version.to_string();
        let never = CancellationToken::new();
        let report = &mut |progress: &ReadProgress| self.report(progress);
        let found = self
            .open_at(offset)?
            .read_to_end(&never, report, |record| match record.value() {
                Some(json) if record.key() == Some(key.as_bytes()) => Artefact::read(version, json)
                    .map(ControlFlow::Break)
                    .map_err(|source| RegistryTopicError::Artefact { version, source }),
                _ => Ok(ControlFlow::Continue(())),
            })?;
        found.ok_or_else(|| RegistryError::NoSuchModel(version).into())
    }
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
