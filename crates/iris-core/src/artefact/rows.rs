//! The records of a model's rows: blocks, which models share, and in format 2 parts of one model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blocks::{BlockId, RowSlice};
use super::error::ArtefactError;
use super::formats::ROWS_FORMAT;
use super::json;

/// Records of rows as JSON, as far as they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowRecords {
    /// The parts of the rows of a model of format 2, by number.
    pub parts: BTreeMap<u32, Vec<u8>>,
    /// Blocks of rows.
    pub blocks: BTreeMap<BlockId, Vec<u8>>,
}

/// A block's JSON, for writing. It names the classes of its rows in the order in which they occur, so that it does not depend
/// on other rows.
#[derive(Serialize)]
struct WrittenBlock<'a> {
    format: u32,
    classes: &'a [&'a str],
    class_of_row: &'a [usize],
    features: &'a [f64],
}

/// Rows that were read from JSON. Only blocks name classes; the others use those of the description.
#[derive(Default, Deserialize)]
pub(super) struct Rows {
    #[serde(default)]
    pub(super) classes: Vec<String>,
    class_of_row: Vec<usize>,
    features: Vec<f64>,
}

impl Rows {
    /// Returns the rows, with their classes and without any check.
    pub(super) fn as_slice(&self) -> RowSlice<'_> {
        RowSlice {
            classes: &self.classes,
            class_of_row: &self.class_of_row,
            features: &self.features,
        }
    }

    /// Joins all parts of the rows of a model of format 2. Parts beyond `count` belong to an earlier artefact.
    pub(super) fn join(count: u32, parts: &BTreeMap<u32, Vec<u8>>) -> Result<Self, ArtefactError> {
        let parts = || parts.range(..count).map(|(_, json)| json);
        let found = parts().count();
        if found == 0 {
            return Err(ArtefactError::NoRows);
        }
        if usize::try_from(count) != Ok(found) {
            let parts = count;
            return Err(ArtefactError::MissingParts { found, parts });
        }
        let mut rows = Self::default();
        for json in parts() {
            json::format(json)?;
            let part: Self = json::members(json)?;
            rows.class_of_row.extend(part.class_of_row);
            rows.features.extend(part.features);
        }
        Ok(rows)
    }

    /// Reads a block of rows, and checks that it has the rows that its id stands for.
    pub(super) fn read_block(id: BlockId, json: &[u8]) -> Result<Self, ArtefactError> {
        let rows: Self = json::members(json)?;
        let slice = rows.as_slice();
        let width = slice.features.len() / slice.class_of_row.len().max(1);
        check(slice, width)?;
        let found = slice.id(width);
        if found == id {
            Ok(rows)
        } else {
            Err(ArtefactError::OtherRows { block: id, found })
        }
    }
}

/// Writes a block of these rows.
pub(super) fn write_block(rows: RowSlice<'_>) -> Vec<u8> {
    let mut classes: Vec<&str> = Vec::new();
    let mut position = vec![None; rows.classes.len()];
    let mut place = |&class: &usize| {
        *position[class].get_or_insert_with(|| {
            classes.push(&rows.classes[class]);
            classes.len() - 1
        })
    };
    let class_of_row: Vec<usize> = rows.class_of_row.iter().map(&mut place).collect();
    json::write(&WrittenBlock {
        format: ROWS_FORMAT,
        classes: &classes,
        class_of_row: &class_of_row,
        features: rows.features,
    })
}

/// Checks that rows have `width` features, and classes that are listed.
pub(super) fn check(slice: RowSlice<'_>, width: usize) -> Result<(), ArtefactError> {
    let (rows, values) = (slice.class_of_row.len(), slice.features.len());
    if values != rows * width {
        return Err(ArtefactError::RaggedRows {
            values,
            rows,
            features: width,
        });
    }
    let classes = slice.classes.len();
    let is_missing = |&(_, &class): &(usize, &usize)| class >= classes;
    if let Some((row, &class)) = slice.class_of_row.iter().enumerate().find(is_missing) {
        return Err(ArtefactError::NoSuchClass {
            row,
            class,
            classes,
        });
    }
    Ok(())
}
