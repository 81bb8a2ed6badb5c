//! Records that a client gave up because a broker did not authenticate it again.
//!
//! librdkafka reports them as not delivered. With `connections.max.reauth.ms`, a broker checks the password on open connections,
//! too: if it was changed there before its file, records that are still queued fail. They were not sent: a broker answers
//! requests in order, so it has answered all earlier ones before it refuses. They can be sent again without a duplicate.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _, OwnedMessage};
use rdkafka::producer::BaseRecord;

/// The records to send again.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    records: Mutex<Vec<OwnedMessage>>,
    is_any: AtomicBool,
}

impl Unsent {
    /// Takes a record that was not sent for want of authentication. Returns whether it was that.
    pub(super) fn take(&self, error: &KafkaError, record: &BorrowedMessage<'_>) -> bool {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Authentication) {
            return false;
        }
        self.records.lock().push(record.detach());
        self.is_any.store(true, Ordering::Release);
        true
    }

    /// Returns the number of records.
    pub(super) fn len(&self) -> usize {
        self.records.lock().len()
    }

    /// Sends the records with `send`, until it returns the error that the queue is full.
    ///
    /// # Errors
    /// The first other error of `send`, with the record's topic.
    pub(super) fn send(
        &self,
        send: impl Fn(BaseRecord<'_, [u8], [u8]>) -> Result<(), KafkaError>,
    ) -> Result<(), (String, KafkaError)> {
        // Almost always there are none, and the caller sends many records.
        if !self.is_any.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut records = self.records.lock();
        let mut sent = 0;
        let mut result = Ok(());
        for record in records.iter() {
            match send(again(record)) {
                Ok(()) => sent += 1,
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => break,
                Err(error) => {
                    result = Err((record.topic().to_owned(), error));
                    break;
                }
            }
        }
        records.drain(..sent);
        self.is_any.store(!records.is_empty(), Ordering::Release);
        result
    }
}

/// Returns the same record for the same partition.
fn again(record: &OwnedMessage) -> BaseRecord<'_, [u8], [u8]> {
    BaseRecord {
        topic: record.topic(),
        partition: Some(record.partition()),
        payload: record.payload(),
        key: record.key(),
        timestamp: record.timestamp().to_millis(),
        headers: record.headers().cloned(),
        delivery_opaque: (),
    }
}
