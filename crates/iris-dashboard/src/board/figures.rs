//! The sums as the page and the API show them.

use std::collections::BTreeMap;

use iris_core::Confusion;
use serde::Serialize;
use utoipa::ToSchema;

/// The sums of one model version.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VersionFigures {
    /// The number in the order of the versions' first transactions, from 1.
    pub number: usize,
    /// The model version.
    pub model_version: String,
    /// When its first transaction ended, in milliseconds since the epoch.
    pub first_ms: i64,
    /// When its last transaction ended, in milliseconds since the epoch.
    pub last_ms: i64,
    /// Predictions.
    pub predictions: u64,
    /// Predictions whose record had a label.
    pub evaluated: u64,
    /// The share of evaluated predictions that are right; null if there are none.
    pub accuracy: Option<f64>,
}

/// The sums of all transactions in the dashboard's history.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// When the first counted transaction ended, in milliseconds since the epoch; null if there is none.
    pub since_ms: Option<i64>,
    /// When the last counted transaction ended, in milliseconds since the epoch; null if there is none.
    pub latest_ms: Option<i64>,
    /// All transactions until this time are counted, in milliseconds since the epoch, except those of workers that the status
    /// names as late. Null until the topic has been read to its end; counts are then incomplete.
    pub known_until_ms: Option<i64>,
    /// Records with an outcome.
    pub records: u64,
    /// Predictions.
    pub predictions: u64,
    /// Predictions whose record had a label.
    pub evaluated: u64,
    /// Evaluated predictions that are wrong.
    pub mispredicted: u64,
    /// The share of evaluated predictions that are right; null if no record had a label.
    pub accuracy: Option<f64>,
    /// Dead-lettered records.
    pub dead_letters: u64,
    /// Predictions by class.
    pub predictions_by_class: BTreeMap<String, u64>,
    /// The confusion matrix: evaluated predictions by the label's class, then by the predicted class.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub evaluations: Confusion,
    /// Dead-lettered records, by reason.
    pub dead_letters_by_reason: BTreeMap<String, u64>,
    /// The model versions in the order of their first transactions.
    pub versions: Vec<VersionFigures>,
}

impl Figures {
    /// Returns whether any summary has been read, or the topic has been read to its end.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known_until_ms.or(self.since_ms).is_some()
    }
}
