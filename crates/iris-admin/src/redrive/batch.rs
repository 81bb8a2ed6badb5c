//! The dead letters of one transaction.

use iris_contract::Origin;
use iris_kafka::{Headers, OutgoingRecord, PartitionOffset, Record, TopicId};

use super::receipts::Receipts;

/// The maximum number of dead letters per transaction.
const MAX_LETTERS: usize = 500;

/// A copy of a dead letter, kept until it is known whether its destination accepts it.
#[derive(Clone, Debug)]
pub(super) struct BatchedLetter {
    /// Its partition and offset in the dead-letter topic.
    pub(super) place: PartitionOffset,
    /// Its origin, which is its destination.
    pub(super) origin: Origin,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
}

impl BatchedLetter {
    /// Copies a dead letter that is sent with these headers.
    pub(super) fn new(letter: &Record<'_>, origin: &Origin, headers: Headers) -> Self {
        Self {
            place: letter.partition_offset(),
            origin: origin.clone(),
            timestamp: letter.timestamp(),
            key: letter.key().map(<[u8]>::to_vec),
            value: letter.value().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// Returns the record to send.
    pub(super) fn outgoing(&self) -> OutgoingRecord<'_> {
        OutgoingRecord {
            topic: &self.origin.topic,
            partition: Some(self.origin.partition),
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: self.headers.clone(),
        }
    }
}

/// The dead letters of the current transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    letters: Vec<BatchedLetter>,
}

impl Batch {
    /// Adds a dead letter. Returns whether the batch is full now.
    pub(super) fn add(&mut self, letter: BatchedLetter) -> bool {
        self.letters.push(letter);
        self.letters.len() >= MAX_LETTERS
    }

    /// Empties the batch. Returns its dead letters.
    pub(super) fn take(&mut self) -> Vec<BatchedLetter> {
        std::mem::take(&mut self.letters)
    }
}

/// Returns the receipts for dead letters of the topic with this id: the partition and the value of each.
pub(super) fn receipts(
    letters: &[&BatchedLetter],
    topic_id: Option<&TopicId>,
) -> Vec<(i32, Vec<u8>)> {
    let mut receipts = Receipts::of_topic(topic_id.cloned());
    for letter in letters {
        receipts.insert(letter.place.partition, letter.place.offset);
    }
    receipts.values().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a dead letter at this place.
    pub(in super::super) fn letter(partition: i32, offset: i64) -> BatchedLetter {
        BatchedLetter {
            place: PartitionOffset::new(partition, offset),
            origin: Origin {
                topic: "input".to_owned(),
                partition: 3,
                offset: 17,
                reason: "not_json".to_owned(),
                message: String::new(),
                attempt: 1,
            },
            timestamp: None,
            key: None,
            value: None,
            headers: Headers::default(),
        }
    }

    #[test]
    fn a_batch_is_full_with_its_last_letter_and_empty_after_its_letters_are_taken() {
        let mut batch = Batch::default();
        for offset in 1..500 {
            assert!(!batch.add(letter(0, offset)), "{offset}");
        }
        assert!(batch.add(letter(1, 0)));
        let letters = batch.take();
        let receipts = receipts(&letters.iter().collect::<Vec<_>>(), None);
        let partitions: Vec<i32> = receipts.iter().map(|(partition, _)| *partition).collect();
        assert_eq!(partitions, [0, 1]);
        assert_eq!(receipts[0].1, br#"{"redriven":[[1,499]]}"#);
        assert!(batch.take().is_empty());
    }
}
