//! Reads the newest records.

use std::time::Instant;

use iris_core::Schema;
use iris_kafka::{ReadError, StoredRecord, Tail};
use tracing::debug;

use super::reader::Reader;
use crate::recent::{DeadLetterRow, PredictionRow, sort_by_time};

/// The number of offsets at the end of a partition that are read, at most. Some are transaction markers.
const MAX_OFFSETS: i64 = 60;

/// Reads the newest records again and again until the service is stopped.
pub(super) fn read(reader: &Reader) {
    reader.retry(follow);
}

fn follow(reader: &Reader) -> Result<(), ReadError> {
    let (kafka, topics) = (&reader.settings.kafka, &reader.settings.topics);
    let tail = |topic| Tail::open(kafka, topic, MAX_OFFSETS);
    let mut predictions = tail(&topics.predictions)?;
    let mut feedback = tail(&topics.feedback)?;
    let mut dead_letters = tail(&topics.dead_letters)?;
    let schema = reader.settings.dataset.schema();
    while !reader.stop.is_cancelled() {
        let started = Instant::now();
        let predictions = prediction_rows(newest(&mut predictions)?, &schema);
        let mispredictions = prediction_rows(newest(&mut feedback)?, &schema);
        let dead_letters = newest(&mut dead_letters)?;
        let mut state = reader.shared.write();
        state.predictions.add(predictions);
        state.mispredictions.add(mispredictions);
        state
            .dead_letters
            .add(dead_letters.iter().filter_map(DeadLetterRow::read));
        drop(state);
        let took = started.elapsed();
        debug!("read the newest records in {} ms", took.as_millis());
        reader.has_read(started);
    }
    Ok(())
}

/// Returns the records that are new since the last reading, oldest first.
fn newest(tail: &mut Tail) -> Result<Vec<StoredRecord>, ReadError> {
    let mut records = tail.look()?;
    sort_by_time(&mut records);
    Ok(records)
}

fn prediction_rows(records: Vec<StoredRecord>, schema: &Schema) -> Vec<PredictionRow> {
    let records = records.iter();
    records
        .filter_map(|record| PredictionRow::read(record, schema))
        .collect()
}
