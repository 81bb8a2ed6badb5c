//! Writing to the registry, one writer at a time.
//!
//! All writers share one transactional id. A writer first fences every other one, then reads all committed records, and only
//! then decides. So every decision is based on all earlier ones, and of two concurrent writers one is fenced and decides
//! again.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use iris_contract::registry::Entry;
use iris_contract::rights::registry_transactional_id;
use iris_kafka::exactly_once::Cause;
use iris_kafka::{
    Fault, Headers, OutgoingRecord, Refusal, RefusedKind, TransactionalProducer, pause,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::error::{RegistryError, RegistryTopicError, VISIBLE_TIMEOUT};
use crate::registry::Registry;
use crate::topic::{PARTITION, RegistryTopic};

/// The time between two checks whether a committed transaction can be read.
const VISIBLE_STEP: Duration = Duration::from_millis(20);

/// The maximum number of times that a decision is repeated because another writer was faster.
const MAX_ATTEMPTS: usize = 20;

impl RegistryTopic {
    /// Writes the entries that `decide` returns for the current registry. Calls it again if another writer was faster.
    /// Returns the registry with the entries.
    ///
    /// # Errors
    /// The error that `decide` returns; [`RegistryTopicError`] if the topic cannot be used.
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
            .with_max_times(MAX_ATTEMPTS)
            .build();
        let mut written: Vec<Entry> = Vec::new();
        loop {
            if !writer.take_turn(&[], stop, &mut |_| ())? {
                return Err(RegistryTopicError::Stopped);
            }
            let registry = self.read()?;
            // The previous attempt may have been committed although its outcome was unknown.
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
            match delays.next().filter(|_| problem.is_retriable()) {
                Some(delay) => {
                    debug!(error = &problem as &dyn std::error::Error, "deciding again");
                    pause(delay, stop);
                }
                None => return Err(problem),
            }
        }
    }

    /// Returns the transactional id of all writers.
    fn transactional_id(&self) -> String {
        self.settings
            .prefixed(&registry_transactional_id(&self.topic))
    }

    /// Returns a writer, which has to [take its turn](RegistryWriter::take_turn) before it writes.
    ///
    /// # Errors
    /// [`RegistryTopicError::Setting`] if a setting cannot be used.
    pub fn writer(&self) -> Result<RegistryWriter, RegistryTopicError> {
        let transactional_id = self.transactional_id();
        let producer =
            TransactionalProducer::new(&self.settings, &self.service, &transactional_id)?;
        Ok(RegistryWriter {
            topic: self.clone(),
            producer,
        })
    }
}

/// A writer to the registry, until another one fences it.
#[derive(Debug)]
pub struct RegistryWriter {
    topic: RegistryTopic,
    producer: TransactionalProducer,
}

impl RegistryWriter {
    /// Fences every other writer. The registry that is read after this has all earlier entries. `others` are the topics of the
    /// other records that will be [written](Self::write). Calls `waiting` with the cause of each wait. Returns whether it is this
    /// writer's turn; it is not if `stop` was cancelled.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if the user may not use the transactional id or write to the topics.
    pub fn take_turn(
        &mut self,
        others: &[&str],
        stop: &CancellationToken,
        waiting: &mut dyn FnMut(String),
    ) -> Result<bool, RegistryTopicError> {
        let topics: Vec<&str> = [self.topic.topic.as_str()]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        let prepared = self.producer.prepare_for(&topics, stop, waiting);
        prepared.map_err(|fault| self.write_error(fault))
    }

    /// Writes entries, and records of other topics, in one transaction.
    ///
    /// # Errors
    /// [`RegistryTopicError`]; the writer has to take its turn again. If the error is
    /// [retriable](RegistryTopicError::is_retriable), the entries may have been written: the registry shows whether.
    pub fn write<'a>(
        &mut self,
        entries: &'a [Entry],
        others: impl IntoIterator<Item = OutgoingRecord<'a>>,
    ) -> Result<(), RegistryTopicError> {
        let Err(fault) = self.try_to_write(entries, others) else {
            return Ok(());
        };
        self.producer.abort(&fault);
        let refused = self.producer.take_refused();
        let topic = &self.topic.topic;
        let is_too_large = refused
            .values()
            .any(|refused| refused.cause == Cause::Size && refused.topic == *topic);
        let too_large = if is_too_large {
            too_large(topic, entries)
        } else {
            None
        };
        Err(too_large.unwrap_or_else(|| self.write_error(fault)))
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
                value: entry.value.as_deref(),
                headers: Headers::default(),
            })?;
        }
        for record in others {
            self.producer.send(record)?;
        }
        self.producer.commit()
    }

    fn write_error(&self, fault: Fault) -> RegistryTopicError {
        if let Fault::NotAuthorised(Refusal {
            kind: RefusedKind::TransactionalId,
            ..
        }) = fault
        {
            return RegistryTopicError::TransactionalId {
                transactional_id: self.topic.transactional_id(),
                fault,
            };
        }
        RegistryTopicError::Write {
            topic: self.topic.topic.clone(),
            fault,
        }
    }

    /// Waits until committed entries can be read: brokers write the end of a transaction after they answer the commit.
    fn read_with(
        &self,
        written: &[Entry],
        stop: &CancellationToken,
    ) -> Result<Registry, RegistryTopicError> {
        let deadline = Instant::now() + VISIBLE_TIMEOUT;
        loop {
            let registry = self.topic.read()?;
            if registry.has(written) {
                return Ok(registry);
            }
            if Instant::now() >= deadline {
                let topic = self.topic.topic.clone();
                return Err(RegistryTopicError::NotVisible { topic });
            }
            if !pause(VISIBLE_STEP, stop) {
                return Err(RegistryTopicError::Stopped);
            }
        }
    }
}

/// Returns the error that names the first model, whose rows come before its description, and the size of its largest record;
/// `None` if the entries have no model.
fn too_large(topic: &str, entries: &[Entry]) -> Option<RegistryTopicError> {
    let mut written = (1..)
        .zip(entries)
        .filter(|(_, entry)| entry.value.is_some());
    let (count, version) = written.find_map(|(count, entry)| Some((count, entry.described()?)))?;
    let of_first = entries.iter().take(count);
    Some(RegistryTopicError::TooLarge {
        topic: topic.to_owned(),
        version,
        bytes: of_first.map(Entry::bytes).max()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::large;

    #[test]
    fn the_first_model_of_a_refused_transaction_is_named_with_its_largest_record() {
        let models = [0, 1_000].map(large);
        let deletes = Entry::without_description(models[1].model.version());
        let of_models = models.iter().flat_map(Entry::model);
        let entries: Vec<Entry> = [deletes].into_iter().chain(of_models).collect();
        let Some(RegistryTopicError::TooLarge { version, bytes, .. }) = too_large("t", &entries)
        else {
            panic!("{entries:?}");
        };
        let largest = Entry::model(&models[0]).iter().map(Entry::bytes).max();
        assert_eq!((version, Some(bytes)), (models[0].model.version(), largest));
        assert!(too_large("t", &entries[..1]).is_none());
    }
}
