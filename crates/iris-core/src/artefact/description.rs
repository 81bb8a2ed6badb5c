//! The description of a model: everything but its rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blocks::BlockId;
use super::error::ArtefactError;
use super::formats::{BYTES_FORMAT, INLINE_FORMAT, KINDS_FORMAT, PARTS_FORMAT, ROWS_FORMAT};
use super::json;
use crate::kinds::ModelContent;
use crate::model::ModelVersion;
use crate::schema::Schema;

/// The origin of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The model it was derived from; none if it was fitted to a dataset.
    pub parent: Option<ModelVersion>,
    /// The service that created it.
    pub made_by: String,
    /// The source of its training rows, such as `dataset` or `feedback`, and their number, for each run of rows with the
    /// same source, in the order of the rows.
    pub rows: Vec<(String, u64)>,
    /// For each topic it learned from and each partition, the offset after the last record considered.
    pub sources: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Its metrics when it was created, such as `holdout_accuracy`.
    pub metrics: BTreeMap<String, f64>,
}

/// Where a model's rows are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowStorage {
    /// In the description.
    Inline,
    /// In this number of parts; 0 if they are not stored.
    Parts(u32),
    /// In these blocks, in this order; in none if they are not stored.
    Blocks(Vec<BlockId>),
}

/// An artefact without its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Where the rows are. Blocks of the content's bytes come before those of rows.
    pub rows: RowStorage,
    /// The number of blocks that have bytes of the content.
    pub content_blocks: usize,
    /// When the model was registered, in milliseconds since the epoch, if the description was written again later.
    pub registered_ms: Option<i64>,
    /// The model's origin.
    pub lineage: Lineage,
    /// The meaning of its columns.
    pub schema: Schema,
    /// All that its predictions depend on, besides the rows, without the bytes that are in blocks.
    pub content: ModelContent,
    /// The distinct labels, sorted.
    pub classes: Vec<String>,
}

/// A description's JSON, for writing.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    blocks: &'a [BlockId],
    #[serde(skip_serializing_if = "is_zero")]
    content_blocks: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_ms: Option<i64>,
    lineage: &'a Lineage,
    schema: &'a Schema,
    #[serde(flatten)]
    content: WrittenContent<'a>,
    classes: &'a [String],
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenContent<'a> {
    Plain { neighbors: usize },
    Any(&'a ModelContent),
}

#[derive(Deserialize)]
struct Described {
    lineage: Lineage,
    schema: Schema,
    classes: Vec<String>,
    #[serde(default)]
    parts: u32,
    #[serde(default)]
    blocks: Vec<BlockId>,
    #[serde(default)]
    content_blocks: usize,
    #[serde(default)]
    registered_ms: Option<i64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The content in formats up to 3.
#[derive(Deserialize)]
struct Plain {
    neighbors: usize,
}

/// The blocks of a description of any format.
#[derive(Default, Deserialize)]
struct Listed {
    #[serde(default)]
    blocks: Vec<BlockId>,
}

impl Description {
    /// Reads an artefact's description. Only [`Artefact::read`](super::Artefact::read) checks it against the rows.
    ///
    /// # Errors
    /// [`ArtefactError::NewerFormat`] or [`ArtefactError::Malformed`].
    pub fn read(json: &[u8]) -> Result<Self, ArtefactError> {
        let format = json::format(json)?;
        let described: Described = json::members(json)?;
        let content = if format <= ROWS_FORMAT {
            let Plain { neighbors } = json::members(json)?;
            ModelContent::from(neighbors)
        } else {
            json::members(json)?
        };
        Ok(Self {
            content,
            rows: match format {
                _ if format <= INLINE_FORMAT => RowStorage::Inline,
                PARTS_FORMAT => RowStorage::Parts(described.parts),
                _ => RowStorage::Blocks(described.blocks),
            },
            content_blocks: described.content_blocks,
            registered_ms: described.registered_ms,
            lineage: described.lineage,
            schema: described.schema,
            classes: described.classes,
        })
    }

    /// Returns the blocks that a description lists, also one that [`read`](Self::read) refuses; none if it lists them in
    /// another way.
    #[must_use]
    pub fn listed_blocks(json: &[u8]) -> Vec<BlockId> {
        json::members::<Listed>(json).unwrap_or_default().blocks
    }

    /// Returns the blocks of the content's bytes and of the rows; none if the rows are not in blocks, or not stored.
    #[must_use]
    pub fn blocks(&self) -> &[BlockId] {
        match &self.rows {
            RowStorage::Blocks(blocks) => blocks,
            RowStorage::Inline | RowStorage::Parts(_) => &[],
        }
    }

    /// Returns the description of a model whose rows are not stored.
    #[must_use]
    pub fn without_rows(self) -> Self {
        Self {
            rows: RowStorage::Blocks(Vec::new()),
            content_blocks: 0,
            ..self
        }
    }

    /// Returns the description as JSON. Rows that are not in blocks are left out.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let (format, content) = match self.content.plain_neighbors() {
            Some(neighbors) => (ROWS_FORMAT, WrittenContent::Plain { neighbors }),
            None if self.content.has_bytes() => (BYTES_FORMAT, WrittenContent::Any(&self.content)),
            None => (KINDS_FORMAT, WrittenContent::Any(&self.content)),
        };
        json::write(&Written {
            format,
            blocks: self.blocks(),
            content_blocks: self.content_blocks,
            registered_ms: self.registered_ms,
            lineage: &self.lineage,
            schema: &self.schema,
            content,
            classes: &self.classes,
        })
    }
}
