//! The topic of a consumer as it changes: its recreation and its deleted records.

use std::ops::Range;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;

use crate::change::gaps::lost;
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

    /// Counts and logs the records between a position and the `first` record that was read from there, if they were deleted.
    /// Without a record, counts those before the start of the log. Returns the position at which reading continues.
    pub fn explain_gap(&self, partition: i32, position: i64, first: Option<i64>) -> i64 {
        let Some(offsets) = self.deleted(partition, position, first) else {
            return position;
        };
        let end = offsets.end;
        let topic = &self.start.topic;
        self.client_health.lost().note(topic, partition, offsets);
        end
    }

    /// Returns the offsets of the records between a position and the `first` record that was read from there, if they were
    /// deleted. Without a record, returns those before the start of the log.
    pub(crate) fn deleted(
        &self,
        partition: i32,
        position: i64,
        first: Option<i64>,
    ) -> Option<Range<i64>> {
        let topic = &self.start.topic;
        let log_start = log_start(self.client.client(), topic, partition)?;
        let deleted = lost(position, first, log_start)?;
        if first.is_some() {
            return Some(deleted);
        }
        // Without a record, the start that the client knows may be that of a previous topic of this name.
        let (log_start, _) = self
            .client
            .fetch_watermarks(topic, partition, START_TIMEOUT)
            .ok()?;
        lost(position, None, log_start)
    }
}
