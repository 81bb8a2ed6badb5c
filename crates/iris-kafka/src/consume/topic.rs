//! The topic of a consumer as it changes: its recreation and its deleted records.

use std::ops::Range;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;

use crate::change::gaps::lost;
use crate::change::start::{requested_start, start};
use crate::consume::consumer::Consumer;
use crate::sys::log_start::log_start;

/// How long the request for the start of a partition may take.
const START_TIMEOUT: Duration = Duration::from_secs(1);

impl Consumer {
    /// Notes that the topic was recreated: its offsets start again at 0.
    pub fn note_recreated(&self) {
        self.client_health.lost().restart();
    }

    /// Whether the oldest records of a partition were deleted, as of its latest fetch.
    pub(crate) fn is_truncated(&self, partition: i32) -> bool {
        self.log_start(partition) > 0
    }

    /// Returns the start of a partition's log as of its latest fetch; 0 if there was none yet.
    pub(crate) fn log_start(&self, partition: i32) -> i64 {
        log_start(self.client.client(), &self.start.topic, partition).unwrap_or(0)
    }

    /// Counts and logs the records between a position and the next offset that was read from there, if they were deleted.
    ///
    /// # Errors
    /// If the start of the log is not known in time.
    pub fn explain_gap(&self, partition: i32, position: i64, next: i64) -> Result<(), KafkaError> {
        if let Some(offsets) = self.deleted_between(partition, position, next)? {
            self.note_deleted(partition, offsets);
        }
        Ok(())
    }

    /// Counts and logs the records between a position and the start of the log, if no record was read from there.
    pub fn explain_start(&self, partition: i32, position: i64) {
        if let Some(offsets) = self.deleted_after(partition, position) {
            self.note_deleted(partition, offsets);
        }
    }

    fn note_deleted(&self, partition: i32, offsets: Range<i64>) {
        let topic = &self.start.topic;
        self.client_health.lost().note(topic, partition, offsets);
    }

    /// Returns the offsets of the records between a position and the next offset that was read from there, if they were
    /// deleted.
    ///
    /// # Errors
    /// If the broker does not answer in time.
    pub(crate) fn deleted_between(
        &self,
        partition: i32,
        position: i64,
        next: i64,
    ) -> Result<Option<Range<i64>>, KafkaError> {
        let (client, topic) = (self.client.client(), &self.start.topic);
        let log_start = start(client, topic, partition, START_TIMEOUT)?;
        Ok(lost(position, Some(next), log_start))
    }

    /// Returns the offsets of the records between a position and the start of the log, if no record was read from there.
    pub(crate) fn deleted_after(&self, partition: i32, position: i64) -> Option<Range<i64>> {
        let (client, topic) = (self.client.client(), &self.start.topic);
        let known = log_start(client, topic, partition)?;
        lost(position, None, known)?;
        // The start that the client knows may be that of a previous topic of this name.
        let log_start = requested_start(client, topic, partition, START_TIMEOUT).ok()?;
        lost(position, None, log_start)
    }
}
