//! Counts records that were deleted before they were read.

use std::collections::BTreeMap;
use std::ops::Range;

use parking_lot::Mutex;
use tracing::error;

/// The records that one client has lost, by partition. Each is counted and logged once.
#[derive(Debug, Default)]
pub(crate) struct LostRecords(Mutex<BTreeMap<i32, Lost>>);

/// The lost records of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    records: u64,
    /// The offset up to which lost records have been counted.
    until: i64,
}

impl LostRecords {
    /// Counts and logs the records at these offsets of a partition, without those that were counted before. The number is an
    /// upper bound: some of the offsets may be transaction markers.
    pub(crate) fn note(&self, topic: &str, partition: i32, offsets: Range<i64>) {
        let mut partitions = self.0.lock();
        let lost = partitions.entry(partition).or_default();
        let start = offsets.start.max(lost.until);
        if start >= offsets.end {
            return;
        }
        let records = (offsets.end - start).unsigned_abs();
        lost.records += records;
        lost.until = offsets.end;
        drop(partitions);
        error!(
            "partition {partition} of topic `{topic}`: {records} records were deleted before they were read, at offsets {start} \
             to {}; check the topic's retention",
            offsets.end - 1
        );
    }

    /// Counts the records of a recreated topic, whose offsets start again at 0.
    pub(crate) fn restart(&self) {
        for lost in self.0.lock().values_mut() {
            lost.until = 0;
        }
    }

    /// Returns the number of lost records of each partition that has any.
    pub(crate) fn counts(&self) -> Vec<(i32, u64)> {
        let partitions = self.0.lock();
        partitions
            .iter()
            .map(|(&partition, lost)| (partition, lost.records))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_counted_once_and_again_in_a_recreated_topic() {
        let lost = LostRecords::default();
        lost.note("t", 3, 20..30);
        lost.note("t", 3, 20..30);
        lost.note("t", 3, 25..32);
        lost.note("t", 1, 0..1);
        assert_eq!(lost.counts(), [(1, 1), (3, 12)]);
        lost.restart();
        lost.note("t", 3, 0..5);
        assert_eq!(lost.counts(), [(1, 1), (3, 17)]);
    }
}
