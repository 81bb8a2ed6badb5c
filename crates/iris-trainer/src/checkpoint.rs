//! The checkpoint: the trainer's state in its topic, written as a whole, in parts that fit into records, in one transaction
//! with the decisions that it contains.
//!
//! The topic is compacted. The record with the key `head` has the number of parts of the latest state. Parts beyond that
//! number belong to an earlier, longer state and are ignored.

use std::collections::BTreeMap;

use iris_kafka::{KafkaSettings, Positions, ReadError, ReadProgress, TopicId, read_to_end};
use serde::{Deserialize, Serialize};

use crate::learner::LearnerState;

/// The format that this program writes and reads.
const FORMAT: u32 = 2;

/// The key of the record that describes the others.
const HEAD_KEY: &str = "head";

/// The maximum size of a part: half of a topic's default limit.
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
    /// The learner's state.
    pub(crate) state: LearnerState,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    owner: String,
    parts: usize,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(
        "the state in topic `{topic}` has format {found}, and this program reads {FORMAT}: use the program that wrote it; or, \
         to start over, delete the topic and run `iris-admin topics create`"
    )]
    OtherFormat { topic: String, found: u32 },
    #[error(
        "the state in topic `{topic}` is corrupt: {problem}; to start over, delete the topic and run `iris-admin topics create`"
    )]
    Corrupt { topic: String, problem: String },
}

fn part_key(number: usize) -> String {
    format!("part-{number:04}")
}

impl Checkpoint {
    /// Returns the keys and values of the records to write.
    pub(crate) fn records(&self, owner: &str) -> Vec<(String, Vec<u8>)> {
        // Numbers, strings and maps with such keys always serialise.
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

    /// Reads the latest checkpoint and the name of the trainer that wrote it. `None` if there is no checkpoint. Passes the
    /// progress to `report`.
    ///
    /// # Errors
    /// [`CheckpointError`] if the topic or the state in it cannot be read.
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

/// Whether another trainer has written the state after this one did. A state that is gone counts as another's.
pub(crate) fn is_taken_over(has_written: bool, own_name: &str, writer: &str) -> bool {
    has_written && writer != own_name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long() -> Checkpoint {
        let offsets: Positions = (0..100_000).map(|n| (n, i64::from(n) * 7)).collect();
        Checkpoint {
            sources: [("predictions".to_owned(), offsets)].into(),
            topic_ids: BTreeMap::from_iter(
                TopicId::new("4Yy1GbkqTBqqG6KrqGAyeQ").map(|id| ("predictions".to_owned(), id)),
            ),
            times: [("predictions".to_owned(), [(0, 7)].into())].into(),
            state: LearnerState::default(),
        }
    }

    fn written(checkpoint: &Checkpoint) -> BTreeMap<String, Option<Vec<u8>>> {
        let records = checkpoint.records("me").into_iter();
        records.map(|(key, value)| (key, Some(value))).collect()
    }

    #[test]
    fn a_state_of_many_parts_can_be_read_back() {
        let mut values = written(&long());
        assert!(values.len() > 2, "{}", values.len());
        let read = Checkpoint::assemble("t", &values).unwrap();
        assert_eq!(read, Some((long(), "me".to_owned())));
        // A shorter state leaves old parts behind.
        values.extend(written(&Checkpoint::default()));
        let read = Checkpoint::assemble("t", &values).unwrap();
        assert_eq!(read, Some((Checkpoint::default(), "me".to_owned())));
    }

    #[test]
    fn a_state_of_an_earlier_version_has_neither_ids_nor_times() {
        let json = br#"{"sources":{"predictions":{"0":120}},"state":{}}"#;
        let head = br#"{"format":2,"owner":"me","parts":1}"#;
        let records = [("part-0000", &json[..]), ("head", &head[..])];
        let values = records.map(|(key, value)| (key.to_owned(), Some(value.to_vec())));
        let (read, _) = Checkpoint::assemble("t", &values.into()).unwrap().unwrap();
        assert_eq!((read.sources.len(), read.times.len()), (1, 0));
        assert!(read.topic_ids.is_empty());
    }

    #[test]
    fn a_missing_part_is_named() {
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

    #[test]
    fn a_trainer_is_taken_over_when_another_has_written_the_state_or_it_is_gone() {
        assert!(!is_taken_over(false, "me", "another"), "it starts");
        assert!(!is_taken_over(true, "me", "me"));
        assert!(is_taken_over(true, "me", "another"));
        assert!(is_taken_over(true, "me", ""));
    }
}
