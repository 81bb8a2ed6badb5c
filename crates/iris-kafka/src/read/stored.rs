//! A record that is kept after it was read.

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::record::Record;
use crate::sys::headers;

/// A copy of a record, with its partition and offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was created or appended, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl StoredRecord {
    /// Returns the value of the last header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .rfind(|(found, _)| found == name)
            .map(|(_, value)| value.as_slice())
    }
}

impl From<&Record<'_>> for StoredRecord {
    fn from(record: &Record<'_>) -> Self {
        Self {
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.all_headers(),
        }
    }
}

impl From<&BorrowedMessage<'_>> for StoredRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: message.headers().map(headers::all).unwrap_or_default(),
        }
    }
}
