//! The blocks of a model, from records or from models that have the same blocks.

use std::collections::BTreeMap;

use super::blocks::{self, BlockId, RowSlice};
use super::content;
use super::error::ArtefactError;
use super::formats::BYTES_FORMAT;
use super::json;
use super::rows::Rows;
use crate::model::Model;

/// A block that was read from JSON.
pub(super) enum ReadBlock {
    /// Bytes of the content.
    Content(Vec<u8>),
    /// Rows.
    Rows(Rows),
}

impl ReadBlock {
    /// Reads a block, and checks that it has what its id stands for.
    pub(super) fn of(id: BlockId, json: &[u8]) -> Result<Self, ArtefactError> {
        if json::format(json)? < BYTES_FORMAT {
            Rows::read_block(id, json).map(Self::Rows)
        } else {
            content::read_block(id, json).map(Self::Content)
        }
    }

    fn as_part(&self) -> Part<'_> {
        match self {
            Self::Content(bytes) => Part::Content(bytes),
            Self::Rows(rows) => Part::Rows(rows.as_slice()),
        }
    }
}

/// What a block has.
#[derive(Clone, Copy)]
enum Part<'a> {
    Content(&'a [u8]),
    Rows(RowSlice<'a>),
}

/// The blocks that were found.
pub(super) struct Joined<'a> {
    shared: BTreeMap<BlockId, Part<'a>>,
    read: BTreeMap<BlockId, ReadBlock>,
}

impl<'a> Joined<'a> {
    /// Finds blocks. A block is taken from `models` if one of them has it, and otherwise from `found`.
    ///
    /// # Errors
    /// [`ArtefactError`] if one is missing or corrupt.
    pub(super) fn find(
        wanted: &[BlockId],
        found: &BTreeMap<BlockId, Vec<u8>>,
        models: &[&'a Model],
    ) -> Result<Self, ArtefactError> {
        let mut shared: BTreeMap<BlockId, Part<'a>> = BTreeMap::new();
        for model in models {
            let is_there = |block| shared.contains_key(block) || found.contains_key(block);
            if wanted.iter().all(is_there) {
                break;
            }
            let (set, bytes) = (model.training_set(), model.content_bytes());
            let rows = blocks::cut(set).into_iter();
            shared.extend(rows.map(|block| {
                let rows = RowSlice::of(set, &block.rows);
                (block.id, Part::Rows(rows))
            }));
            let content = content::cut(bytes).into_iter();
            shared.extend(content.map(|block| (block.id, Part::Content(&bytes[block.bytes]))));
        }
        let mut read = BTreeMap::new();
        for &block in wanted {
            if !shared.contains_key(&block) && !read.contains_key(&block) {
                let missing = ArtefactError::MissingBlock { block };
                let json = found.get(&block).ok_or(missing)?;
                read.insert(block, ReadBlock::of(block, json)?);
            }
        }
        Ok(Self { shared, read })
    }

    fn part(&self, block: BlockId) -> Result<Part<'_>, ArtefactError> {
        let shared = self.shared.get(&block).copied();
        let part = shared.or_else(|| self.read.get(&block).map(ReadBlock::as_part));
        part.ok_or(ArtefactError::MissingBlock { block })
    }

    /// Returns the bytes of blocks of the content.
    ///
    /// # Errors
    /// [`ArtefactError::OtherKindOfBlock`] if one of them has rows.
    pub(super) fn bytes(&self, blocks: &[BlockId]) -> Result<Vec<u8>, ArtefactError> {
        let mut bytes = Vec::new();
        for &block in blocks {
            match self.part(block)? {
                Part::Content(part) => bytes.extend_from_slice(part),
                Part::Rows(_) => return Err(ArtefactError::OtherKindOfBlock(block)),
            }
        }
        Ok(bytes)
    }

    /// Returns the rows of blocks of rows.
    ///
    /// # Errors
    /// [`ArtefactError::OtherKindOfBlock`] if one of them has bytes.
    pub(super) fn rows(&self, blocks: &[BlockId]) -> Result<Vec<RowSlice<'_>>, ArtefactError> {
        let rows = |&block: &BlockId| match self.part(block)? {
            Part::Rows(rows) => Ok(rows),
            Part::Content(_) => Err(ArtefactError::OtherKindOfBlock(block)),
        };
        blocks.iter().map(rows).collect()
    }
}
