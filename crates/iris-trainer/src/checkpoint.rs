//! The checkpoint: the trainer's state in its topic, written in the transaction of the decisions that it contains.
//!
//! The topic is compacted. The state's long lists are stored in [blocks](crate::blocks), each under keys of its own, and a
//! checkpoint writes only the records that differ from the previous one. The record with the key `head` has the number of
//! records that belong to the state.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use iris_kafka::{KafkaSettings, Positions, ReadError, ReadProgress, TopicId, read_to_end};
use serde::{Deserialize, Serialize};

use crate::blocks::{Block, BlockId, Blocks};
use crate::learner::LearnerState;

/// The format that this program writes.
const FORMAT: u32 = 3;

/// The oldest format that this program reads. It has no blocks.
const OLDEST_FORMAT: u32 = 2;

/// The key of the record that describes the others.
const HEAD_KEY: &str = "head";

/// The maximum size of a record's value: half of a topic's default limit.
const PART_BYTES: usize = 512 * 1024;

/// A trainer's state and positions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// For each topic that is read, where reading continues.
    pub(crate) sources: BTreeMap<String, Positions>,
    /// The ids of these topics. A recreated topic has another id, and its positions no longer apply.
    #[serde(default)]
    pub(crate) topic_ids: BTreeMap<String, TopicId>,
    /// For each topic and partition, the stream's time when the record before that was taken.
    #[serde(default)]
    pub(crate) times: BTreeMap<String, BTreeMap<i32, i64>>,
    /// The learner's state. Its long lists are stored in blocks.
    pub(crate) state: LearnerState,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    owner: String,
    /// The number of parts of the checkpoint without its blocks.
    parts: usize,
    /// The number of records of blocks.
    #[serde(default)]
    blocks: usize,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(
        "the state in topic `{topic}` has format {found}, and this program reads {OLDEST_FORMAT} to {FORMAT}: use the program \
         that wrote it; or, to start over, delete the topic and run `iris-admin topics create`"
    )]
    OtherFormat { topic: String, found: u32 },
    #[error(
        "the state in topic `{topic}` is corrupt: {problem}; to start over, delete the topic and run `iris-admin topics create`"
    )]
    Corrupt { topic: String, problem: String },
}

/// A piece of a checkpoint that is stored in one record or, if it is large, in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// The checkpoint without its blocks.
    Main,
    Block(BlockId),
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("part"),
            Self::Block(id) => id.fmt(f),
        }
    }
}

impl Piece {
    fn key(self, part: usize) -> String {
        format!("{self}-{part:04}")
    }

    /// Returns the piece and the number of the part that a key names; `None` if the key is not that of a part.
    fn parse(key: &str) -> Option<(Self, usize)> {
        let (name, part) = key.rsplit_once('-')?;
        let piece = match name {
            "part" => Self::Main,
            name => Self::Block(BlockId::parse(name)?),
        };
        Some((piece, part.parse().ok()?))
    }
}

/// A record to write: its key, and its value or, to delete the key, none.
pub(crate) type KeyedValue = (String, Option<Vec<u8>>);

/// The values of the topic's records by key.
type Values = BTreeMap<String, Vec<u8>>;

/// Writes checkpoints: of each, only the records that differ from the previous one.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckpointWriter {
    owner: String,
    /// The hash of each part that the topic has.
    written: BTreeMap<Piece, Vec<u64>>,
}

impl CheckpointWriter {
    /// Returns the records that turn the previous checkpoint into this one. They all have to be written, in one transaction.
    pub(crate) fn changes(&mut self, checkpoint: &Checkpoint, blocks: Blocks) -> Vec<KeyedValue> {
        let mut records = Vec::new();
        // Numbers, strings and maps with such keys always serialise.
        let json = serde_json::to_vec(checkpoint).unwrap_or_default();
        self.replace(Piece::Main, Some(&json), &mut records);
        for (list, blocks) in blocks.whole {
            let left: BTreeSet<BlockId> = blocks.iter().map(|block| block.id).collect();
            let is_gone = |id: &BlockId| id.list == list && !left.contains(id);
            let gone: Vec<BlockId> = self.blocks().filter(is_gone).collect();
            for id in gone {
                self.replace(Piece::Block(id), None, &mut records);
            }
            self.replace_blocks(&blocks, &mut records);
        }
        self.replace_blocks(&blocks.changed, &mut records);
        let (parts, blocks) = counts(&self.written);
        let head = Head {
            format: FORMAT,
            owner: self.owner.clone(),
            parts,
            blocks,
        };
        let head = serde_json::to_vec(&head).unwrap_or_default();
        records.push((HEAD_KEY.to_owned(), Some(head)));
        records
    }

    fn blocks(&self) -> impl Iterator<Item = BlockId> {
        self.written.keys().filter_map(|piece| match piece {
            Piece::Main => None,
            Piece::Block(id) => Some(*id),
        })
    }

    fn replace_blocks(&mut self, blocks: &[Block], records: &mut Vec<KeyedValue>) {
        for block in blocks {
            self.replace(Piece::Block(block.id), block.json.as_deref(), records);
        }
    }

    /// Adds the records that replace a piece; `None` deletes it.
    fn replace(&mut self, piece: Piece, json: Option<&[u8]>, records: &mut Vec<KeyedValue>) {
        let before = self.written.remove(&piece).unwrap_or_default();
        let mut after = Vec::new();
        for (number, part) in json.unwrap_or_default().chunks(PART_BYTES).enumerate() {
            let hash = hash(part);
            if before.get(number) != Some(&hash) {
                records.push((piece.key(number), Some(part.to_vec())));
            }
            after.push(hash);
        }
        let surplus = after.len()..before.len();
        records.extend(surplus.map(|number| (piece.key(number), None)));
        if !after.is_empty() {
            self.written.insert(piece, after);
        }
    }
}

/// Returns a hash that is compared within this process only. Of 2^64 changes, it misses one.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// A checkpoint that was read.
#[derive(Debug, Default)]
pub(crate) struct StoredCheckpoint {
    pub(crate) checkpoint: Checkpoint,
    /// The name of the trainer that wrote it; empty if there was none.
    pub(crate) writer: String,
    /// The hash of each part that the topic has.
    written: BTreeMap<Piece, Vec<u64>>,
}

impl StoredCheckpoint {
    /// Reads the latest checkpoint; an empty one if there is none. Passes the progress to `report`.
    ///
    /// # Errors
    /// [`CheckpointError`] if the topic or the state in it cannot be read.
    pub(crate) fn read(
        settings: &KafkaSettings,
        topic: &str,
        report: &mut dyn FnMut(&ReadProgress),
    ) -> Result<Self, CheckpointError> {
        let mut values = Values::new();
        for record in read_to_end(settings, topic, report)? {
            let key = record.key.unwrap_or_default();
            let key = String::from_utf8_lossy(&key).into_owned();
            match record.value {
                Some(value) => values.insert(key, value),
                None => values.remove(&key),
            };
        }
        Self::assemble(topic, &values)
    }

    /// Returns the checkpoint and a writer that continues from it.
    pub(crate) fn into_writer(self, owner: &str) -> (Checkpoint, CheckpointWriter) {
        let writer = CheckpointWriter {
            owner: owner.to_owned(),
            written: self.written,
        };
        (self.checkpoint, writer)
    }

    fn assemble(topic: &str, values: &Values) -> Result<Self, CheckpointError> {
        let corrupt = |problem: String| CheckpointError::Corrupt {
            topic: topic.to_owned(),
            problem,
        };
        let Some(head) = values.get(HEAD_KEY) else {
            return Ok(Self::default());
        };
        let head: Head =
            serde_json::from_slice(head).map_err(|error| corrupt(error.to_string()))?;
        if !(OLDEST_FORMAT..=FORMAT).contains(&head.format) {
            return Err(CheckpointError::OtherFormat {
                topic: topic.to_owned(),
                found: head.format,
            });
        }
        let (pieces, written) = join_parts(values);
        let mut json = Vec::new();
        for key in (0..head.parts).map(|part| Piece::Main.key(part)) {
            let missing = || corrupt(format!("`{key}` is missing"));
            json.extend_from_slice(values.get(&key).ok_or_else(missing)?);
        }
        let mut checkpoint: Checkpoint =
            serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
        let (_, found) = counts(&written);
        if head.format > OLDEST_FORMAT && found != head.blocks {
            let expected = head.blocks;
            return Err(corrupt(format!(
                "there are {found} records of blocks instead of {expected}"
            )));
        }
        for (piece, json) in &pieces {
            if let Piece::Block(id) = piece {
                let added = checkpoint.state.add_block(id.list, json);
                added.map_err(|error| corrupt(format!("`{id}`: {error}")))?;
            }
        }
        Ok(Self {
            checkpoint,
            writer: head.owner,
            written,
        })
    }
}

/// Returns the number of parts of the checkpoint without its blocks, and that of all blocks.
fn counts(written: &BTreeMap<Piece, Vec<u64>>) -> (usize, usize) {
    let main = written.get(&Piece::Main).map_or(0, Vec::len);
    let all: usize = written.values().map(Vec::len).sum();
    (main, all - main)
}

/// Joins the parts of each piece. Returns the pieces, and the hash of each part.
fn join_parts(values: &Values) -> (BTreeMap<Piece, Vec<u8>>, BTreeMap<Piece, Vec<u64>>) {
    let (mut pieces, mut written) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in values {
        if let Some((piece, _)) = Piece::parse(key) {
            let json: &mut Vec<u8> = pieces.entry(piece).or_default();
            json.extend_from_slice(value);
            let hashes: &mut Vec<u64> = written.entry(piece).or_default();
            hashes.push(hash(value));
        }
    }
    (pieces, written)
}

/// Whether another trainer has written the state after this one did. A state that is gone counts as another's.
pub(crate) fn is_taken_over(has_written: bool, own_name: &str, writer: &str) -> bool {
    has_written && writer != own_name
}
