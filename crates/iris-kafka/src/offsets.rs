//! Places in a topic: one record's partition and offset, and how far each partition has been read.

use std::collections::{BTreeMap, btree_map};

use serde::{Deserialize, Serialize};

/// Returns the offset at which reading continues after the record at `offset`.
#[must_use]
pub const fn next_offset(offset: i64) -> i64 {
    offset + 1
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// Returns the partition of a topic.
    #[must_use]
    pub fn new(topic: &str, partition: i32) -> Self {
        Self {
            topic: topic.to_owned(),
            partition,
        }
    }
}

/// An offset in a partition of a topic that is known from the context. Serialised as the pair of both numbers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "(i32, i64)", into = "(i32, i64)")]
pub struct PartitionOffset {
    /// The partition's number.
    pub partition: i32,
    /// The record's offset in it.
    pub offset: i64,
}

impl PartitionOffset {
    /// Returns an offset in a partition.
    #[must_use]
    pub const fn new(partition: i32, offset: i64) -> Self {
        Self { partition, offset }
    }

    /// Returns the offset at which reading continues after this record.
    #[must_use]
    pub const fn next_offset(self) -> i64 {
        next_offset(self.offset)
    }
}

impl From<(i32, i64)> for PartitionOffset {
    fn from((partition, offset): (i32, i64)) -> Self {
        Self { partition, offset }
    }
}

impl From<PartitionOffset> for (i32, i64) {
    fn from(place: PartitionOffset) -> Self {
        (place.partition, place.offset)
    }
}

/// A record compared with the position in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the next one.
    Next,
    /// It comes after offsets that were not read, from this one on.
    Gap(i64),
    /// It was read before.
    Redelivered,
}

/// How far the partitions of a topic have been read: for each one the offset at which reading continues.
///
/// Serialised as a map from partition to offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(BTreeMap<i32, i64>);

impl Positions {
    /// Returns positions that know no partition.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Returns the offset at which reading of a partition continues, if it is known.
    #[must_use]
    pub fn get(&self, partition: i32) -> Option<i64> {
        self.0.get(&partition).copied()
    }

    /// Whether a partition's position is known.
    #[must_use]
    pub fn contains(&self, partition: i32) -> bool {
        self.0.contains_key(&partition)
    }

    /// Sets the offset at which reading of a partition continues.
    pub fn set(&mut self, partition: i32, next_offset: i64) {
        self.0.insert(partition, next_offset);
    }

    /// Whether a record has not been read yet. A partition without a position has not been read at all.
    #[must_use]
    pub fn is_next(&self, record: PartitionOffset) -> bool {
        self.get(record.partition)
            .is_none_or(|position| record.offset >= position)
    }

    /// Moves a partition's position behind a record.
    pub fn advance(&mut self, record: PartitionOffset) {
        self.set(record.partition, record.next_offset());
    }

    /// Moves a partition's position behind a record that has not been read yet. Returns whether it had not: a record
    /// before the position changes nothing.
    pub fn advance_if_next(&mut self, record: PartitionOffset) -> bool {
        let position = self.0.entry(record.partition).or_default();
        let is_next = record.offset >= *position;
        if is_next {
            *position = record.next_offset();
        }
        is_next
    }

    /// Moves a partition's position behind a record as [`advance_if_next`](Self::advance_if_next) does. Returns how the
    /// record compares with the position before.
    pub(crate) fn step(&mut self, record: PartitionOffset) -> Step {
        let position = self.0.entry(record.partition).or_default();
        let before = *position;
        if record.offset < before {
            return Step::Redelivered;
        }
        *position = record.next_offset();
        if record.offset == before {
            Step::Next
        } else {
            Step::Gap(before)
        }
    }

    /// Removes a partition. Returns its position, if it had one.
    pub fn remove(&mut self, partition: i32) -> Option<i64> {
        self.0.remove(&partition)
    }

    /// Removes some partitions.
    pub fn forget(&mut self, partitions: &[i32]) {
        self.0
            .retain(|partition, _| !partitions.contains(partition));
    }

    /// Removes all partitions.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Moves all positions of `newer` into these, over the ones that are there; `newer` is empty afterwards.
    pub fn append(&mut self, newer: &mut Self) {
        self.0.append(&mut newer.0);
    }

    /// Iterates over partitions and positions, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (i32, i64)> + '_ {
        self.0
            .iter()
            .map(|(&partition, &offset)| (partition, offset))
    }

    /// Iterates over the partitions.
    pub fn partitions(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.keys().copied()
    }

    /// Iterates over the positions.
    pub fn values(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.values().copied()
    }

    /// The number of partitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const N: usize> From<[(i32, i64); N]> for Positions {
    fn from(positions: [(i32, i64); N]) -> Self {
        Self(positions.into())
    }
}

impl FromIterator<(i32, i64)> for Positions {
    fn from_iter<T: IntoIterator<Item = (i32, i64)>>(positions: T) -> Self {
        Self(positions.into_iter().collect())
    }
}

impl Extend<(i32, i64)> for Positions {
    fn extend<T: IntoIterator<Item = (i32, i64)>>(&mut self, positions: T) {
        self.0.extend(positions);
    }
}

impl From<Positions> for BTreeMap<i32, i64> {
    fn from(positions: Positions) -> Self {
        positions.0
    }
}

impl IntoIterator for Positions {
    type Item = (i32, i64);
    type IntoIter = btree_map::IntoIter<i32, i64>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset::new(partition, offset)
    }

    #[test]
    fn reading_continues_after_the_last_record() {
        assert_eq!(next_offset(6), 7);
        assert_eq!(at(3, 6).next_offset(), 7);
        let mut positions = Positions::new();
        positions.advance(at(3, 6));
        assert_eq!(positions, [(3, 7)].into());
        positions.advance(at(3, 2));
        assert_eq!(positions.get(3), Some(3), "it may go back");
    }

    #[test]
    fn only_records_at_or_after_the_position_are_next() {
        let mut positions = Positions::from([(0, 5)]);
        for (record, is_next) in [
            (at(0, 4), false),
            (at(0, 5), true),
            (at(0, 9), true),
            (at(1, 0), true),
        ] {
            assert_eq!(positions.is_next(record), is_next, "{record:?}");
        }
        assert!(!positions.advance_if_next(at(0, 4)));
        assert_eq!(positions.get(0), Some(5));
        assert!(positions.advance_if_next(at(0, 9)));
        assert!(!positions.advance_if_next(at(0, 9)));
        assert!(positions.advance_if_next(at(1, 0)));
        assert_eq!(positions, [(0, 10), (1, 1)].into());
    }

    #[test]
    fn a_record_is_the_next_one_or_comes_after_a_gap_or_again() {
        let mut positions = Positions::from([(0, 5)]);
        for (record, expected) in [
            (at(0, 4), Step::Redelivered),
            (at(0, 5), Step::Next),
            (at(0, 9), Step::Gap(6)),
            (at(0, 9), Step::Redelivered),
            (at(1, 0), Step::Next),
        ] {
            assert_eq!(positions.step(record), expected, "{record:?}");
        }
        assert_eq!(positions, [(0, 10), (1, 1)].into());
    }

    #[test]
    fn partitions_are_forgotten_and_newer_positions_replace_older_ones() {
        let mut positions = Positions::from([(0, 5), (1, 6), (2, 7)]);
        positions.forget(&[0, 9]);
        let mut newer = Positions::from([(2, 3), (4, 1)]);
        positions.append(&mut newer);
        assert!(newer.is_empty());
        assert_eq!(positions, [(1, 6), (2, 3), (4, 1)].into());
        assert_eq!(positions.partitions().collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(positions.values().collect::<Vec<_>>(), [6, 3, 1]);
        assert_eq!(positions.len(), 3);
        assert_eq!(positions.remove(1), Some(6));
        assert!(!positions.contains(1));
    }

    #[test]
    fn an_offset_is_serialised_as_a_pair_and_positions_as_a_map() {
        assert_eq!(serde_json::to_string(&at(3, 17)).unwrap(), "[3,17]");
        assert_eq!(
            serde_json::from_str::<PartitionOffset>("[3,17]").unwrap(),
            at(3, 17)
        );
        let positions = Positions::from([(0, 5), (12, 6)]);
        let json = serde_json::to_string(&positions).unwrap();
        assert_eq!(json, r#"{"0":5,"12":6}"#);
        assert_eq!(serde_json::from_str::<Positions>(&json).unwrap(), positions);
    }
}
