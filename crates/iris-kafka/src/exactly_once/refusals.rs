//! The outcomes that topics refuse, by the input record that they belong to.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;
use tracing::debug;

use crate::client::health::Events;
use crate::exactly_once::refused::{Cause, Refused};
use crate::offsets::PartitionOffset;

/// The bits of a word that an offset takes: enough for four years of one partition at a million records/s.
const OFFSET_BITS: u32 = 47;

/// The bits of a word that a partition takes.
const PARTITION_BITS: u32 = 16;

/// The input record that a record in a transaction belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It is an outcome of this input record.
    Record(PartitionOffset),
    /// It belongs to the whole transaction. This is one of the transaction's input records.
    Transaction(PartitionOffset),
}

impl Owner {
    /// Packs the owner into the word that accompanies a record to its delivery report.
    pub(crate) fn pack(self) -> usize {
        let (record, is_shared) = match self {
            Self::Record(record) => (record, 0),
            Self::Transaction(record) => (record, 1),
        };
        let offset = record.offset.unsigned_abs() & ((1 << OFFSET_BITS) - 1);
        let partition = u64::from(record.partition.unsigned_abs()) & ((1 << PARTITION_BITS) - 1);
        let word = is_shared << (OFFSET_BITS + PARTITION_BITS) | partition << OFFSET_BITS | offset;
        usize::try_from(word).unwrap_or(usize::MAX)
    }

    fn unpack(word: usize) -> Self {
        let word = word as u64;
        let partition = word >> OFFSET_BITS & ((1 << PARTITION_BITS) - 1);
        let offset = word & ((1 << OFFSET_BITS) - 1);
        let record = PartitionOffset {
            partition: i32::try_from(partition).unwrap_or(i32::MAX),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
        };
        if word >> (OFFSET_BITS + PARTITION_BITS) == 0 {
            Self::Record(record)
        } else {
            Self::Transaction(record)
        }
    }
}

/// The refusals of one transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// The input records with an outcome that a topic refused.
    pub(crate) records: BTreeMap<PartitionOffset, Refused>,
    /// The input records to retry alone, because a topic refused a record that belongs to the transaction.
    pub(crate) transactions: BTreeMap<PartitionOffset, Refused>,
}

impl Refusals {
    fn insert(&mut self, owner: Owner, refused: Refused) {
        let (refusals, input) = match owner {
            Owner::Record(input) => (&mut self.records, input),
            Owner::Transaction(input) => (&mut self.transactions, input),
        };
        let is_better = refusals
            .get(&input)
            .is_none_or(|known| known.cause == Cause::Unexplained);
        if is_better {
            refusals.insert(input, refused);
        }
    }
}

/// Collects the refusals of a producer's open transaction.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    refusals: Mutex<Refusals>,
    /// The first record that was not delivered: its topic and the error.
    failure: Mutex<Option<(String, KafkaError)>>,
}

impl RefusalLog {
    /// Returns the refusals since the last call.
    pub(crate) fn take(&self) -> Refusals {
        std::mem::take(&mut *self.refusals.lock())
    }

    /// Forgets everything about the previous transaction.
    pub(crate) fn clear(&self) {
        self.take();
        *self.failure.lock() = None;
    }

    /// Notes a record that was not delivered, unless another record of its batch was the cause.
    fn note_failure(&self, topic: &str, error: &KafkaError) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::InvalidDifferentRecord) {
            let mut failure = self.failure.lock();
            failure.get_or_insert_with(|| (topic.to_owned(), error.clone()));
        }
    }

    /// Returns the topic and the error of the first record that was not delivered.
    pub(crate) fn failure(&self) -> Option<(String, KafkaError)> {
        self.failure.lock().clone()
    }

    /// Notes the error of a record, if it is a verdict on that record.
    pub(crate) fn note(&self, owner: Owner, topic: &str, error: &KafkaError) {
        let code = error.rdkafka_error_code();
        let refused = code.and_then(|code| Refused::of(topic, code));
        if let Some(refused) = refused {
            self.refusals.lock().insert(owner, refused);
        }
    }
}

impl ProducerContext for Events<RefusalLog> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, owner: usize) {
        // A record that is not delivered fails its transaction; the commit reports it.
        if let Err((error, message)) = result {
            debug!("not delivered: {error}");
            let owner = Owner::unpack(owner);
            self.listener.note(owner, message.topic(), error);
            self.listener.note_failure(message.topic(), error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_record_fits_in_a_word() {
        for (partition, offset) in [
            (0, 0),
            (4, 17),
            (65_535, (1 << OFFSET_BITS) - 1),
            (65_535, 0),
        ] {
            let record = PartitionOffset::new(partition, offset);
            for owner in [Owner::Record(record), Owner::Transaction(record)] {
                assert_eq!(Owner::unpack(owner.pack()), owner);
            }
        }
    }

    #[test]
    fn of_two_refusals_of_one_record_the_explained_one_is_kept() {
        let record = PartitionOffset::new(1, 2);
        let refused = |cause| Refused {
            topic: "t".to_owned(),
            cause,
            error: String::new(),
        };
        let mut refusals = Refusals::default();
        for cause in [
            Cause::Unexplained,
            Cause::Size,
            Cause::Unexplained,
            Cause::Content,
        ] {
            refusals.insert(Owner::Record(record), refused(cause));
        }
        assert_eq!(refusals.records, [(record, refused(Cause::Size))].into());
        assert!(refusals.transactions.is_empty());
    }
}
