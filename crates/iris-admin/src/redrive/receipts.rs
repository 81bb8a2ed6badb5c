//! Which dead letters were sent back before, as the dead-letter topic itself says.
//!
//! A batch of dead letters that goes back leaves a receipt in each partition that they came from, in the same
//! transaction: a record without a key whose value lists the offsets. So whether a letter was sent back does not depend on
//! who asks, and is forgotten no earlier than the letter itself.

use std::collections::BTreeMap;

use rangemap::RangeInclusiveSet;
use serde::{Deserialize, Serialize};

/// The header that tells a receipt from a dead letter; its value is the version of the format.
pub(crate) const RECEIPT_HEADER: &str = "__iris.redrive.receipt";

/// The version of the format.
pub(crate) const RECEIPT_VERSION: &str = "00";

/// The dead letters that were sent back, by partition and offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Receipts {
    sent: BTreeMap<i32, RangeInclusiveSet<i64>>,
}

/// A receipt's value.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    /// First and last offset of each stretch.
    redriven: Vec<(i64, i64)>,
}

/// A receipt that cannot be read. Going on without it could send a dead letter twice.
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
    /// Notes a dead letter as sent back.
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

    /// Adds a receipt that was found in a partition.
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
        let unreadable = || UnreadableReceipt { partition, offset };
        if version != RECEIPT_VERSION.as_bytes() {
            return Err(unreadable());
        }
        let receipt: Receipt =
            serde_json::from_slice(value.unwrap_or_default()).map_err(|_| unreadable())?;
        let sent = self.sent.entry(partition).or_default();
        for (first, last) in receipt.redriven {
            if first > last {
                return Err(unreadable());
            }
            sent.insert(first..=last);
        }
        Ok(())
    }

    /// The receipts to be written: a partition and a value each.
    pub(crate) fn values(&self) -> impl Iterator<Item = (i32, Vec<u8>)> {
        self.sent.iter().map(|(&partition, offsets)| {
            let redriven = offsets
                .iter()
                .map(|stretch| (*stretch.start(), *stretch.end()))
                .collect();
            // Writing numbers to memory cannot fail.
            let value = serde_json::to_vec(&Receipt { redriven }).unwrap_or_default();
            (partition, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_stretches_are_joined() {
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
    fn a_receipt_that_cannot_be_read_is_refused() {
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
