//! Reads and writes the JSON of artefacts.

use serde::{Deserialize, Serialize};

use super::error::ArtefactError;
use super::formats::ARTEFACT_FORMAT;

/// The only member that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Reads some members of JSON.
pub(super) fn members<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ArtefactError> {
    serde_json::from_slice(json).map_err(|error| ArtefactError::Malformed(error.to_string()))
}

/// Returns the format of a description or of a record of rows.
pub(super) fn format(json: &[u8]) -> Result<u32, ArtefactError> {
    let Format { format } = members(json)?;
    if format > ARTEFACT_FORMAT {
        return Err(ArtefactError::NewerFormat { found: format });
    }
    Ok(format)
}

/// Writes JSON. Serializing numbers, strings and maps of them to memory cannot fail.
pub(super) fn write(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
