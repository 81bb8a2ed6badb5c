//! Records that were deleted before they were read. They are counted when the group's position has moved behind them: until
//! then, another worker may have processed them before they were deleted.

use std::ops::Range;
use std::sync::Arc;

use tracing::{debug, warn};

use crate::change::lost::LostRecords;
use crate::offsets::Positions;

/// The deleted records behind which a worker's transactions move the group's position.
#[derive(Debug)]
pub(super) struct DeletedRecords {
    topic: String,
    /// The counts of the worker's client.
    counts: Arc<LostRecords>,
    /// The records of the open transaction.
    open: Vec<(i32, Range<i64>)>,
    /// The records of a transaction with an unknown result, each with the position that it was to commit.
    unknown: Vec<(i32, Range<i64>, i64)>,
}

impl DeletedRecords {
    /// Returns an empty list for records of this topic.
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            counts: Arc::default(),
            open: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Counts the records for a client from now on.
    pub(super) fn count_in(&mut self, counts: &Arc<LostRecords>) {
        self.counts = Arc::clone(counts);
    }

    /// Adds records to the open transaction.
    pub(super) fn add(&mut self, partition: i32, offsets: Range<i64>) {
        let (topic, last) = (&self.topic, offsets.end - 1);
        debug!(
            "partition {partition} of topic `{topic}`: the open transaction skips deleted records at offsets {} to {last}",
            offsets.start
        );
        self.open.push((partition, offsets));
    }

    /// Counts the records of the open transaction, because it is committed.
    pub(super) fn committed(&mut self) {
        for (partition, offsets) in self.open.drain(..) {
            self.counts.note(&self.topic, partition, offsets);
        }
    }

    /// Drops the records of the open transaction, because it has failed. If it may still be committed, keeps them until the
    /// group's position is known; `positions` are those that it was to commit.
    pub(super) fn failed(&mut self, may_be_committed: bool, positions: &Positions) {
        for (partition, offsets) in self.open.drain(..) {
            if may_be_committed && let Some(position) = positions.get(partition) {
                self.unknown.push((partition, offsets, position));
            }
        }
    }

    /// Counts the records of a transaction with an unknown result if the group's position shows that it was committed.
    pub(super) fn resumed(&mut self, partition: i32, position: i64) {
        let of_partition = |unknown: &mut (i32, Range<i64>, i64)| unknown.0 == partition;
        for (_, offsets, committed) in self.unknown.extract_if(.., of_partition) {
            if committed == position {
                self.counts.note(&self.topic, partition, offsets);
            } else if committed < position {
                warn_of_unknown(&self.topic, partition, &offsets);
            }
        }
    }

    /// Forgets the records of all transactions, because the topic was recreated.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.unknown.clear();
    }

    /// Forgets the records of partitions that were assigned or revoked.
    pub(super) fn forget(&mut self, partitions: &[i32]) {
        let is_forgotten = |unknown: &mut (i32, Range<i64>, i64)| partitions.contains(&unknown.0);
        for (partition, offsets, _) in self.unknown.extract_if(.., is_forgotten) {
            warn_of_unknown(&self.topic, partition, &offsets);
        }
    }
}

/// Logs records that are not counted, because it cannot be known whether the transaction that skipped them was committed. If it
/// was not, the worker that reads the partition next counts them.
fn warn_of_unknown(topic: &str, partition: i32, offsets: &Range<i64>) {
    let (start, last) = (offsets.start, offsets.end - 1);
    warn!(
        "partition {partition} of topic `{topic}`: records at offsets {start} to {last} were deleted, and are not counted here: the \
         result of the transaction that skipped them is unknown"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted() -> (DeletedRecords, Arc<LostRecords>) {
        let mut deleted = DeletedRecords::new("t");
        let counts = Arc::default();
        deleted.count_in(&counts);
        deleted.add(3, 5..8);
        (deleted, counts)
    }

    #[test]
    fn deleted_records_are_counted_when_a_position_behind_them_is_committed() {
        let (mut deleted, counts) = deleted();
        assert_eq!(counts.counts(), []);
        deleted.committed();
        assert_eq!(counts.counts(), [(3, 3)]);
        deleted.committed();
        assert_eq!(counts.counts(), [(3, 3)]);
    }

    #[test]
    fn deleted_records_of_a_failed_transaction_are_not_counted() {
        let (mut deleted, counts) = deleted();
        deleted.failed(false, &[(3, 20)].into());
        deleted.resumed(3, 20);
        deleted.committed();
        assert_eq!(counts.counts(), []);
    }

    #[test]
    fn a_transaction_with_an_unknown_result_is_counted_if_its_position_is_committed() {
        for (position, expected) in [(20, &[(3, 3)][..]), (5, &[]), (25, &[])] {
            let (mut deleted, counts) = deleted();
            deleted.failed(true, &[(3, 20)].into());
            deleted.resumed(1, 20);
            assert_eq!(counts.counts(), []);
            deleted.resumed(3, position);
            deleted.resumed(3, 20);
            assert_eq!(counts.counts(), expected, "{position}");
        }
        let (mut deleted, counts) = deleted();
        deleted.failed(true, &[(3, 20)].into());
        deleted.forget(&[3]);
        deleted.resumed(3, 20);
        assert_eq!(counts.counts(), []);
    }
}
