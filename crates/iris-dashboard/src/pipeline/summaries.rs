//! Reads the transaction summaries: first those of the history, then new ones.

use std::time::{Duration, Instant};

use iris_contract::TransactionSummary;
use iris_kafka::{
    Positions, Read, ReadError, Record, TopicId, TopicReader, end_offsets, now_ms, offsets_at,
};
use tracing::{info, warn};

use super::reader::{Reader, WAIT};
use crate::board::Reading;

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
    let end = end_offsets(&reader.settings.kafka, topic)?;
    let mut history = Some(History::new(next, end));
    while !reader.stop.is_cancelled() {
        match records.read(WAIT)? {
            Some(Read::Record(record)) => {
                next.advance(record.partition_offset());
                add(reader, &record);
                if let Some(history) = &mut history {
                    history.read_record(reader, next);
                }
            }
            Some(Read::End(_)) | None => {
                if records.has_reached_the_end() {
                    history = None;
                }
                if records.has_reached_the_end() && records.client_health().outage().is_none() {
                    reader.shared.write().board.is_known_until(now_ms());
                }
            }
        }
        reader.part.report(records.client_health().outage());
    }
    Ok(())
}

/// How often the progress of reading the history is shown, and how often it is logged.
const SHOW_INTERVAL: Duration = Duration::from_millis(250);
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The summaries that exist when reading starts.
struct History {
    start: Positions,
    end: Positions,
    records: u64,
    shown: Instant,
    logged: Instant,
}

impl History {
    fn new(start: &Positions, end: Positions) -> Self {
        let now = Instant::now();
        Self {
            start: start.clone(),
            end,
            records: 0,
            shown: now,
            logged: now,
        }
    }

    /// Counts a record that was read. Shows and logs the progress from time to time.
    fn read_record(&mut self, reader: &Reader, next: &Positions) {
        self.records += 1;
        if self.shown.elapsed() < SHOW_INTERVAL {
            return;
        }
        self.shown = Instant::now();
        let reading = self.progress(next);
        reader.shared.write().board.reads(reading);
        if self.logged.elapsed() >= LOG_INTERVAL {
            self.logged = Instant::now();
            let topic = &reader.settings.topics.summaries;
            let (records, Reading { read, all }) = (self.records, reading);
            info!("reading topic `{topic}`: {records} records, {read} of {all} offsets");
        }
    }

    /// Returns how many offsets were read, of how many.
    fn progress(&self, next: &Positions) -> Reading {
        let mut reading = Reading { read: 0, all: 0 };
        for (partition, end) in self.end.iter() {
            let start = self.start.get(partition).unwrap_or(0);
            let reached = next.get(partition).unwrap_or(start);
            reading.read += reached.clamp(start, end.max(start)) - start;
            reading.all += (end - start).max(0);
        }
        reading
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_counts_the_offsets_of_all_partitions_that_existed_at_the_start() {
        let history = History::new(
            &[(0, 100), (1, 20)].into(),
            [(0, 150), (1, 20), (2, 30)].into(),
        );
        let progress = |next: Positions| {
            let Reading { read, all } = history.progress(&next);
            (read, all)
        };
        assert_eq!(progress([(0, 100), (1, 20)].into()), (0, 80));
        assert_eq!(progress([(0, 140), (1, 25), (2, 10)].into()), (50, 80));
        assert_eq!(progress([(0, 170), (1, 25), (2, 30)].into()), (80, 80));
    }
}
