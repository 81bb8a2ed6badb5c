//! Finds input records and predictions in their topics.

use std::ops::ControlFlow;

use anyhow::Context;
use iris_contract::{PROVENANCE_HEADER, Provenance};
use iris_kafka::{PartitionOffset, Positions, StoredRecord, TopicReader, end_offsets, offsets_at};
use tokio_util::sync::CancellationToken;

use crate::settings::Settings;

/// Finds records in the pipeline's topics, until it is stopped.
pub(super) struct Lookup<'a> {
    pub(super) settings: &'a Settings,
    pub(super) stop: &'a CancellationToken,
}

/// A prediction in its topic.
#[derive(Debug)]
pub(super) struct FoundPrediction {
    pub(super) topic: String,
    pub(super) record: StoredRecord,
    pub(super) provenance: Provenance,
}

impl Lookup<'_> {
    /// Returns an input record.
    ///
    /// # Errors
    /// If the partition has no record at this offset, or the topic cannot be read.
    pub(super) fn input(&self, at: PartitionOffset) -> anyhow::Result<StoredRecord> {
        let topic = &self.settings.topics.input;
        let PartitionOffset { partition, offset } = at;
        self.first(topic, at, |_| true)?
            .filter(|record| record.offset == offset)
            .with_context(|| {
                format!("partition {partition} of topic `{topic}` has no record at offset {offset}")
            })
    }

    /// Returns the prediction of an input record, from the predictions or from the feedback.
    ///
    /// # Errors
    /// If a topic cannot be read.
    pub(super) fn prediction_of(
        &self,
        input: &StoredRecord,
    ) -> anyhow::Result<Option<FoundPrediction>> {
        let topics = &self.settings.topics;
        for topic in [&topics.predictions, &topics.feedback] {
            let found = self.prediction_in(topic, input)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn prediction_in(
        &self,
        topic: &str,
        input: &StoredRecord,
    ) -> anyhow::Result<Option<FoundPrediction>> {
        let partition = input.partition;
        let since = input.timestamp.unwrap_or_default();
        let starts = offsets_at(&self.settings.kafka, topic, since)?;
        let Some(offset) = starts.get(partition) else {
            return Ok(None);
        };
        let start = PartitionOffset { partition, offset };
        let record = self.first(topic, start, |record| is_of_or_after(record, input))?;
        Ok(record.and_then(|record| {
            Some(FoundPrediction {
                topic: topic.to_owned(),
                provenance: provenance_of(&record, input)?,
                record,
            })
        }))
    }

    /// Returns the first record of a partition, from an offset on, that is wanted.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub(super) fn first(
        &self,
        topic: &str,
        start: PartitionOffset,
        is_wanted: impl Fn(&StoredRecord) -> bool,
    ) -> anyhow::Result<Option<StoredRecord>> {
        let kafka = &self.settings.kafka;
        let PartitionOffset { partition, offset } = start;
        // Reading at or after the end would restart at the beginning.
        let end = end_offsets(kafka, topic)?.get(partition);
        if end.is_none_or(|end| offset >= end) {
            return Ok(None);
        }
        let start = Positions::from([(partition, offset)]);
        let mut reader = TopicReader::open_at(kafka, topic, &start)?;
        reader.read_to_end(self.stop, &mut |_| (), |record| {
            let record = StoredRecord::from(&record);
            Ok(if is_wanted(&record) {
                ControlFlow::Break(record)
            } else {
                ControlFlow::Continue(())
            })
        })
    }
}

/// Returns whether a prediction is of this input record or of a later one. A partition's predictions are in input order.
fn is_of_or_after(prediction: &StoredRecord, input: &StoredRecord) -> bool {
    provenance(prediction).is_some_and(|provenance| provenance.offset >= input.offset)
}

/// Returns the provenance of a prediction, if it names this input record.
pub(super) fn provenance_of(prediction: &StoredRecord, input: &StoredRecord) -> Option<Provenance> {
    provenance(prediction).filter(|provenance| {
        (provenance.partition, provenance.offset) == (input.partition, input.offset)
    })
}

/// Returns the provenance of a record, if it has one.
pub(super) fn provenance(record: &StoredRecord) -> Option<Provenance> {
    Provenance::read(record.header(PROVENANCE_HEADER)?)
}

#[cfg(test)]
pub(super) mod tests {
    use iris_contract::ProvenanceWriter;
    use iris_core::{Lineage, Model};

    use super::super::super::samples::artefact;
    use super::*;

    /// Returns a record of this value.
    pub(in super::super) fn record(partition: i32, offset: i64, value: &str) -> StoredRecord {
        StoredRecord {
            partition,
            offset,
            timestamp: Some(1_000),
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: Vec::new(),
        }
    }

    /// Returns a model's prediction of the record at this partition and offset; the prediction's own offset is 70.
    pub(in super::super) fn prediction(
        model: &Model,
        partition: i32,
        offset: i64,
        value: &str,
    ) -> StoredRecord {
        let mut header = String::new();
        let writer = ProvenanceWriter::new(model.version(), model.kind().tally());
        writer.write(partition, offset, &[0, 1], &mut header);
        StoredRecord {
            headers: vec![(PROVENANCE_HEADER.to_owned(), header.into_bytes())],
            ..record(partition, 70, value)
        }
    }

    #[test]
    fn a_prediction_is_found_by_the_partition_and_offset_in_its_provenance() {
        let model = artefact(10.0, Lineage::default()).model;
        let input = record(2, 14, "{}");
        for (partition, offset, is_of_or_after_it, is_of_it) in [
            (2, 13, false, false),
            (2, 14, true, true),
            (2, 15, true, false),
            (3, 14, true, false),
        ] {
            let prediction = prediction(&model, partition, offset, "{}");
            let found = provenance_of(&prediction, &input).is_some();
            assert_eq!(
                is_of_or_after(&prediction, &input),
                is_of_or_after_it,
                "{offset}"
            );
            assert_eq!(found, is_of_it, "partition {partition}, offset {offset}");
        }
        let without = record(2, 14, "{}");
        assert!(!is_of_or_after(&without, &input) && provenance_of(&without, &input).is_none());
        let header = (PROVENANCE_HEADER.to_owned(), b"\xff".to_vec());
        let unreadable = StoredRecord {
            headers: vec![header],
            ..without
        };
        assert!(!is_of_or_after(&unreadable, &input));
    }
}
