//! Reads records into batches.

use std::fmt::Display;
use std::time::Duration;

use iris_contract::PROVENANCE_HEADER;
use iris_feedback_store::{FeedbackRow, FeedbackStore};
use iris_kafka::defence::Defence;
use iris_kafka::{Consumer, Record};
use iris_service::TRACEPARENT_HEADER;
use tracing::warn;

use crate::batch::{Batch, Novelty, check_same_topic};
use crate::feedback::{self, FeedbackRecord};
use crate::pipeline::Sink;

/// Rows of a batch. The last records read at once may exceed it: a row has 13 values, and a statement of SQLite takes 32,766.
const BATCH_ROWS: usize = 1_000;

/// How long one wait for records lasts, and so how soon a stop is noticed.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Warns that the reason of a gap is not known.
fn warn_of_gap(partition: i32, position: i64, next: i64, error: &impl Display) {
    warn!(
        "partition {partition}: whether records at offsets {position} to {} were deleted before they were read is not known: \
         {error}",
        next - 1
    );
}

impl Sink {
    /// Reads the records that are available, up to a batch. The batch is empty if they may belong to another topic than the known
    /// one; reading then restarts.
    pub(crate) fn read(&self, consumer: &Consumer, store: &FeedbackStore) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        let mut timeout = POLL_TIMEOUT;
        while batch.rows.len() < BATCH_ROWS {
            let records = consumer.read(timeout)?;
            if records.is_empty() {
                batch.is_drained = true;
                break;
            }
            timeout = Duration::ZERO;
            for record in records {
                if !self.add(&mut batch, &record, consumer, store)? {
                    return Ok(Batch::default());
                }
            }
        }
        Ok(batch)
    }

    /// Moves the batch's positions behind the markers that were read, and commits the store's offsets to the group after an
    /// assignment: the sink that stored them may have ended before it committed them.
    pub(crate) fn pass_markers(&self, consumer: &Consumer, batch: &mut Batch) {
        if !Defence::StoreOffsets.is_on() {
            return;
        }
        let assigned = consumer.assignment();
        let mut source = self.source();
        let mut reached = consumer.reached(&assigned);
        // A partition whose gap is not explained is passed at the next call.
        let unexplained: Vec<i32> = reached
            .iter()
            .filter(|&(partition, next)| {
                let position = batch.position(&source.positions, partition);
                position.is_some_and(|position| {
                    position < next && consumer.explain_gap(partition, position, next).is_err()
                })
            })
            .map(|(partition, _)| partition)
            .collect();
        reached.forget(&unexplained);
        batch.pass(&source.positions, &reached);
        if !assigned.is_empty() && !source.is_reported {
            let stored = source.positions.iter();
            consumer
                .commit_in_background(stored.filter(|(partition, _)| assigned.contains(partition)));
            source.is_reported = true;
        }
    }

    /// Adds a new record to the batch, and checks one that is stored already. Returns false if the topic is not the known one.
    fn add(
        &self,
        batch: &mut Batch,
        record: &Record<'_>,
        consumer: &Consumer,
        store: &FeedbackStore,
    ) -> anyhow::Result<bool> {
        let at = record.partition_offset();
        let row = self.row(record);
        let (novelty, position) = {
            let stored = &self.source().positions;
            (
                batch.novelty(stored, at),
                batch.position(stored, at.partition),
            )
        };
        match novelty {
            Novelty::Stored => match self.check_redelivered(store, &row) {
                Ok(()) => Ok(true),
                // The client may read a topic that was recreated before the sink has noticed.
                Err(_) if !self.confirm(consumer, store)? => Ok(false),
                Err(error) => Err(error),
            },
            Novelty::InBatch => Ok(true),
            Novelty::New => {
                if let Some(position) = position.filter(|&position| position < at.offset) {
                    let explained = consumer.explain_gap(at.partition, position, at.offset);
                    if let Err(error) = explained {
                        warn_of_gap(at.partition, position, at.offset, &error);
                    }
                }
                let traceparent = record.header(TRACEPARENT_HEADER);
                let span = self
                    .spans
                    .follow(traceparent, record.topic(), at.partition, at.offset);
                batch.add(at, row, span);
                Ok(true)
            }
        }
    }

    fn row(&self, record: &Record<'_>) -> FeedbackRow {
        let source = self.source().name.clone();
        let record = FeedbackRecord {
            topic: &source,
            partition: record.partition(),
            offset: record.offset(),
            created_ms: record.timestamp(),
            provenance: record.header(PROVENANCE_HEADER),
            value: record.value(),
        };
        feedback::row(&self.schema, record)
    }

    /// Skips a record that is stored already, unless another record is stored at its offset.
    fn check_redelivered(&self, store: &FeedbackStore, row: &FeedbackRow) -> anyhow::Result<()> {
        let (topic, partition, offset) =
            (&row.source_topic, row.source_partition, row.source_offset);
        let stored = self.caller.call("read_row", async || {
            store.row(topic, partition, offset).await
        })?;
        // Without an answer the service is stopping.
        stored.map_or(Ok(()), |stored| check_same_topic(stored.as_ref(), row))
    }
}
