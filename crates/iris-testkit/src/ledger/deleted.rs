//! Input records that were deleted: how far each partition was truncated, and which records were lost by that.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use iris_kafka::StoredRecord;

use super::source::Source;

/// The offsets up to which the partitions of the input topic were truncated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truncations(BTreeMap<i32, BTreeSet<i64>>);

impl Truncations {
    /// Adds the deletion of a partition's records before an offset.
    pub fn add(&mut self, partition: i32, until: i64) {
        self.0.entry(partition).or_default().insert(until);
    }

    /// Returns the offset of the first record of a partition that was not deleted.
    #[must_use]
    pub fn start(&self, partition: i32) -> i64 {
        let last = self.0.get(&partition).and_then(BTreeSet::last);
        last.copied().unwrap_or(0)
    }

    /// Returns the number of truncations.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether a partition was truncated up to this offset.
    fn has(&self, partition: i32, until: i64) -> bool {
        let partition = self.0.get(&partition);
        partition.is_some_and(|offsets| offsets.contains(&until))
    }
}

/// The input records that were deleted before they were read, as ranges of offsets by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<(i32, Range<i64>)>);

impl Losses {
    /// Splits records without an outcome into those that were deleted unread, and those for which no deletion is the reason.
    ///
    /// Services read each partition in order. So the records that a truncation deletes unread end with the last one that it
    /// deletes: a record without an outcome before one with an outcome was not deleted unread, even if both are deleted now.
    pub(super) fn explain(
        missing: &BTreeSet<Source>,
        truncations: &Truncations,
    ) -> (Self, Vec<Source>) {
        let places = missing
            .iter()
            .map(|source| (source.partition, source.offset));
        let (lost, other): (Vec<_>, Vec<_>) = ranges(places)
            .into_iter()
            .partition(|(partition, offsets)| truncations.has(*partition, offsets.end));
        let sources = |(partition, offsets): (i32, Range<i64>)| {
            offsets.map(move |offset| Source { partition, offset })
        };
        (Self(lost), other.into_iter().flat_map(sources).collect())
    }

    /// Returns the number of records.
    #[must_use]
    pub fn records(&self) -> u64 {
        let count = |(_, offsets): &(i32, Range<i64>)| (offsets.end - offsets.start).unsigned_abs();
        self.0.iter().map(count).sum()
    }

    /// Whether an input record is one of them.
    #[must_use]
    pub fn contains(&self, record: &StoredRecord) -> bool {
        self.0.iter().any(|(partition, offsets)| {
            *partition == record.partition && offsets.contains(&record.offset)
        })
    }

    /// Returns the partition and offset of each record.
    pub(super) fn places(&self) -> BTreeSet<(i32, i64)> {
        let places = |(partition, offsets): &(i32, Range<i64>)| {
            let partition = *partition;
            offsets.clone().map(move |offset| (partition, offset))
        };
        self.0.iter().flat_map(places).collect()
    }
}

/// Returns the ranges of consecutive offsets in ordered places.
pub(super) fn ranges(places: impl IntoIterator<Item = (i32, i64)>) -> Vec<(i32, Range<i64>)> {
    let mut ranges: Vec<(i32, Range<i64>)> = Vec::new();
    for (partition, offset) in places {
        match ranges.last_mut() {
            Some((last, offsets)) if (*last, offsets.end) == (partition, offset) => {
                offsets.end += 1;
            }
            _ => ranges.push((partition, offset..offset + 1)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(missing: &[(i32, i64)], truncations: &[(i32, i64)]) -> (u64, usize) {
        let missing = missing
            .iter()
            .map(|&(partition, offset)| Source { partition, offset })
            .collect();
        let mut known = Truncations::default();
        for &(partition, until) in truncations {
            known.add(partition, until);
        }
        let (losses, other) = Losses::explain(&missing, &known);
        (losses.records(), other.len())
    }

    #[test]
    fn missing_records_that_end_where_their_partition_was_truncated_were_deleted_unread() {
        let missing = [(0, 3), (0, 4)];
        assert_eq!(explain(&missing, &[]), (0, 2));
        assert_eq!(explain(&missing, &[(0, 5)]), (2, 0));
        assert_eq!(explain(&missing, &[(0, 2), (0, 5), (0, 9)]), (2, 0));
        assert_eq!(explain(&missing, &[(1, 5)]), (0, 2), "another partition");
        assert_eq!(
            explain(&missing, &[(0, 7)]),
            (0, 2),
            "the records after them have outcomes"
        );
        assert_eq!(
            explain(&missing, &[(0, 4)]),
            (0, 2),
            "one of them is not deleted"
        );
        assert_eq!(explain(&[(0, 3), (0, 4), (1, 0)], &[(0, 5)]), (2, 1));
        assert_eq!(
            explain(&[(0, 1), (0, 3), (0, 4)], &[(0, 2), (0, 5)]),
            (3, 0)
        );
    }

    #[test]
    fn the_start_of_a_partition_is_the_end_of_its_last_truncation() {
        let mut truncations = Truncations::default();
        assert_eq!(truncations.start(0), 0);
        truncations.add(0, 7);
        truncations.add(0, 3);
        truncations.add(0, 7);
        assert_eq!(truncations.start(0), 7);
        assert_eq!(truncations.start(1), 0);
        assert_eq!(truncations.count(), 2);
    }
}
