//! Reads the transaction summaries: first those of the history, then new ones.

use iris_contract::TransactionSummary;
use iris_kafka::{
    Positions, Read, ReadError, Record, TopicId, TopicReader, end_offsets, now_ms, offsets_at,
};
use tracing::warn;

use super::reader::{Reader, WAIT};

/// Adds summaries to the board until the service is stopped.
pub(super) fn read(reader: &Reader) {
    let mut reached: Option<Reached> = None;
    reader.retry(|reader| {
        let start = match reached.take() {
            Some(reached) => reached,
            None => Reached {
                next: history_start(reader)?,
                topic_id: None,
            },
        };
        follow(reader, reached.insert(start))
    });
}

/// How far the topic has been read.
struct Reached {
    next: Positions,
    /// The id of the topic that the positions belong to.
    topic_id: Option<TopicId>,
}

/// Returns the offsets of the first summaries of the history.
fn history_start(reader: &Reader) -> Result<Positions, ReadError> {
    let (kafka, topic) = (&reader.settings.kafka, &reader.settings.topics.summaries);
    let history_ms = reader.settings.dashboard.history_s().saturating_mul(1000);
    let start_ms = now_ms().saturating_sub(history_ms).max(0);
    let mut offsets = end_offsets(kafka, topic)?;
    offsets.extend(offsets_at(kafka, topic, start_ms)?);
    Ok(offsets)
}

/// Adds the summaries from the position on that is reached, and advances it.
fn follow(reader: &Reader, reached: &mut Reached) -> Result<(), ReadError> {
    let topic = &reader.settings.topics.summaries;
    let Reached { next, topic_id } = reached;
    let mut records = TopicReader::resume(&reader.settings.kafka, topic, next, topic_id.as_ref())?;
    if records.is_recreated() {
        next.clear();
    }
    *topic_id = records.topic_id().cloned();
    reader.lag.watch_reader(topic, records.client_health());
    while !reader.stop.is_cancelled() {
        match records.read(WAIT)? {
            Some(Read::Record(record)) => {
                next.advance(record.partition_offset());
                add(reader, &record);
            }
            Some(Read::End(_)) | None => {
                if records.has_reached_the_end() && records.client_health().problem().is_none() {
                    reader.shared.write().board.is_known_until(now_ms());
                }
            }
        }
        reader.part.report(records.client_health().problem());
    }
    Ok(())
}

fn add(reader: &Reader, record: &Record<'_>) {
    let topic = &reader.settings.topics.summaries;
    let at_ms = record.timestamp().unwrap_or_else(now_ms);
    reader.lag.reached(topic, record.partition(), at_ms);
    match serde_json::from_slice::<TransactionSummary>(record.value().unwrap_or_default()) {
        Ok(summary) => reader.shared.write().board.add(&summary, at_ms),
        Err(error) => warn!(
            "{topic}, partition {}, offset {}: not a transaction summary, skipped: {error}",
            record.partition(),
            record.offset()
        ),
    }
}
