//! Decides which records are new, and collects their rows.

use anyhow::ensure;
use iris_feedback_store::FeedbackRow;
use iris_kafka::{PartitionOffset, Positions};
use iris_service::Span;

/// Rows to store, and the positions behind them.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<FeedbackRow>,
    /// The spans of traced records.
    pub(crate) spans: Vec<Span>,
    /// For each partition with progress, the offset at which reading resumes once the batch is stored.
    pub(crate) next: Positions,
    /// Whether every record that was returned is in the batch or was skipped, and none was available then.
    pub(crate) is_drained: bool,
}

/// Whether a record has to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// The store has read beyond its offset.
    Stored,
    /// It is in the batch.
    InBatch,
    /// It is not stored yet.
    New,
}

impl Batch {
    /// Returns whether a record has to be stored, if the store has read up to `stored`.
    pub(crate) fn novelty(&self, stored: &Positions, record: PartitionOffset) -> Novelty {
        if !stored.is_next(record) {
            Novelty::Stored
        } else if !self.next.is_next(record) {
            Novelty::InBatch
        } else {
            Novelty::New
        }
    }

    /// Returns the offset of the next record of a partition, if the store has read up to `stored`.
    pub(crate) fn position(&self, stored: &Positions, partition: i32) -> Option<i64> {
        self.next.get(partition).or_else(|| stored.get(partition))
    }

    /// Adds the row of a record.
    pub(crate) fn add(&mut self, record: PartitionOffset, row: FeedbackRow, span: Option<Span>) {
        self.rows.push(row);
        self.spans.extend(span);
        self.next.advance(record);
    }

    /// Moves the positions behind transaction markers and aborted records that were read after the last record, if the store
    /// has read up to `stored`.
    pub(crate) fn pass(&mut self, stored: &Positions, reached: &Positions) {
        for (partition, position) in reached.iter() {
            if self.position(stored, partition).unwrap_or(0) < position {
                self.next.set(partition, position);
            }
        }
    }
}

/// Returns the offsets at which reading of assigned partitions starts. A partition without a stored offset is read from its
/// beginning, whatever the consumer group has committed.
pub(crate) fn starts(partitions: &[i32], stored: &Positions) -> Vec<PartitionOffset> {
    let start = |&partition| PartitionOffset::new(partition, stored.get(partition).unwrap_or(0));
    partitions.iter().map(start).collect()
}

/// Checks that a redelivered record is the one that is stored at its offset.
///
/// # Errors
/// If it is not: the topic has been deleted and created again since the store was filled.
pub(crate) fn check_same_topic(
    stored: Option<&FeedbackRow>,
    redelivered: &FeedbackRow,
) -> anyhow::Result<()> {
    ensure!(
        stored == Some(redelivered),
        "the store has read partition {} of topic `{}` beyond offset {}, but the topic has another record there: it was \
         deleted and created again; name another store with --store",
        redelivered.source_partition,
        redelivered.source_topic,
        redelivered.source_offset
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64) -> PartitionOffset {
        PartitionOffset::new(partition, offset)
    }

    fn row(partition: i32, offset: i64) -> FeedbackRow {
        FeedbackRow {
            source_topic: "feedback".to_owned(),
            source_partition: partition.into(),
            source_offset: offset,
            ..FeedbackRow::default()
        }
    }

    #[test]
    fn each_assigned_partition_starts_at_its_stored_offset_or_at_its_beginning() {
        let stored = [(0, 7), (2, 9)].into();
        assert_eq!(starts(&[2, 1], &stored), [at(2, 9), at(1, 0)]);
        assert_eq!(starts(&[], &stored), []);
    }

    #[test]
    fn a_record_is_new_if_neither_the_store_nor_the_batch_has_read_beyond_it() {
        let mut batch = Batch::default();
        let stored = [(0, 5)].into();
        batch.add(at(0, 7), row(0, 7), None);
        for (record, expected) in [
            (at(0, 4), Novelty::Stored),
            (at(0, 5), Novelty::InBatch),
            (at(0, 7), Novelty::InBatch),
            (at(0, 8), Novelty::New),
            (at(1, 0), Novelty::New),
        ] {
            assert_eq!(batch.novelty(&stored, record), expected, "{record:?}");
        }
        batch.add(at(1, 0), row(1, 0), None);
        assert_eq!(batch.next, [(0, 8), (1, 1)].into());
        let positions = [0, 1, 2].map(|partition| batch.position(&[(2, 4)].into(), partition));
        assert_eq!(positions, [Some(8), Some(1), Some(4)]);
        assert_eq!(batch.rows, [row(0, 7), row(1, 0)]);
    }

    #[test]
    fn positions_move_behind_markers_and_never_back() {
        let stored = [(0, 5), (1, 5), (2, 5)].into();
        let mut batch = Batch::default();
        batch.add(at(0, 7), row(0, 7), None);
        batch.pass(&stored, &[(0, 9), (1, 5), (2, 4), (3, 2), (4, 0)].into());
        assert_eq!(batch.next, [(0, 9), (3, 2)].into());
        assert_eq!(batch.rows, [row(0, 7)]);
    }

    #[test]
    fn another_row_or_none_at_a_stored_offset_means_another_topic() {
        let (stored, mut other) = (row(3, 7), row(3, 7));
        other.value = "something else".to_owned();
        assert!(check_same_topic(Some(&stored), &stored).is_ok());
        for found in [None, Some(&other)] {
            let refused = check_same_topic(found, &stored).unwrap_err().to_string();
            assert!(
                refused.starts_with(
                    "the store has read partition 3 of topic `feedback` beyond offset 7"
                ),
                "{refused}"
            );
        }
    }
}
