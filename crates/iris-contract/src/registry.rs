//! The entries of the registry: keyed records of a compacted topic, which keeps the last record of each key.
//!
//! | key | value |
//! |---|---|
//! | a model's version | its description (`iris_core::Description`) |
//! | `rows-` and the id of a block | a block of rows (`iris_core::Artefact`), of one model or several |
//! | `rows-`, a model's version, `-` and a number | a part of the rows of a model of format 2 |
//! | `decision-` and its number | a [`Decision`] |
//! | `champion` | a [`ChampionPointer`] |
//!
//! Each decision and each block has a key of its own, so that compaction keeps all of them until a null value deletes one. In
//! artefacts of format 1, the rows are in the description. Deliberately absent: the state that the entries add up to, and who
//! may write them (`iris-registry`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use iris_core::{Artefact, BlockId, Description, ModelVersion};
use serde::{Deserialize, Serialize};

/// The format of decisions and pointers that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// The key of the pointer to the champion.
const CHAMPION_KEY: &str = "champion";

/// The prefix of decisions' keys. The number after it has leading zeros, so that keys sort as decisions do.
const DECISION_PREFIX: &str = "decision-";

/// The prefix of the keys of rows.
const ROWS_PREFIX: &str = "rows-";

/// The action that a decision takes on a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It became the champion because there was none.
    Adopted,
    /// It replaced another champion.
    Promoted,
    /// It became the champion again because its successor was rolled back.
    RolledBack,
    /// It did not become the champion.
    Rejected,
}

impl Action {
    /// Whether the model is the champion after the decision.
    #[must_use]
    pub fn makes_champion(self) -> bool {
        self != Self::Rejected
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Adopted => "adopted",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled back to",
            Self::Rejected => "rejected",
        })
    }
}

/// A decision about a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its number, from 1, in the order of all decisions.
    pub number: u64,
    /// The action.
    pub action: Action,
    /// The model that it is about.
    pub version: ModelVersion,
    /// The champion until then.
    pub replaces: Option<ModelVersion>,
    /// The service that decided.
    pub by: String,
    /// The reason in words.
    pub reason: String,
    /// The figures that it is based on, by name.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
}

/// The pointer to the champion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChampionPointer {
    /// The champion's version.
    pub version: ModelVersion,
    /// The number of the decision that made it the champion.
    pub decision: u64,
}

/// A record of the registry that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value; none deletes the key.
    pub value: Option<Vec<u8>>,
}

/// A record of the registry that was read; a null value deletes its key.
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryRecord<'a> {
    /// A model's description as JSON, not parsed yet.
    Model(ModelVersion, Option<&'a [u8]>),
    /// A block of rows as JSON, not parsed yet.
    Block(BlockId, Option<&'a [u8]>),
    /// A part of the rows of a model of format 2 as JSON, not parsed yet, and its number from 0.
    Part(ModelVersion, u32, Option<&'a [u8]>),
    /// The pointer to the champion.
    Champion(Option<ChampionPointer>),
    /// A decision and its number.
    Decision(u64, Option<Decision>),
}

/// Why a record of the registry cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Its key is none of the registry's.
    #[error("record `{0}` is not one of a registry's")]
    UnknownKey(String),
    /// It was written by a later version of this program.
    #[error(
        "record `{key}` has format {found}, and the newest that this program reads is {FORMAT}: use a newer program"
    )]
    NewerFormat {
        /// The record's key.
        key: String,
        /// Its format.
        found: u32,
    },
    /// Its value is not what its key says.
    #[error("record `{key}` is corrupt: {problem}")]
    Corrupt {
        /// The record's key.
        key: String,
        /// The problem.
        problem: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// A value with its format.
#[derive(Serialize)]
struct Formatted<T> {
    format: u32,
    #[serde(flatten)]
    value: T,
}

impl Entry {
    /// Returns the entries of a model: its rows, and then its description.
    #[must_use]
    pub fn model(artefact: &Artefact) -> Vec<Self> {
        Self::model_beside(artefact, |_| false)
    }

    /// Returns the entries of a model without the blocks that are stored already.
    #[must_use]
    pub fn model_beside(artefact: &Artefact, is_stored: impl Fn(BlockId) -> bool) -> Vec<Self> {
        let blocks = artefact.blocks();
        let mut written = BTreeSet::new();
        let new = blocks
            .iter()
            .filter(|block| !is_stored(block.id) && written.insert(block.id));
        let mut entries: Vec<Self> = new
            .map(|block| Self {
                key: block_key(block.id),
                value: Some(artefact.block_json(block)),
            })
            .collect();
        let version = artefact.model.version();
        entries.push(Self::description(version, &artefact.describe_in(&blocks)));
        entries
    }

    /// Returns the entry of a model's description.
    #[must_use]
    pub fn description(version: ModelVersion, description: &Description) -> Self {
        Self {
            key: version.to_string(),
            value: Some(description.to_json()),
        }
    }

    /// Returns the entry that deletes a model's description.
    #[must_use]
    pub fn without_description(version: ModelVersion) -> Self {
        Self {
            key: version.to_string(),
            value: None,
        }
    }

    /// Returns the entry that deletes a block of rows.
    #[must_use]
    pub fn without_block(block: BlockId) -> Self {
        Self {
            key: block_key(block),
            value: None,
        }
    }

    /// Returns the entry that deletes a part of the rows of a model of format 2.
    #[must_use]
    pub fn without_part(version: ModelVersion, part: u32) -> Self {
        Self {
            key: part_key(version, part),
            value: None,
        }
    }

    /// Returns the entry that deletes a decision.
    #[must_use]
    pub fn without_decision(number: u64) -> Self {
        Self {
            key: decision_key(number),
            value: None,
        }
    }

    /// Returns the model that the entry describes.
    #[must_use]
    pub fn described(&self) -> Option<ModelVersion> {
        self.key.parse().ok()
    }

    /// Returns the size of its key and value in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }

    /// Returns the entry of a decision.
    #[must_use]
    pub fn decision(decision: &Decision) -> Self {
        Self::formatted(decision_key(decision.number), decision)
    }

    /// Returns the entry of the pointer to the champion.
    #[must_use]
    pub fn champion(pointer: ChampionPointer) -> Self {
        Self::formatted(CHAMPION_KEY.to_owned(), pointer)
    }

    fn formatted(key: String, value: impl Serialize) -> Self {
        let formatted = Formatted {
            format: FORMAT,
            value,
        };
        Self {
            key,
            // Writing numbers and text to memory cannot fail.
            value: Some(serde_json::to_vec(&formatted).unwrap_or_default()),
        }
    }
}

fn block_key(block: BlockId) -> String {
    format!("{ROWS_PREFIX}{block}")
}

fn part_key(version: ModelVersion, part: u32) -> String {
    format!("{ROWS_PREFIX}{version}-{part:04}")
}

fn decision_key(number: u64) -> String {
    format!("{DECISION_PREFIX}{number:012}")
}

/// Returns the block that a key names.
fn block_of(key: &str) -> Option<BlockId> {
    key.strip_prefix(ROWS_PREFIX)?.parse().ok()
}

/// Returns the model and the number of the part that a key names.
fn part_of(key: &str) -> Option<(ModelVersion, u32)> {
    let (version, part) = key.strip_prefix(ROWS_PREFIX)?.split_once('-')?;
    Some((version.parse().ok()?, part.parse().ok()?))
}

impl<'a> RegistryRecord<'a> {
    /// Reads a record's key and value. Of a model, only the key is read.
    ///
    /// # Errors
    /// [`EntryError`] that names the record.
    pub fn read(key: &[u8], value: Option<&'a [u8]>) -> Result<Self, EntryError> {
        let unknown = || EntryError::UnknownKey(String::from_utf8_lossy(key).into_owned());
        let key = std::str::from_utf8(key).map_err(|_| unknown())?;
        if let Ok(version) = key.parse() {
            Ok(Self::Model(version, value))
        } else if let Some(block) = block_of(key) {
            Ok(Self::Block(block, value))
        } else if let Some((version, part)) = part_of(key) {
            Ok(Self::Part(version, part, value))
        } else if key == CHAMPION_KEY {
            let pointer = value.map(|json| parse(key, json)).transpose()?;
            Ok(Self::Champion(pointer))
        } else if let Some(number) = key.strip_prefix(DECISION_PREFIX) {
            let number = number.parse().map_err(|_| unknown())?;
            let decision = value.map(|json| parse(key, json)).transpose()?;
            Ok(Self::Decision(number, decision))
        } else {
            Err(unknown())
        }
    }
}

fn parse<T: for<'a> Deserialize<'a>>(key: &str, json: &[u8]) -> Result<T, EntryError> {
    let corrupt = |error: serde_json::Error| EntryError::Corrupt {
        key: key.to_owned(),
        problem: error.to_string(),
    };
    let Format { format } = serde_json::from_slice(json).map_err(corrupt)?;
    if format > FORMAT {
        return Err(EntryError::NewerFormat {
            key: key.to_owned(),
            found: format,
        });
    }
    serde_json::from_slice(json).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_records_are_refused_by_name() {
        let refusal = |key: &[u8], value: &[u8]| {
            RegistryRecord::read(key, Some(value))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal(b"champignon", b"{}"),
            "record `champignon` is not one of a registry's"
        );
        assert_eq!(
            refusal(b"champion", b"{\"format\":2}"),
            "record `champion` has format 2, and the newest that this program reads is 1: use a newer program"
        );
        assert!(refusal(b"champion", b"{").starts_with("record `champion` is corrupt: "));
        assert!(refusal(b"decision-1", b"{\"format\":1}").contains("missing field `number`"));
        assert!(refusal(b"\xff", b"").contains("is not one of a registry's"));
        for key in [
            "decision-",
            "decision-x",
            "rows-",
            "rows-0123456789abcde",
            "rows-0123456789ABCDEF",
            "rows-x-0",
        ] {
            assert_eq!(
                refusal(key.as_bytes(), b"{}"),
                format!("record `{key}` is not one of a registry's")
            );
        }
    }

    #[test]
    fn a_deletion_is_read_by_its_key() {
        let version: ModelVersion = "0123456789abcdef".parse().unwrap();
        let block: BlockId = "0123456789abcdef".parse().unwrap();
        for (entry, record) in [
            (
                Entry::without_description(version),
                RegistryRecord::Model(version, None),
            ),
            (
                Entry::without_part(version, 12),
                RegistryRecord::Part(version, 12, None),
            ),
            (
                Entry::without_block(block),
                RegistryRecord::Block(block, None),
            ),
            (
                Entry::without_decision(7),
                RegistryRecord::Decision(7, None),
            ),
        ] {
            let key = entry.key.as_bytes();
            assert_eq!(
                RegistryRecord::read(key, entry.value.as_deref()),
                Ok(record)
            );
        }
    }
}
