//! The trainer's state in its topic: written whole, in parts that fit into records, and in one transaction with what
//! followed from it.
//!
//! The topic is compacted. A record of the key `head` says how many of the parts belong to the latest state; parts of an
//! earlier, longer state may still be there and mean nothing.

use std::collections::BTreeMap;

use iris_kafka::{KafkaSettings, Offsets, ReadError, ReadProgress, read_to_end};
use serde::{Deserialize, Serialize};

use crate::learner::Stored;

/// The format that is written and read.
const FORMAT: u32 = 2;

/// The key of the record that says what the others are.
const HEAD_KEY: &str = "head";

/// The most bytes of a part: half of what a topic takes by default.
const PART_BYTES: usize = 512 * 1024;

/// Where a trainer stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// For each topic that is read, where reading goes on.
    pub(crate) sources: BTreeMap<String, Offsets>,
    /// What the trainer knows.
    pub(crate) state: Stored,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    owner: String,
    parts: usize,
}

/// Why there is no going on from a checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(
        "the state in topic `{topic}` has format {found}, and this program reads {FORMAT}: use the program that wrote it; or, \
         to begin anew, delete the topic and run `iris-admin topics create`"
    )]
    OtherFormat { topic: String, found: u32 },
    #[error(
        "the state in topic `{topic}` is corrupt: {problem}; to begin anew, delete the topic and run `iris-admin topics create`"
    )]
    Corrupt { topic: String, problem: String },
}

fn part_key(number: usize) -> String {
    format!("part-{number:04}")
}

impl Checkpoint {
    /// The records to write: keys and values.
    pub(crate) fn records(&self, owner: &str) -> Vec<(String, Vec<u8>)> {
        // Numbers, texts and maps keyed by them: writing these to memory cannot fail.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let parts = json.chunks(PART_BYTES).enumerate();
        let mut records: Vec<(String, Vec<u8>)> = parts
            .map(|(number, part)| (part_key(number), part.to_vec()))
            .collect();
        let head = Head {
            format: FORMAT,
            owner: owner.to_owned(),
            parts: records.len(),
        };
        let head = serde_json::to_vec(&head).unwrap_or_default();
        records.push((HEAD_KEY.to_owned(), head));
        records
    }

    /// The latest that was written, with who wrote it; `None` if nothing was.
    ///
    /// # Errors
    /// [`CheckpointError`] if the topic cannot be read, or has no state that can be.
    pub(crate) fn read(
        settings: &KafkaSettings,
        topic: &str,
        report: &mut dyn FnMut(&ReadProgress),
    ) -> Result<Option<(Self, String)>, CheckpointError> {
        let mut values = BTreeMap::new();
        for record in read_to_end(settings, topic, report)? {
            let key = record.key.unwrap_or_default();
            values.insert(String::from_utf8_lossy(&key).into_owned(), record.value);
        }
        Self::assemble(topic, &values)
    }

    fn assemble(
        topic: &str,
        values: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<Option<(Self, String)>, CheckpointError> {
        let value = |key: &str| values.get(key).and_then(Option::as_ref);
        let corrupt = |problem: String| CheckpointError::Corrupt {
            topic: topic.to_owned(),
            problem,
        };
        let Some(head) = value(HEAD_KEY) else {
            return Ok(None);
        };
        let head: Head =
            serde_json::from_slice(head).map_err(|error| corrupt(error.to_string()))?;
        if head.format != FORMAT {
            return Err(CheckpointError::OtherFormat {
                topic: topic.to_owned(),
                found: head.format,
            });
        }
        let mut json = Vec::new();
        for key in (0..head.parts).map(part_key) {
            let part = value(&key).ok_or_else(|| corrupt(format!("`{key}` is missing")))?;
            json.extend_from_slice(part);
        }
        let checkpoint =
            serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()))?;
        Ok(Some((checkpoint, head.owner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> Checkpoint {
        let offsets: Offsets = (0..100_000).map(|n| (n, i64::from(n) * 7)).collect();
        Checkpoint {
            sources: [("predictions".to_owned(), offsets)].into(),
            state: Stored::default(),
        }
    }

    fn written(checkpoint: &Checkpoint) -> BTreeMap<String, Option<Vec<u8>>> {
        let records = checkpoint.records("me").into_iter();
        records.map(|(key, value)| (key, Some(value))).collect()
    }

    #[test]
    fn a_state_of_many_parts_is_read_as_it_was_written() {
        let mut values = written(&long());
        assert!(values.len() > 2, "{}", values.len());
        let read = Checkpoint::assemble("t", &values).unwrap();
        assert_eq!(read, Some((long(), "me".to_owned())));
        // A shorter one after it leaves parts behind.
        values.extend(written(&Checkpoint::default()));
        let read = Checkpoint::assemble("t", &values).unwrap();
        assert_eq!(read, Some((Checkpoint::default(), "me".to_owned())));
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut values = written(&long());
        values.remove("part-0001");
        let error = Checkpoint::assemble("t", &values).unwrap_err().to_string();
        assert!(error.contains("`part-0001` is missing"), "{error}");
        assert!(
            Checkpoint::assemble("t", &BTreeMap::new())
                .unwrap()
                .is_none()
        );
    }
}
