//! Stores a model as JSON from which this and any later version of the program rebuild the same model: a description, and blocks
//! of the rows and of the content's bytes, which models with the same rows share.
//!
//! A model's version is a hash of everything its predictions depend on, so reading detects an artefact that was truncated,
//! changed or stored under another version, or that lacks blocks. The model's [`Lineage`] is stored beside it and not hashed:
//! equal content is the same model, whatever its origin. In format 1, the rows are in the description; in format 2, they are in
//! parts that belong to one model. Format 4 adds the kind of the model to format 3, which is still written for the models that it
//! can describe: the nearest neighbours with the default settings. Format 5 adds blocks of bytes, for kinds whose content does not
//! fit in the description.

mod blocks;
mod content;
mod description;
mod error;
mod formats;
mod joined;
mod json;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

pub use blocks::{BlockId, MAX_BLOCK_BYTES};
pub use description::{Description, Lineage, RowStorage};
pub use error::ArtefactError;
pub use formats::ARTEFACT_FORMAT;
pub use rows::RowRecords;

use crate::model::{Model, ModelVersion};
use crate::training_set::TrainingSet;
use blocks::RowSlice;
use joined::Joined;
use rows::Rows;

/// A part of a model that is stored in a record of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its identity.
    pub id: BlockId,
    part: BlockPart,
}

/// The part of a model that a block has.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BlockPart {
    /// These bytes of the content.
    Content(Range<usize>),
    /// These rows.
    Rows(Range<usize>),
}

/// A model and its origin.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// The model.
    pub model: Model,
    /// The model's origin.
    pub lineage: Lineage,
}

impl Artefact {
    /// Returns the description of the model, whose rows are not stored.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.describe_in(&[])
    }

    /// Returns the description of the model, which is stored in these blocks.
    #[must_use]
    pub fn describe_in(&self, blocks: &[Block]) -> Description {
        let rows = self.model.training_set();
        let has_content = |block: &&Block| matches!(block.part, BlockPart::Content(_));
        Description {
            rows: RowStorage::Blocks(blocks.iter().map(|block| block.id).collect()),
            content_blocks: blocks.iter().filter(has_content).count(),
            registered_ms: None,
            lineage: self.lineage.clone(),
            schema: rows.schema().clone(),
            content: self.model.content(),
            classes: rows.classes().to_vec(),
        }
    }

    /// Cuts the bytes of the model's content and its rows into blocks.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        let content = content::cut(self.model.content_bytes()).into_iter();
        let content = content.map(|block| (block.id, BlockPart::Content(block.bytes)));
        let rows = blocks::cut(self.model.training_set()).into_iter();
        let rows = rows.map(|block| (block.id, BlockPart::Rows(block.rows)));
        let blocks = content.chain(rows);
        blocks.map(|(id, part)| Block { id, part }).collect()
    }

    /// Returns one of the [blocks](Self::blocks) as JSON.
    #[must_use]
    pub fn block_json(&self, block: &Block) -> Vec<u8> {
        match &block.part {
            BlockPart::Content(bytes) => {
                content::write_block(&self.model.content_bytes()[bytes.clone()])
            }
            BlockPart::Rows(rows) => {
                rows::write_block(RowSlice::of(self.model.training_set(), rows))
            }
        }
    }

    /// Rebuilds the model from its description and its rows, and checks that it has this `version`.
    ///
    /// # Errors
    /// [`ArtefactError`] for any bytes that are not the artefact of that model, and if rows are missing.
    pub fn read(
        version: ModelVersion,
        description: &[u8],
        found: &RowRecords,
    ) -> Result<Self, ArtefactError> {
        let known = Description::read(description)?;
        let rows = match known.rows {
            RowStorage::Inline => json::members(description)?,
            RowStorage::Parts(count) => Rows::join(count, &found.parts)?,
            RowStorage::Blocks(_) => return Self::join(version, &known, &found.blocks, &[]),
        };
        let slice = RowSlice {
            classes: &known.classes,
            ..rows.as_slice()
        };
        build(version, &known, Vec::new(), &[slice])
    }

    /// Rebuilds a model from its blocks, and checks that it has this `version`. A block is taken from `models` if one
    /// of them has it, and otherwise from `found`.
    ///
    /// # Errors
    /// [`ArtefactError`] if a block is missing or corrupt, or the model is another one.
    pub fn join(
        version: ModelVersion,
        description: &Description,
        found: &BTreeMap<BlockId, Vec<u8>>,
        models: &[&Model],
    ) -> Result<Self, ArtefactError> {
        let wanted = description.blocks();
        if wanted.is_empty() {
            return Err(ArtefactError::NoRows);
        }
        let joined = Joined::find(wanted, found, models)?;
        let (content, rows) = wanted.split_at(description.content_blocks.min(wanted.len()));
        let slices = joined.rows(rows)?;
        build(version, description, joined.bytes(content)?, &slices)
    }
}

impl BlockId {
    /// Checks that JSON is this block.
    ///
    /// # Errors
    /// [`ArtefactError`] if it is not.
    pub fn check(self, json: &[u8]) -> Result<(), ArtefactError> {
        joined::ReadBlock::of(self, json).map(|_| ())
    }
}

/// Makes the model from its bytes and rows, and checks that it has this `version`.
fn build(
    version: ModelVersion,
    description: &Description,
    bytes: Vec<u8>,
    slices: &[RowSlice<'_>],
) -> Result<Artefact, ArtefactError> {
    let schema = &description.schema;
    schema.validate()?;
    let width = schema.features.len();
    for &slice in slices {
        rows::check(slice, width)?;
    }
    let set = if description.content.kind().is_imported() && slices.is_empty() {
        TrainingSet::without_rows(schema.clone(), description.classes.clone())
    } else {
        let rows = slices.iter().flat_map(|slice| slice.rows(width));
        TrainingSet::new(schema.clone(), rows)
    };
    let content = description.content.clone().with_bytes(bytes);
    let model = Model::assemble(set, content)?;
    if model.version() != version {
        let found = model.version();
        return Err(ArtefactError::OtherContent { found });
    }
    let lineage = description.lineage.clone();
    Ok(Artefact { model, lineage })
}
