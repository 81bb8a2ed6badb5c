//! The result of a storm.

use serde::Serialize;

use super::audit::Audited;
use super::faults::Faults;
use super::plan::Plan;
use crate::ledger::{CommittedRecords, FindingCounts};

/// The result of a storm.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The seed of the storm.
    pub seed: u64,
    /// How the classifiers shared the partitions.
    pub mode: &'static str,
    /// The number of input records.
    pub records: usize,
    /// The number of predictions.
    pub predictions: usize,
    /// The number of dead letters.
    pub dead_letters: usize,
    /// The number of feedback records.
    pub feedback: usize,
    /// The number of rows in the store.
    pub stored: usize,
    /// The number of input records that were deleted before they were read. The services report each of them.
    pub deleted_unread: usize,
    /// The number of input records without an outcome when their topic was deleted and recreated.
    pub unread_in_deleted_topic: usize,
    /// The injected faults.
    pub faults: Faults,
    /// The ledger's findings.
    pub findings: FindingCounts,
    /// Services that exited by themselves, or with an error.
    pub unexpected_exits: Vec<String>,
    /// Seconds from the first process to the end of the audit.
    pub elapsed_s: f64,
    /// The findings as text.
    #[serde(skip)]
    pub details: String,
}

impl Report {
    /// Returns a report with the numbers of these records.
    pub(super) fn of(plan: &Plan, found: &CommittedRecords, audited: Audited, rows: usize) -> Self {
        Self {
            seed: plan.seed,
            mode: plan.mode.name(),
            predictions: found.predictions.len(),
            dead_letters: found.dead_letters.len(),
            feedback: found.feedback.len(),
            stored: rows,
            deleted_unread: audited.deleted_unread,
            unread_in_deleted_topic: audited.unread_in_deleted_topic,
            ..Self::default()
        }
    }

    /// Returns whether every guarantee was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings == FindingCounts::default() && self.unexpected_exits.is_empty()
    }
}
