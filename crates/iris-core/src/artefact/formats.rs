//! The formats of artefacts.

/// The newest format that is read.
pub const ARTEFACT_FORMAT: u32 = BYTES_FORMAT;

/// The format of blocks of bytes, and of descriptions of models whose content has bytes.
pub(super) const BYTES_FORMAT: u32 = 5;

/// The format of descriptions of other models that format 3 cannot describe.
pub(super) const KINDS_FORMAT: u32 = 4;

/// The format of blocks of rows, and of descriptions of nearest neighbours with the default settings.
pub(super) const ROWS_FORMAT: u32 = 3;

/// The format whose rows are in parts.
pub(super) const PARTS_FORMAT: u32 = 2;

/// The newest format whose rows are in the description.
pub(super) const INLINE_FORMAT: u32 = 1;
