//! The memory as it was with a former champion.

use std::collections::BTreeSet;

use iris_core::{Model, ModelVersion};
use iris_kafka::PartitionOffset;

use crate::challenger::{KnownRow, Selection, TrainingExample};

/// The state that the memory returns to if the champion is rolled back to a former one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fallback {
    /// The former champion.
    pub(super) version: ModelVersion,
    /// Its newest rows, as far as their predictions are known, in order.
    pub(super) known: Vec<KnownRow>,
    /// Those of them that are left out.
    pub(super) withdrawn: BTreeSet<KnownRow>,
    /// The number of its oldest rows that are left out.
    pub(super) forgotten: usize,
}

impl Fallback {
    /// Leaves out the row of a prediction.
    pub(super) fn remove(&mut self, place: PartitionOffset) {
        let known = self.known.iter().find(|row| row.place == place);
        self.withdrawn.extend(known);
    }

    /// Leaves out the rows of records before this number, and those whose predictions are not known.
    pub(super) fn keep_from(&mut self, first_record: u64) {
        self.known.retain(|row| row.record >= first_record);
        self.withdrawn.retain(|row| row.record >= first_record);
        self.forgotten = usize::MAX;
    }

    /// Returns the rows of the present champion that the former one does not have, as examples.
    pub(super) fn missing(
        &self,
        champion: &Model,
        selection: Selection<'_>,
    ) -> Vec<TrainingExample> {
        let set = champion.training_set();
        let unknown = set.len().saturating_sub(selection.known.len());
        let rows = selection.known.iter().zip(set.rows().skip(unknown));
        let is_missing = |row: &KnownRow| self.known.binary_search(row).is_err();
        rows.filter(|(row, _)| selection.has(row) && is_missing(row))
            .map(|(row, (features, label))| TrainingExample {
                place: row.place,
                features: features.to_vec(),
                label: label.to_owned(),
                record: row.record,
            })
            .collect()
    }
}
