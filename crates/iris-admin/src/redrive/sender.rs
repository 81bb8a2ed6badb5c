//! Sends dead letters and their receipts in transactions.

use iris_contract::Origin;
use iris_contract::dead_letter::REMOVED_BY_REDRIVE;
use iris_contract::redrive_receipt::{RECEIPT_HEADER, VERSION};
use iris_kafka::{Fault, Headers, OutgoingRecord, Record, TransactionalProducer};
use tracing::warn;

use super::batch::{Batch, BatchedLetter, receipts};
use super::isolation::{self, RefusedLetter, TransactionEnd};
use super::source::Source;

/// Sends dead letters back, a batch per transaction.
pub(super) struct Sender<'a> {
    producer: &'a mut TransactionalProducer,
    source: &'a Source,
    batch: Batch,
    refused: Vec<RefusedLetter>,
}

impl<'a> Sender<'a> {
    /// Creates a sender that writes the receipts to the topic that the dead letters come from.
    pub(super) fn new(producer: &'a mut TransactionalProducer, source: &'a Source) -> Self {
        Self {
            producer,
            source,
            batch: Batch::default(),
            refused: Vec::new(),
        }
    }

    /// Sends a dead letter back to its origin. Commits the batch if it is full.
    pub(super) fn send(&mut self, letter: &Record<'_>, origin: &Origin) -> anyhow::Result<()> {
        let headers = redriven(letter.headers(), origin);
        if self.batch.add(BatchedLetter::new(letter, origin, headers)) {
            self.commit()?;
        }
        Ok(())
    }

    /// Sends the batch with its receipts, if it has dead letters. A dead letter that its destination refuses is logged and
    /// gets no receipt, so the next run tries it again.
    ///
    /// # Errors
    /// If the cluster refuses, or the dead-letter topic was recreated since the run started.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        let letters = self.batch.take();
        if letters.is_empty() {
            return Ok(());
        }
        self.source.check()?;
        let (producer, source) = (&mut *self.producer, self.source);
        let refused =
            isolation::send(&letters, &mut |letters| transact(producer, source, letters))?;
        for RefusedLetter { place, refused, .. } in &refused {
            warn!(
                "partition {}, offset {} is refused by its destination `{}`: {}: skipped",
                place.partition, place.offset, refused.topic, refused.error
            );
        }
        self.refused.extend(refused);
        Ok(())
    }

    /// Returns the dead letters that their destination refused.
    pub(super) fn into_refused(self) -> Vec<RefusedLetter> {
        self.refused
    }
}

/// Sends dead letters and their receipts in one transaction, and aborts it if it fails.
fn transact(
    producer: &mut TransactionalProducer,
    source: &Source,
    letters: &[&BatchedLetter],
) -> TransactionEnd {
    let Err(fault) = try_to_transact(producer, source, letters) else {
        return TransactionEnd::Committed;
    };
    producer.abort(&fault);
    TransactionEnd::Aborted {
        fault,
        refused: producer.take_refused(),
    }
}

fn try_to_transact(
    producer: &mut TransactionalProducer,
    source: &Source,
    letters: &[&BatchedLetter],
) -> Result<(), Fault> {
    producer.begin()?;
    for letter in letters {
        producer.send_outcome(letter.outgoing(), letter.place)?;
    }
    for (partition, value) in receipts(letters, source.topic_id()) {
        producer.send(OutgoingRecord {
            topic: source.topic(),
            partition: Some(partition),
            timestamp: None,
            key: None,
            value: Some(&value),
            headers: Headers::default().set(RECEIPT_HEADER, VERSION),
        })?;
    }
    producer.commit()
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
