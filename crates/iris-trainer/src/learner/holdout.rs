//! The rolling holdout: the newest labelled records of a sample, which no model is trained on while they are in it. Challengers
//! are compared with the champion on them.

use std::collections::VecDeque;

use iris_kafka::PartitionOffset;
use serde::{Deserialize, Serialize};

use crate::challenger::TrainingExample;

/// A record that is held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldOut {
    /// The record.
    #[serde(flatten)]
    pub(crate) example: TrainingExample,
    /// Whether it is learned when it leaves the holdout.
    pub(crate) is_learned: bool,
}

/// The records that are held out, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Holdout(VecDeque<HeldOut>);

impl Holdout {
    /// Adds a record. Returns the oldest ones above `max`.
    pub(crate) fn add(&mut self, record: HeldOut, max: usize) -> impl Iterator<Item = HeldOut> {
        self.0.push_back(record);
        let excess = self.0.len().saturating_sub(max);
        self.0.drain(..excess)
    }

    /// Removes a record, if it is held out.
    pub(crate) fn remove(&mut self, place: PartitionOffset) {
        self.0.retain(|record| record.example.place != place);
    }

    /// Removes the records before this number.
    pub(crate) fn remove_before(&mut self, record: u64) {
        self.0.retain(|held_out| held_out.example.record >= record);
    }

    /// Iterates over the records, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TrainingExample> {
        self.0.iter().map(|record| &record.example)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_out(record: u64) -> HeldOut {
        HeldOut {
            example: TrainingExample {
                place: PartitionOffset::new(0, 10 + i64::try_from(record).unwrap()),
                features: vec![1.0],
                label: "a".to_owned(),
                record,
            },
            is_learned: true,
        }
    }

    #[test]
    fn the_newest_records_are_held_out_and_the_oldest_are_released() {
        let mut holdout = Holdout::default();
        let mut released = Vec::new();
        for record in 1..=6 {
            released.extend(holdout.add(held_out(record), 4));
        }
        let records = |held_out: &HeldOut| held_out.example.record;
        assert_eq!(released.iter().map(records).collect::<Vec<_>>(), [1, 2]);
        holdout.remove(PartitionOffset::new(0, 15));
        holdout.remove_before(4);
        let left: Vec<_> = holdout.iter().map(|example| example.record).collect();
        assert_eq!(left, [4, 6]);
    }
}
