//! Following the registry as it changes.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_contract::registry::RegistryRecord;
use iris_core::{Artefact, BlockId, Model, ModelVersion};
use iris_kafka::{Positions, TopicReader};

use crate::error::RegistryTopicError;
use crate::registry::Registry;
use crate::topic::{PARTITION, RegistryTopic, apply, set};

/// The maximum size of the rows that are kept in memory, in bytes.
const MAX_ROW_BYTES: usize = 16 << 20;

impl RegistryTopic {
    /// Reads the committed registry and continues reading.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if the topic does not exist or cannot be read.
    pub fn follow(&self) -> Result<Follower, RegistryTopicError> {
        let (registry, next) = self.read_to_end()?;
        let start = Positions::from([(PARTITION, next)]);
        Ok(Follower {
            topic: self.clone(),
            reader: TopicReader::open_to_wait(&self.settings, &self.topic, &start)?,
            registry,
            rows: None,
        })
    }
}

/// The registry as it changes.
#[derive(Debug)]
pub struct Follower {
    topic: RegistryTopic,
    reader: TopicReader,
    registry: Registry,
    /// The blocks of rows that were read and not loaded yet, if they are kept.
    rows: Option<RecentRows>,
}

/// Blocks of rows as JSON.
#[derive(Debug, Default)]
struct RecentRows {
    blocks: BTreeMap<BlockId, Vec<u8>>,
    /// Their size in bytes.
    bytes: usize,
}

impl RecentRows {
    /// Takes a record if it is a block. All blocks are dropped when they become too large.
    fn take(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let Ok(RegistryRecord::Block(block, _)) = RegistryRecord::read(key, None) {
            self.remove(block);
            self.bytes += value.map_or(0, <[u8]>::len);
            set(&mut self.blocks, block, value.map(<[u8]>::to_vec));
            if self.bytes > MAX_ROW_BYTES {
                *self = Self::default();
            }
        }
    }

    fn remove(&mut self, block: BlockId) {
        if let Some(json) = self.blocks.remove(&block) {
            self.bytes -= json.len();
        }
    }
}

impl Follower {
    /// Keeps rows that are read from now on, up to 16 MiB, until they are [loaded](Self::load).
    #[must_use]
    pub fn keeping_rows(mut self) -> Self {
        self.rows = Some(RecentRows::default());
        self
    }

    /// Loads a model. Rows of `known` models and rows that were kept are not read again; the topic is read only if others are
    /// needed.
    ///
    /// # Errors
    /// As for [`RegistryTopic::load`].
    pub fn load(
        &mut self,
        version: ModelVersion,
        known: &[&Model],
    ) -> Result<Artefact, RegistryTopicError> {
        let model = self.registry.model(version);
        let description = model.and_then(|model| model.description.as_ref().ok());
        let kept = self.rows.as_ref().zip(description);
        let joined = kept.and_then(|(rows, description)| {
            Artefact::join(version, description, &rows.blocks, known).ok()
        });
        let artefact = match joined {
            Some(artefact) => artefact,
            None => self.topic.load(&self.registry, version)?,
        };
        if let Some((rows, description)) = self.rows.as_mut().zip(description) {
            // The model has them now.
            for &block in description.blocks() {
                rows.remove(block);
            }
        }
        Ok(artefact)
    }

    /// Returns the registry as read so far.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits for a change. Returns whether there was one within `timeout`.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if reading fails.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, RegistryTopicError> {
        match self.reader.next(timeout)? {
            Some(record) => {
                apply(&mut self.registry, &record);
                if let Some(rows) = &mut self.rows {
                    rows.take(record.key().unwrap_or_default(), record.value());
                }
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use iris_contract::registry::Entry;

    use super::*;
    use crate::registry::tests::{artefact, large};

    fn take(rows: &mut RecentRows, entry: &Entry) {
        rows.take(entry.key.as_bytes(), entry.value.as_deref());
    }

    fn bytes(rows: &RecentRows) -> usize {
        rows.blocks.values().map(Vec::len).sum()
    }

    #[test]
    fn blocks_are_kept_until_they_are_deleted() {
        let mut rows = RecentRows::default();
        let entries = Entry::model(&large(0));
        for entry in entries.iter().chain(&entries) {
            take(&mut rows, entry);
            assert_eq!(rows.bytes, bytes(&rows));
        }
        assert_eq!(rows.blocks.len(), entries.len() - 1, "no description");
        for &block in &rows.blocks.keys().copied().collect::<Vec<_>>() {
            take(&mut rows, &Entry::without_block(block));
            take(&mut rows, &Entry::without_block(block));
        }
        assert_eq!((rows.bytes, rows.blocks.len()), (0, 0));
    }

    #[test]
    fn blocks_are_dropped_when_they_become_too_large() {
        let mut rows = RecentRows::default();
        let block = Entry::model(&artefact(1.0)).swap_remove(0);
        let long = Entry {
            value: Some(vec![b' '; MAX_ROW_BYTES]),
            ..block.clone()
        };
        take(&mut rows, &long);
        assert_eq!(rows.bytes, MAX_ROW_BYTES);
        take(&mut rows, &Entry::model(&artefact(2.0))[0]);
        assert_eq!((rows.bytes, rows.blocks.len()), (0, 0));
        take(&mut rows, &block);
        assert_eq!(rows.blocks.len(), 1);
    }
}
