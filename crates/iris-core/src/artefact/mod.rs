//! Stores a model as JSON from which this and any later version of the program rebuild the same model: a description, and the
//! rows in blocks, which models with the same rows share.
//!
//! A model's version is a hash of everything its predictions depend on, so reading detects an artefact that was truncated,
//! changed or stored under another version, or that lacks rows. The model's [`Lineage`] is stored beside it and not hashed:
//! equal content is the same model, whatever its origin. In format 1, the rows are in the description; in format 2, they are in
//! parts that belong to one model. Format 4 adds the kind of the model to format 3, which is still written for the models that it
//! can describe: the nearest neighbours with the default settings.

mod blocks;
mod description;
mod error;
mod formats;
mod json;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use blocks::{Block, BlockId, MAX_BLOCK_BYTES};
pub use description::{Description, Lineage, RowStorage};
pub use error::ArtefactError;
pub use formats::ARTEFACT_FORMAT;
pub use rows::RowRecords;

use crate::model::{Model, ModelVersion};
use crate::training_set::TrainingSet;
use blocks::RowSlice;
use rows::Rows;

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

    /// Returns the description of the model, whose rows are stored in these blocks.
    #[must_use]
    pub fn describe_in(&self, blocks: &[Block]) -> Description {
        let rows = self.model.training_set();
        Description {
            rows: RowStorage::Blocks(blocks.iter().map(|block| block.id).collect()),
            registered_ms: None,
            lineage: self.lineage.clone(),
            schema: rows.schema().clone(),
            content: self.model.content(),
            classes: rows.classes().to_vec(),
        }
    }

    /// Cuts the model's rows into blocks.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        blocks::cut(self.model.training_set())
    }

    /// Returns one of the [blocks](Self::blocks) as JSON.
    #[must_use]
    pub fn block_json(&self, block: &Block) -> Vec<u8> {
        rows::write_block(RowSlice::of(self.model.training_set(), &block.rows))
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
        build(version, &known, &[slice])
    }

    /// Rebuilds a model from the blocks of its rows, and checks that it has this `version`. A block is taken from `models` if one
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
        let mut shared: BTreeMap<BlockId, RowSlice<'_>> = BTreeMap::new();
        for model in models {
            let is_there = |block| shared.contains_key(block) || found.contains_key(block);
            if wanted.iter().all(is_there) {
                break;
            }
            let set = model.training_set();
            let blocks = blocks::cut(set).into_iter();
            shared.extend(blocks.map(|block| (block.id, RowSlice::of(set, &block.rows))));
        }
        let mut read: BTreeMap<BlockId, Rows> = BTreeMap::new();
        for &block in wanted {
            if !shared.contains_key(&block) && !read.contains_key(&block) {
                let missing = ArtefactError::MissingBlock { block };
                let json = found.get(&block).ok_or(missing)?;
                read.insert(block, Rows::read_block(block, json)?);
            }
        }
        let rows = |block| {
            let shared = shared.get(block).copied();
            shared.or_else(|| read.get(block).map(Rows::as_slice))
        };
        let slices: Vec<RowSlice<'_>> = wanted.iter().filter_map(rows).collect();
        build(version, description, &slices)
    }
}

/// Fits the model to rows, and checks that it has this `version`.
fn build(
    version: ModelVersion,
    description: &Description,
    slices: &[RowSlice<'_>],
) -> Result<Artefact, ArtefactError> {
    let schema = &description.schema;
    schema.validate()?;
    let width = schema.features.len();
    for &slice in slices {
        rows::check(slice, width)?;
    }
    let rows = slices.iter().flat_map(|slice| slice.rows(width));
    let set = TrainingSet::new(schema.clone(), rows);
    let model = Model::assemble(set, description.content.clone())?;
    if model.version() != version {
        let found = model.version();
        return Err(ArtefactError::OtherContent { found });
    }
    let lineage = description.lineage.clone();
    Ok(Artefact { model, lineage })
}
