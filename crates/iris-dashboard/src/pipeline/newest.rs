//! Reads the newest records, and the end offsets and committed offsets of the input topic.

use std::time::{Duration, Instant};

use iris_core::Schema;
use iris_kafka::{ReadError, StoredRecord, Tail, TopicEnds, now_ms, pause};
use tracing::debug;

use super::committed::CommittedOffsets;
use super::reader::Reader;
use crate::recent::{DeadLetterRow, PredictionRow, sort_by_time};

/// The shortest pause between two readings of the same kind.
const MIN_PAUSE: Duration = Duration::from_millis(500);

/// Each kind of reading takes at most one part in this many of the time.
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
    let mut committed = CommittedOffsets::default();
    let tail = |topic| Tail::open(kafka, topic, MAX_OFFSETS);
    let mut predictions = tail(&topics.predictions)?;
    let mut feedback = tail(&topics.feedback)?;
    let mut dead_letters = tail(&topics.dead_letters)?;
    let schema = reader.settings.dataset.schema();
    let (mut ends_due, mut records_due) = (Instant::now(), Instant::now());
    while !reader.stop.is_cancelled() {
        let started = Instant::now();
        if started >= ends_due {
            let ends = input.offsets()?;
            let partitions = ends.len();
            reader.shared.write().board.ended(ends, now_ms());
            committed.look(reader, partitions);
            ends_due = next_reading(started, Instant::now());
        }
        let started = Instant::now();
        if started >= records_due {
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
            records_due = next_reading(started, Instant::now());
        }
        reader.part.report(None);
        let due = ends_due.min(records_due);
        pause(due.saturating_duration_since(Instant::now()), &reader.stop);
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

/// Returns when the next reading is due: the longer this one took, the longer the pause.
pub(super) fn next_reading(started: Instant, ended: Instant) -> Instant {
    ended + MIN_PAUSE.max((ended - started) * (TIME_SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_a_bounded_share_of_the_time() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        for (took, pause) in [(5, 500), (100, 900)] {
            let ended = start + ms(took);
            assert_eq!(next_reading(start, ended), ended + ms(pause));
        }
    }
}
