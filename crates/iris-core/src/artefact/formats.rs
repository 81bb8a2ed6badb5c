//! The formats of artefacts.

/// The newest format that is read. It is written for models that format 3 cannot describe.
pub const ARTEFACT_FORMAT: u32 = 4;

/// The format of blocks of rows, and of descriptions of nearest neighbours with the default settings.
pub(super) const ROWS_FORMAT: u32 = 3;

/// The format whose rows are in parts.
pub(super) const PARTS_FORMAT: u32 = 2;

/// The newest format whose rows are in the description.
pub(super) const INLINE_FORMAT: u32 = 1;
