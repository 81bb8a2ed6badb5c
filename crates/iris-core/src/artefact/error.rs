//! Why an artefact cannot be used.

use super::blocks::BlockId;
use super::formats::ARTEFACT_FORMAT;
use crate::kinds::FitError;
use crate::model::ModelVersion;
use crate::schema::SchemaError;

/// An artefact that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactError {
    /// A later version of the program wrote it.
    #[error(
        "its format is {found}, and the newest that this program reads is {ARTEFACT_FORMAT}: use a newer program"
    )]
    NewerFormat {
        /// The artefact's format.
        found: u32,
    },
    /// It is not the JSON of an artefact.
    #[error("it is corrupt: {0}")]
    Malformed(String),
    /// Its rows are not stored.
    #[error("its rows are not stored")]
    NoRows,
    /// A part of its rows is missing.
    #[error("it is incomplete: {found} of {parts} parts of its rows are there")]
    MissingParts {
        /// The number of parts that there are.
        found: usize,
        /// The number of parts that it was written with.
        parts: u32,
    },
    /// A block is missing.
    #[error("it is incomplete: its block {block} is missing")]
    MissingBlock {
        /// The first block that is missing.
        block: BlockId,
    },
    /// A block of rows has other rows than its id says.
    #[error("it is corrupt: block {block} has the rows of block {found}")]
    OtherRows {
        /// The block.
        block: BlockId,
        /// The id of its rows.
        found: BlockId,
    },
    /// A block of bytes has other bytes than its id says.
    #[error("it is corrupt: block {block} has the bytes of block {found}")]
    OtherBytes {
        /// The block.
        block: BlockId,
        /// The id of its bytes.
        found: BlockId,
    },
    /// A block has rows where bytes are listed, or bytes where rows are listed.
    #[error("it is corrupt: block {0} does not have the kind that the description lists it as")]
    OtherKindOfBlock(BlockId),
    /// A row has a class that is not listed.
    #[error("it is corrupt: row {row} is of class {class}, and there are {classes} classes")]
    NoSuchClass {
        /// The row.
        row: usize,
        /// Its class.
        class: usize,
        /// The number of classes.
        classes: usize,
    },
    /// The number of values is not the number of rows times that of features.
    #[error("it is corrupt: {values} values are not {rows} rows of {features} features")]
    RaggedRows {
        /// The number of values.
        values: usize,
        /// The number of rows.
        rows: usize,
        /// The number of features.
        features: usize,
    },
    /// Its schema is invalid.
    #[error("it is corrupt: {0}")]
    Schema(#[from] SchemaError),
    /// No model can be fitted to its rows.
    #[error("it is corrupt: {0}")]
    Fit(FitError),
    /// This program cannot serve models of its kind.
    #[error("{0}")]
    NotBuilt(FitError),
    /// Its content is that of another model than its version says.
    #[error("it is corrupt: its content is that of version {found}")]
    OtherContent {
        /// The version of its content.
        found: ModelVersion,
    },
}

impl From<FitError> for ArtefactError {
    fn from(error: FitError) -> Self {
        match error {
            FitError::WithoutOnnx => Self::NotBuilt(error),
            error => Self::Fit(error),
        }
    }
}
