//! The topic of a consumer as it changes: its recreation and its deleted records.

use rdkafka::consumer::Consumer as _;

use crate::change::gaps::lost;
use crate::consume::consumer::Consumer;
use crate::sys::log_start::log_start;

impl Consumer {
    /// Notes that the topic was recreated: its offsets start again at 0.
    pub fn note_recreated(&self) {
        self.client_health.lost().restart();
    }

    /// Counts and logs the records between a position and the `first` record that was read from there, if they were deleted.
    /// Without a record, counts those before the start of the log. Returns the position at which reading continues.
    pub fn explain_gap(&self, partition: i32, position: i64, first: Option<i64>) -> i64 {
        let topic = &self.start.topic;
        // At offset 0 without a record, the start that the client knows may still be that of a previous topic.
        if position == 0 && first.is_none() {
            return position;
        }
        let log_start = log_start(self.client.client(), topic, partition);
        let Some(offsets) = log_start.and_then(|start| lost(position, first, start)) else {
            return position;
        };
        let end = offsets.end;
        self.client_health.lost().note(topic, partition, offsets);
        end
    }
}
