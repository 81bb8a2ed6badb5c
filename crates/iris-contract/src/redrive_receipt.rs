//! A redrive receipt: the note in a dead-letter partition that some of its dead letters were sent back.
//!
//! It is a record without a key in the same partition, written in the transaction that sends them back. So the topic itself
//! says which dead letters were sent back, and the note is retained at least as long as they are.

use serde::{Deserialize, Serialize};

/// The header that marks a receipt. Its value is [`VERSION`].
pub const RECEIPT_HEADER: &str = "__iris.redrive.receipt";

/// The version of the format.
pub const VERSION: &str = "00";

/// The dead letters of one partition that were sent back together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveReceipt {
    /// The first and the last offset of each range.
    pub redriven: Vec<(i64, i64)>,
    /// The id of the topic that the offsets belong to; none if the brokers have no ids, or in a receipt of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

impl RedriveReceipt {
    /// Reads a receipt's header and value; `None` if it is of another version, or unreadable.
    #[must_use]
    pub fn read(version: &[u8], value: Option<&[u8]>) -> Option<Self> {
        if version != VERSION.as_bytes() {
            return None;
        }
        let receipt: Self = serde_json::from_slice(value?).ok()?;
        let is_ordered = receipt.redriven.iter().all(|(first, last)| first <= last);
        is_ordered.then_some(receipt)
    }

    /// Returns the record's value.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        // Writing numbers to memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ordered_receipt_of_this_version_is_read() {
        let receipt = RedriveReceipt {
            redriven: vec![(3, 5), (9, 9)],
            topic_id: Some("a".to_owned()),
        };
        let value = receipt.value();
        assert_eq!(RedriveReceipt::read(b"00", Some(&value)), Some(receipt));
        for (version, value) in [
            ("01", Some(r#"{"redriven":[]}"#)),
            ("00", Some(r#"{"redriven":[[5,3]]}"#)),
            ("00", Some("garbage")),
            ("00", None),
        ] {
            let read = RedriveReceipt::read(version.as_bytes(), value.map(str::as_bytes));
            assert_eq!(read, None, "{version} {value:?}");
        }
    }
}
