//! Reads the newest records, and the end offsets of the input topic.

use std::time::{Duration, Instant};

use iris_core::Schema;
use iris_kafka::{ReadError, StoredRecord, Tail, TopicEnds, now_ms, pause};
use tracing::debug;

use super::reader::Reader;
use crate::recent::{DeadLetterRow, PredictionRow, sort_by_time};

/// The shortest pause between two readings.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// Reading takes at most one part in this many of the time.
const TIME_SHARE: u32 = 10;

/// The number of offsets at the end of a partition that are read, at most. Some are transaction markers.
const MAX_OFFSETS: i64 = 60;

/// Reads the newest records again and again until the service is stopped.
pub(super) fn read(reader: &Reader) {
    reader.retry(follow);
}

fn follow(reader: &Reader) -> Result<(), ReadError> {
    let (kafka, topics) = (&reader.settings.kafka, &reader.settings.topics);
    let input = TopicEnds::open(kafka, &topics.input)?;
    let tail = |topic| Tail::open(kafka, topic, MAX_OFFSETS);
    let mut predictions = tail(&topics.predictions)?;
    let mut feedback = tail(&topics.feedback)?;
    let mut dead_letters = tail(&topics.dead_letters)?;
    let schema = reader.settings.dataset.schema();
    while !reader.stop.is_cancelled() {
        let started = Instant::now();
        let ends = input.offsets()?;
        reader.shared.write().board.ended(ends, now_ms());
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
        reader.part.report(None);
        let took = started.elapsed();
        debug!("read the newest records in {} ms", took.as_millis());
        pause(pause_after(took), &reader.stop);
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

/// Returns the pause after a reading: the longer it took, the longer the pause.
fn pause_after(took: Duration) -> Duration {
    MIN_PAUSE.max(took * (TIME_SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_a_bounded_share_of_the_time() {
        let ms = Duration::from_millis;
        assert_eq!(pause_after(ms(5)), ms(500));
        assert_eq!(pause_after(ms(100)), ms(900));
    }
}
