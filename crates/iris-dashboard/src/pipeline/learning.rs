//! Reads the figures of the learning loop, which the trainer writes with its state.

use std::time::Duration;

use iris_contract::LoopFigures;
use iris_contract::loop_figures::FIGURES_KEY;
use iris_kafka::{NewestRecord, ReadError, StoredRecord, pause};
use tracing::warn;

use super::reader::Reader;
use crate::learning::Learning;

/// The pause between two readings. The trainer writes about once per second.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the figures again and again until the service is stopped.
pub(super) fn read(reader: &Reader) {
    reader.retry(follow);
}

fn follow(reader: &Reader) -> Result<(), ReadError> {
    let (kafka, topic) = (
        &reader.settings.kafka,
        &reader.settings.topics.trainer_state,
    );
    let mut newest = NewestRecord::open(kafka, topic, FIGURES_KEY)?;
    while !reader.stop.is_cancelled() {
        if let Some(record) = newest.look()? {
            take(reader, &record);
        }
        reader.part.report(None);
        pause(PAUSE, &reader.stop);
    }
    Ok(())
}

fn take(reader: &Reader, record: &StoredRecord) {
    match LoopFigures::read(record.value.as_deref().unwrap_or_default()) {
        Ok(figures) => {
            let learning = Learning::of(&figures, record.timestamp);
            reader.shared.write().learning = Some(learning);
        }
        Err(error) => warn!(
            "{}, offset {}: skipped: {error}",
            reader.settings.topics.trainer_state, record.offset
        ),
    }
}
