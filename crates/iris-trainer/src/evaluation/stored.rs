//! The stored form of the evaluation. The names in its JSON are a wire format: a state that an earlier version of the program
//! wrote is read again.

use std::collections::VecDeque;

use iris_core::ModelVersion;
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::classes::Classes;
use super::paired::Paired;
use super::versions::VersionCounts;

/// The stored form of [`Evaluation`](super::Evaluation). All but the counts by version is absent in states of earlier versions
/// of the program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredEvaluation {
    #[serde(flatten)]
    pub(super) versions: VersionCounts,
    pub(super) classes: Classes,
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    pub(super) answers: VecDeque<Answers>,
    /// The number of answers that were dropped before these.
    pub(super) dropped: u64,
    pub(super) never_learning_model: Option<ModelVersion>,
    pub(super) never_learning: Paired,
    pub(super) no_change: Paired,
}

impl StoredEvaluation {
    /// Adds the answers of a block.
    ///
    /// # Errors
    /// The error of the JSON.
    pub(crate) fn add_answers(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let answers: Vec<Answers> = serde_json::from_slice(json)?;
        self.answers.extend(answers);
        Ok(())
    }
}
