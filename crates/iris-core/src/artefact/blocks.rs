//! Cuts rows into blocks whose boundaries depend only on the rows near them, so that models with the same rows have the same
//! blocks: a row that is added or removed changes the blocks around it and no others.
//!
//! A row whose hash is a multiple of a fixed number ends a block, unless the block is too short. If no such row comes in time,
//! the row with the smallest hash does.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::content_hash;
use crate::training_set::TrainingSet;

/// The maximum size of a block's record, in bytes, unless a single row is larger: half of a topic's default limit.
pub const MAX_BLOCK_BYTES: usize = 512 * 1024;

/// The maximum number of rows of a block.
const MAX_ROWS: usize = 192;

/// A block has at least the maximum number of rows divided by this.
const MAX_TO_MIN: usize = 12;

/// Of the rows at which a block may end, one in the maximum number of rows divided by this ends it.
const MAX_TO_MEAN: usize = 4;

/// The maximum length of a feature in JSON, with the comma after it.
const MAX_FEATURE_BYTES: usize = 25;

/// The maximum length of a row's class in JSON, with the comma after it.
const MAX_CLASS_BYTES: usize = 21;

/// The maximum length of a byte of text in JSON, as `\u0000`.
const MAX_BYTE_OF_TEXT_BYTES: usize = 6;

/// The length of a block's JSON without its rows.
const FRAME_BYTES: usize = 80;

/// The identity of a block: the first 64 bits of the SHA-256 of its rows or bytes, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockId(u64);

impl BlockId {
    /// Returns the identity of the content that was hashed.
    pub(super) fn of(hash: Sha256) -> Self {
        Self(content_hash::finish(hash))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({self})")
    }
}

impl FromStr for BlockId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("`{text}` is not the id of a block, 16 hexadecimal digits");
        content_hash::parse(text).map(Self).ok_or_else(wanted)
    }
}

impl TryFrom<String> for BlockId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BlockId> for String {
    fn from(id: BlockId) -> Self {
        id.to_string()
    }
}

/// A block of a model's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowBlock {
    pub(super) id: BlockId,
    /// The positions of its rows in the model.
    pub(super) rows: Range<usize>,
}

/// Some rows: their features, row by row, and the class of each as a position in `classes`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowSlice<'a> {
    pub(super) classes: &'a [String],
    pub(super) class_of_row: &'a [usize],
    pub(super) features: &'a [f64],
}

impl<'a> RowSlice<'a> {
    /// Returns some rows of a training set.
    pub(super) fn of(set: &'a TrainingSet, rows: &Range<usize>) -> Self {
        let width = set.schema().features.len();
        Self {
            classes: set.classes(),
            class_of_row: &set.class_of_row()[rows.clone()],
            features: &set.features()[rows.start * width..rows.end * width],
        }
    }

    /// Returns the features and the label of each row. Rows must have `width` features, and classes that are listed.
    pub(super) fn rows(
        self,
        width: usize,
    ) -> impl Iterator<Item = (&'a [f64], &'a str)> + Clone + use<'a> {
        let label = move |&class: &usize| self.classes[class].as_str();
        self.features
            .chunks_exact(width.max(1))
            .zip(self.class_of_row.iter().map(label))
    }

    /// Returns the identity of a block of these rows.
    pub(super) fn id(self, width: usize) -> BlockId {
        let mut hash = Sha256::new();
        hash.update(b"iris rows 1");
        content_hash::update_number(&mut hash, width);
        for (features, label) in self.rows(width) {
            content_hash::update_text(&mut hash, label);
            for value in features {
                hash.update(value.to_bits().to_be_bytes());
            }
        }
        BlockId::of(hash)
    }
}

/// Cuts the rows of a training set into blocks.
pub(super) fn cut(set: &TrainingSet) -> Vec<RowBlock> {
    let width = set.schema().features.len();
    let limits = Limits::of(width);
    let mut blocks = Vec::new();
    let mut rest = RowSlice::of(set, &(0..set.len())).rows(width);
    let mut start = 0;
    while start < set.len() {
        let length = limits.length(rest.clone());
        let rows = start..start + length;
        blocks.push(RowBlock {
            id: RowSlice::of(set, &rows).id(width),
            rows,
        });
        start += length;
        rest.nth(length - 1);
    }
    blocks
}

/// The lengths that blocks of rows with the same number of features may have.
struct Limits {
    min_rows: usize,
    max_rows: usize,
    /// A row ends a block if its hash is a multiple of this.
    divisor: u64,
    /// The maximum length of a row in JSON, without its label.
    row_bytes: usize,
}

impl Limits {
    fn of(width: usize) -> Self {
        let row_bytes = width * MAX_FEATURE_BYTES + MAX_CLASS_BYTES;
        let max_rows = ((MAX_BLOCK_BYTES - FRAME_BYTES) / row_bytes).clamp(1, MAX_ROWS);
        Self {
            min_rows: (max_rows / MAX_TO_MIN).max(1),
            max_rows,
            divisor: (max_rows / MAX_TO_MEAN).max(1) as u64,
            row_bytes,
        }
    }

    /// Returns the number of rows of the next block.
    fn length<'a>(&self, rows: impl Iterator<Item = (&'a [f64], &'a str)>) -> usize {
        let (mut length, mut bytes) = (0, FRAME_BYTES);
        // The row that ends the block if none has a suitable hash.
        let mut smallest = (u64::MAX, 0);
        for (features, label) in rows {
            bytes += self.row_bytes + label.len() * MAX_BYTE_OF_TEXT_BYTES;
            if length == self.max_rows || (length > 0 && bytes > MAX_BLOCK_BYTES) {
                // Every row was too early if the labels are very long.
                return if smallest.1 > 0 { smallest.1 } else { length };
            }
            length += 1;
            if length < self.min_rows {
                continue;
            }
            let hash = hash(features, label);
            if hash.is_multiple_of(self.divisor) {
                return length;
            }
            if hash <= smallest.0 {
                smallest = (hash, length);
            }
        }
        length
    }
}

/// Returns a hash of a row that is fast, and the same on every machine.
fn hash(features: &[f64], label: &str) -> u64 {
    let mix = |hash: u64, value: u64| {
        let product = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    let hash = features
        .iter()
        .fold(0, |hash, value| mix(hash, value.to_bits()));
    let hash = label
        .bytes()
        .fold(mix(hash, 1), |hash, byte| mix(hash, u64::from(byte)));
    mix(hash, 2)
}

#[cfg(test)]
mod tests;
