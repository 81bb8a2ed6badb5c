//! The records of rows that the registry has: blocks, which models share, and parts of models of format 2.

use std::collections::{BTreeMap, BTreeSet};

use iris_core::{ArtefactError, BlockId, ModelVersion, RowStorage};

/// A record of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    /// Its offset.
    pub(crate) offset: i64,
    /// The size of its value in bytes.
    pub(crate) bytes: usize,
}

/// The records of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StoredRows {
    blocks: BTreeMap<BlockId, StoredRecord>,
    /// The parts of the models of format 2, by number.
    parts: BTreeMap<ModelVersion, BTreeMap<u32, StoredRecord>>,
}

impl StoredRows {
    /// Stores a block, or deletes it.
    pub(crate) fn set_block(&mut self, block: BlockId, record: Option<StoredRecord>) {
        match record {
            Some(record) => self.blocks.insert(block, record),
            None => self.blocks.remove(&block),
        };
    }

    /// Stores a part, or deletes it.
    pub(crate) fn set_part(
        &mut self,
        version: ModelVersion,
        part: u32,
        record: Option<StoredRecord>,
    ) {
        let parts = self.parts.entry(version).or_default();
        match record {
            Some(record) => parts.insert(part, record),
            None => parts.remove(&part),
        };
        if parts.is_empty() {
            self.parts.remove(&version);
        }
    }

    pub(crate) fn has_block(&self, block: BlockId) -> bool {
        self.blocks.contains_key(&block)
    }

    pub(crate) fn has_part(&self, version: ModelVersion, part: u32) -> bool {
        self.numbers(version).any(|number| number == part)
    }

    /// Returns all blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = (BlockId, StoredRecord)> + '_ {
        self.blocks.iter().map(|(&block, &record)| (block, record))
    }

    /// Returns the models that have parts.
    pub(crate) fn models_in_parts(&self) -> impl Iterator<Item = ModelVersion> + '_ {
        self.parts.keys().copied()
    }

    /// Returns the numbers of a model's parts.
    pub(crate) fn numbers(&self, version: ModelVersion) -> impl Iterator<Item = u32> + '_ {
        let parts = self.parts.get(&version).into_iter().flatten();
        parts.map(|(&number, _)| number)
    }

    /// Returns a model's parts.
    pub(crate) fn parts(&self, version: ModelVersion) -> impl Iterator<Item = StoredRecord> + '_ {
        let parts = self.parts.get(&version).into_iter().flatten();
        parts.map(|(_, &record)| record)
    }

    /// Returns those of a model's blocks that are there, each once.
    pub(crate) fn blocks_of(&self, listed: &[BlockId]) -> Vec<StoredRecord> {
        let distinct: BTreeSet<&BlockId> = listed.iter().collect();
        let found = distinct.into_iter().map(|block| self.blocks.get(block));
        found.flatten().copied().collect()
    }

    /// Checks that all rows of a model are there.
    ///
    /// # Errors
    /// [`ArtefactError::NoRows`] if there are none; another [`ArtefactError`] if some are missing.
    pub(crate) fn check(
        &self,
        version: ModelVersion,
        storage: &RowStorage,
    ) -> Result<(), ArtefactError> {
        match storage {
            RowStorage::Inline => Ok(()),
            RowStorage::Blocks(listed) if listed.is_empty() => Err(ArtefactError::NoRows),
            RowStorage::Blocks(listed) => {
                let missing = listed.iter().find(|&&block| !self.has_block(block));
                missing.map_or(Ok(()), |&block| Err(ArtefactError::MissingBlock { block }))
            }
            &RowStorage::Parts(parts) => {
                let found = self.numbers(version).filter(|&part| part < parts).count();
                if found == 0 {
                    Err(ArtefactError::NoRows)
                } else if usize::try_from(parts) == Ok(found) {
                    Ok(())
                } else {
                    Err(ArtefactError::MissingParts { found, parts })
                }
            }
        }
    }
}
