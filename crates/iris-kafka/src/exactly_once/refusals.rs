//! Outcomes that a broker refuses as too large, by the input record that they belong to.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tracing::debug;

use crate::client::health::Events;
use crate::offsets::PartitionOffset;

/// The bits of a word that an offset takes: enough for nine years of one partition at a million records/s.
const OFFSET_BITS: u32 = 48;

/// Packs an input record's place into the word that accompanies an outcome to its delivery report.
pub(crate) fn pack(record: PartitionOffset) -> usize {
    let word = i64::from(record.partition) << OFFSET_BITS | record.offset;
    usize::try_from(word).unwrap_or(usize::MAX)
}

fn unpack(word: usize) -> PartitionOffset {
    let word = word as u64;
    let offset = word & ((1 << OFFSET_BITS) - 1);
    PartitionOffset {
        partition: i32::try_from(word >> OFFSET_BITS).unwrap_or(i32::MAX),
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
    }
}

/// The input records whose outcomes were refused as too large.
#[derive(Debug, Default)]
pub(crate) struct TooLarge(Mutex<BTreeSet<PartitionOffset>>);

impl TooLarge {
    /// Returns the records since the last call.
    pub(crate) fn take(&self) -> BTreeSet<PartitionOffset> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl ProducerContext for Events<TooLarge> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, record: usize) {
        // A record that is not delivered fails its transaction; the commit reports it.
        if let Err((error, _)) = result {
            debug!("not delivered: {error}");
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                self.listener.0.lock().insert(unpack(record));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_input_record_fits_in_a_word() {
        for (partition, offset) in [(0, 0), (4, 17), (65_535, (1 << OFFSET_BITS) - 1)] {
            let record = PartitionOffset::new(partition, offset);
            assert_eq!(unpack(pack(record)), record);
        }
    }
}
