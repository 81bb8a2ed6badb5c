//! The stored form of the memory. The names in its JSON are a wire format: a state that an earlier version of the program
//! wrote is read again.
//!
//! The champion's known rows are stored in blocks. The rows of a candidate and of former champions are nearly the same, so only
//! their differences from the champion's are stored.

use std::collections::BTreeSet;

use iris_core::ModelVersion;
use serde::{Deserialize, Serialize};

use super::fallback::Fallback;
use super::{Candidate, Memory};
use crate::blocks::{Block, List, cut};
use crate::challenger::{KnownRow, TrainingExample};

/// Rows in order, as they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum StoredRows {
    /// The rows themselves, as earlier versions of the program stored them.
    Whole(Vec<KnownRow>),
    /// Their difference from the champion's known rows.
    Difference {
        added: Vec<KnownRow>,
        removed: Vec<KnownRow>,
    },
}

impl Default for StoredRows {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}

impl StoredRows {
    fn difference(rows: &[KnownRow], known: &[KnownRow]) -> Self {
        let same = rows
            .iter()
            .zip(known)
            .take_while(|(row, other)| row == other);
        let same = same.count();
        let (rows, known) = (&rows[same..], &known[same..]);
        let missing = |rows: &[KnownRow], others: &[KnownRow]| {
            let rows = rows.iter().copied();
            rows.filter(|row| others.binary_search(row).is_err())
                .collect()
        };
        Self::Difference {
            added: missing(rows, known),
            removed: missing(known, rows),
        }
    }

    fn rows(self, known: &[KnownRow]) -> Vec<KnownRow> {
        match self {
            Self::Whole(rows) => rows,
            Self::Difference { added, removed } => {
                let kept = known.iter().copied();
                let mut rows: Vec<_> = kept
                    .filter(|row| removed.binary_search(row).is_err())
                    .chain(added)
                    .collect();
                rows.sort_unstable();
                rows
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredCandidate {
    version: ModelVersion,
    rows: StoredRows,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredFallback {
    predecessor: ModelVersion,
    known: StoredRows,
    /// The rows that this model does not have, as earlier versions of the program stored them. They need this list, empty or not.
    #[serde(default)]
    examples: Vec<TrainingExample>,
    withdrawn: BTreeSet<KnownRow>,
    forgotten: usize,
}

impl StoredFallback {
    fn new(fallback: &Fallback, known: &[KnownRow]) -> Self {
        Self {
            predecessor: fallback.version,
            known: StoredRows::difference(&fallback.known, known),
            examples: Vec::new(),
            withdrawn: fallback.withdrawn.clone(),
            forgotten: fallback.forgotten,
        }
    }

    fn restore(self, known: &[KnownRow]) -> Fallback {
        Fallback {
            version: self.predecessor,
            known: self.known.rows(known),
            withdrawn: self.withdrawn,
            forgotten: self.forgotten,
        }
    }
}

/// The stored form of [`Memory`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredMemory {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    known: Vec<KnownRow>,
    withdrawn: BTreeSet<KnownRow>,
    examples: Vec<TrainingExample>,
    forgotten: usize,
    first_record: u64,
    needs_proof: bool,
    records: u64,
    new_rows: usize,
    since: Option<i64>,
    candidate: Option<StoredCandidate>,
    fallback: Option<StoredFallback>,
    earlier: Option<StoredFallback>,
}

impl StoredMemory {
    /// Adds the champion's known rows of a block.
    ///
    /// # Errors
    /// The error of the JSON.
    pub(crate) fn add_known(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let known: Vec<KnownRow> = serde_json::from_slice(json)?;
        self.known.extend(known);
        Ok(())
    }

    /// Returns the memory.
    pub(crate) fn restore(self) -> Memory {
        let known = self.known;
        Memory {
            withdrawn: self.withdrawn,
            examples: self.examples,
            forgotten: self.forgotten,
            first_record: self.first_record,
            needs_proof: self.needs_proof,
            records: self.records,
            new_rows: self.new_rows,
            since: self.since,
            candidate: self.candidate.map(|candidate| Candidate {
                version: candidate.version,
                rows: candidate.rows.rows(&known),
            }),
            fallback: self.fallback.map(|fallback| fallback.restore(&known)),
            earlier: self.earlier.map(|fallback| fallback.restore(&known)),
            known,
        }
    }
}

impl Memory {
    /// Returns the stored form without the champion's known rows, which are stored in blocks.
    pub(crate) fn store(&self) -> StoredMemory {
        let known = &self.known;
        let stored = |fallback: Option<&Fallback>| {
            fallback.map(|fallback| StoredFallback::new(fallback, known))
        };
        StoredMemory {
            known: Vec::new(),
            withdrawn: self.withdrawn.clone(),
            examples: self.examples.clone(),
            forgotten: self.forgotten,
            first_record: self.first_record,
            needs_proof: self.needs_proof,
            records: self.records,
            new_rows: self.new_rows,
            since: self.since,
            candidate: self.candidate.as_ref().map(|candidate| StoredCandidate {
                version: candidate.version,
                rows: StoredRows::difference(&candidate.rows, known),
            }),
            fallback: stored(self.fallback.as_ref()),
            earlier: stored(self.earlier.as_ref()),
        }
    }

    /// Returns the stored form with the champion's known rows.
    #[cfg(test)]
    pub(crate) fn store_whole(&self) -> StoredMemory {
        StoredMemory {
            known: self.known.clone(),
            ..self.store()
        }
    }

    /// Returns the blocks of the champion's known rows.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        cut(List::Rows, &self.known, |_, row| row.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory whose candidate and fallback differ from the champion's rows, stored in two forms.
    #[test]
    fn rows_are_read_whole_and_as_differences() {
        let stored = |candidate: &str, fallback: &str| {
            let json = format!(
                r#"{{"known":[[1,0,1],[2,0,2],[4,0,4]],
                "candidate":{{"version":"0123456789abcdef","rows":{candidate}}},
                "fallback":{{"predecessor":"fedcba9876543210","known":{fallback},"examples":[],"withdrawn":[],"forgotten":0}}}}"#
            );
            serde_json::from_str::<StoredMemory>(&json).unwrap()
        };
        let whole = stored("[[2,0,2],[3,0,3],[4,0,4]]", "[[1,0,1]]").restore();
        let differences = stored(
            r#"{"added":[[3,0,3]],"removed":[[1,0,1]]}"#,
            r#"{"added":[],"removed":[[2,0,2],[4,0,4]]}"#,
        );
        assert_eq!(differences.clone().restore(), whole);
        assert_eq!(whole.store_whole(), differences);
    }
}
