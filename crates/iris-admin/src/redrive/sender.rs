//! Sends dead letters and their receipts in transactions.

use iris_contract::Origin;
use iris_contract::dead_letter::REMOVED_BY_REDRIVE;
use iris_contract::redrive_receipt::{RECEIPT_HEADER, VERSION};
use iris_kafka::{Headers, OutgoingRecord, Record, TransactionalProducer};

use super::batch::Batch;

/// Sends dead letters back, a batch per transaction.
pub(super) struct Sender<'a> {
    producer: &'a mut TransactionalProducer,
    dead_letters: &'a str,
    batch: Batch,
}

impl<'a> Sender<'a> {
    /// Creates a sender that writes the receipts to the topic `dead_letters`.
    pub(super) fn new(producer: &'a mut TransactionalProducer, dead_letters: &'a str) -> Self {
        Self {
            producer,
            dead_letters,
            batch: Batch::default(),
        }
    }

    /// Sends a dead letter back to its origin. Commits the batch if it is full.
    pub(super) fn send(&mut self, letter: &Record<'_>, origin: &Origin) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            self.producer.begin()?;
        }
        self.producer.send(OutgoingRecord {
            topic: &origin.topic,
            partition: Some(origin.partition),
            timestamp: letter.timestamp(),
            key: letter.key(),
            value: letter.value(),
            headers: redriven(letter.headers(), origin),
        })?;
        if self.batch.add(letter.partition(), letter.offset()) {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits the batch with its receipts, if it has dead letters.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        for (partition, value) in self.batch.take_receipts() {
            self.producer.send(OutgoingRecord {
                topic: self.dead_letters,
                partition: Some(partition),
                timestamp: None,
                key: None,
                value: Some(&value),
                headers: Headers::default().set(RECEIPT_HEADER, VERSION),
            })?;
        }
        Ok(self.producer.commit()?)
    }
}

/// Returns the headers of a dead letter that is sent back: its own without the error, and the number of the next attempt.
fn redriven(letter: Headers, origin: &Origin) -> Headers {
    let (name, attempt) = origin.next_attempt();
    REMOVED_BY_REDRIVE
        .into_iter()
        .fold(letter, Headers::without)
        .set(name, &attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_is_sent_back_keeps_its_own_headers_and_counts_the_attempt() {
        let origin = Origin {
            topic: "input".to_owned(),
            partition: 3,
            offset: 17,
            reason: "not_json".to_owned(),
            message: String::new(),
            attempt: 1,
        };
        let letter = REMOVED_BY_REDRIVE
            .into_iter()
            .fold(Headers::default().set("trace", "7"), |headers, name| {
                headers.set(name, "x")
            });
        let pairs = redriven(letter, &origin).to_pairs();
        let expected = [("trace", "7"), ("__iris.errors.attempt", "2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(pairs, expected);
    }
}
