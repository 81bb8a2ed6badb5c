//! The dead letters that were sent back before, according to the receipts in the dead-letter topic itself.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use iris_contract::RedriveReceipt;
use iris_kafka::{TopicId, is_recreated};
use rangemap::RangeInclusiveSet;

/// The dead letters that were sent back, by partition and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts {
    sent: BTreeMap<i32, RangeInclusiveSet<i64>>,
    /// The id of the topic whose offsets these are.
    topic_id: Option<TopicId>,
}

/// A receipt that cannot be read. Without it a dead letter could be sent back twice.
#[derive(Debug, thiserror::Error)]
#[error(
    "the receipt at offset {offset} of partition {partition} of the dead-letter topic cannot be read; it was not written by \
     this version of iris-admin"
)]
pub(crate) struct UnreadableReceipt {
    partition: i32,
    offset: i64,
}

impl Receipts {
    /// Returns no receipts, for the topic with this id; `None` if the brokers have no ids.
    pub(crate) fn of_topic(topic_id: Option<TopicId>) -> Self {
        Self {
            sent: BTreeMap::new(),
            topic_id,
        }
    }

    /// Records that a dead letter was sent back.
    pub(crate) fn insert(&mut self, partition: i32, offset: i64) {
        self.sent
            .entry(partition)
            .or_default()
            .insert(offset..=offset);
    }

    /// Whether a dead letter was sent back.
    pub(crate) fn contains(&self, partition: i32, offset: i64) -> bool {
        self.sent
            .get(&partition)
            .is_some_and(|offsets| offsets.contains(&offset))
    }

    /// Adds a receipt that was read at an offset of a partition. One whose offsets belong to a previous topic of this name is
    /// ignored.
    ///
    /// # Errors
    /// [`UnreadableReceipt`] if its value is not of this format.
    pub(crate) fn read(
        &mut self,
        partition: i32,
        offset: i64,
        version: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), UnreadableReceipt> {
        let receipt =
            RedriveReceipt::read(version, value).ok_or(UnreadableReceipt { partition, offset })?;
        let receipt_for = receipt.topic_id.as_deref().and_then(TopicId::new);
        if is_recreated(receipt_for.as_ref(), self.topic_id.as_ref()) {
            return Ok(());
        }
        let sent = self.sent.entry(partition).or_default();
        sent.extend(
            receipt
                .redriven
                .into_iter()
                .map(|(first, last)| first..=last),
        );
        Ok(())
    }

    /// Returns the receipts to write: the partition and the value of each.
    pub(crate) fn values(&self) -> impl Iterator<Item = (i32, Vec<u8>)> {
        self.sent.iter().map(|(&partition, offsets)| {
            let range = |range: &RangeInclusive<i64>| (*range.start(), *range.end());
            let receipt = RedriveReceipt {
                redriven: offsets.iter().map(range).collect(),
                topic_id: self.topic_id.as_ref().map(ToString::to_string),
            };
            (partition, receipt.value())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_receipts_can_be_read_and_adjacent_offsets_are_joined() {
        let mut receipts = Receipts::default();
        for offset in [5, 3, 4, 9] {
            receipts.insert(1, offset);
        }
        let values: Vec<(i32, Vec<u8>)> = receipts.values().collect();
        assert_eq!(values, [(1, br#"{"redriven":[[3,5],[9,9]]}"#.to_vec())]);
        let mut read = Receipts::default();
        read.read(1, 10, b"00", Some(&values[0].1)).unwrap();
        assert_eq!(read, receipts);
        assert!(read.contains(1, 4) && !read.contains(1, 6) && !read.contains(0, 4));
    }

    #[test]
    fn a_receipt_of_a_previous_topic_is_ignored() {
        for (written, read, expected) in [
            ("", "", true),
            ("", "a", true),
            ("a", "", true),
            ("a", "a", true),
            ("a", "b", false),
        ] {
            let mut receipts = Receipts::of_topic(TopicId::new(written));
            receipts.insert(1, 7);
            let (_, value) = receipts.values().next().unwrap();
            let mut now = Receipts::of_topic(TopicId::new(read));
            now.read(1, 10, b"00", Some(&value)).unwrap();
            assert_eq!(now.contains(1, 7), expected, "{written} {read}");
        }
    }

    #[test]
    fn an_unreadable_receipt_is_refused() {
        let mut receipts = Receipts::default();
        for (version, value) in [
            ("01", Some(r#"{"redriven":[]}"#)),
            ("00", Some(r#"{"redriven":[[5,3]]}"#)),
            ("00", Some("garbage")),
            ("00", None),
        ] {
            let refused = receipts.read(2, 7, version.as_bytes(), value.map(str::as_bytes));
            let text = refused.unwrap_err().to_string();
            assert!(text.starts_with("the receipt at offset 7 of partition 2"));
        }
    }
}
