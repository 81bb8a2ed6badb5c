//! The newest labelled records, on which challengers are compared with the champion.

use std::collections::VecDeque;

use iris_kafka::PartitionOffset;
use serde::{Deserialize, Serialize};

/// A labelled record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LabelledRecord {
    /// The place of its prediction.
    #[serde(with = "crate::place")]
    pub(crate) place: PartitionOffset,
    /// The features.
    pub(crate) features: Vec<f64>,
    /// The ground truth.
    pub(crate) label: String,
}

/// The newest labelled records, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RecentRecords(VecDeque<LabelledRecord>);

impl RecentRecords {
    /// Adds a record and drops the oldest ones above `max`.
    pub(crate) fn add(&mut self, record: LabelledRecord, max: usize) {
        self.0.push_back(record);
        while self.0.len() > max {
            self.0.pop_front();
        }
    }

    /// Removes a record whose label has changed.
    pub(crate) fn remove(&mut self, place: PartitionOffset) {
        self.0.retain(|record| record.place != place);
    }

    /// Iterates over the records, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LabelledRecord> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> PartitionOffset {
        PartitionOffset {
            partition: 0,
            offset,
        }
    }

    #[test]
    fn the_newest_records_are_kept_until_their_label_changes() {
        let mut recent = RecentRecords::default();
        for offset in 0..5 {
            let record = LabelledRecord {
                place: place(offset),
                features: vec![1.0],
                label: "a".to_owned(),
            };
            recent.add(record, 3);
        }
        recent.remove(place(3));
        let kept: Vec<_> = recent.iter().map(|record| record.place.offset).collect();
        assert_eq!(kept, [2, 4]);
    }
}
