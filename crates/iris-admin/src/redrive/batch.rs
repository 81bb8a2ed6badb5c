//! The dead letters of one transaction.

use super::receipts::Receipts;

/// The maximum number of dead letters per transaction.
const MAX_LETTERS: usize = 500;

/// The dead letters of the current transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    receipts: Receipts,
    letters: usize,
}

impl Batch {
    /// Adds a dead letter, by its partition and offset in the dead-letter topic. Returns whether the batch is full now.
    pub(super) fn add(&mut self, partition: i32, offset: i64) -> bool {
        self.receipts.insert(partition, offset);
        self.letters += 1;
        self.letters >= MAX_LETTERS
    }

    /// Returns whether there are no dead letters.
    pub(super) fn is_empty(&self) -> bool {
        self.letters == 0
    }

    /// Empties the batch. Returns its receipts, a partition and a value each.
    pub(super) fn take_receipts(&mut self) -> Vec<(i32, Vec<u8>)> {
        std::mem::take(self).receipts.values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_with_its_last_letter_and_empty_after_its_receipts_are_taken() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        for offset in 1..500 {
            assert!(!batch.add(0, offset), "{offset}");
        }
        assert!(batch.add(1, 0));
        let receipts = batch.take_receipts();
        let partitions: Vec<i32> = receipts.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(partitions, [0, 1]);
        assert_eq!(receipts[0].1, br#"{"redriven":[[1,499]]}"#);
        assert!(batch.is_empty() && batch.take_receipts().is_empty());
    }
}
