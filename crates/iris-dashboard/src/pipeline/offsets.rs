//! Reads the end offsets of the input topic, and the offsets that consumer groups have committed in it where their summaries do
//! not reach the end.
//!
//! A summary has the offset after the last record. The transaction markers and aborted records behind it have no outcome, so
//! only the committed offsets show that a group has read them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iris_kafka::{GroupOffsets, ReadError, TopicEnds, now_ms};
use tracing::debug;

use super::reader::Reader;

/// How long one request may take. Without an answer, the page shows the offsets that it knows.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the offsets again and again until the service is stopped.
pub(super) fn read(reader: &Reader) {
    reader.retry(follow);
}

fn follow(reader: &Reader) -> Result<(), ReadError> {
    let settings = &reader.settings;
    let input = TopicEnds::open(&settings.kafka, &settings.topics.input)?;
    let mut committed = CommittedOffsets::default();
    while !reader.stop.is_cancelled() {
        let started = Instant::now();
        let ends = input.offsets()?;
        let partitions = ends.len();
        reader.shared.write().board.ended(ends, now_ms());
        committed.look(reader, partitions);
        reader.has_read(started);
    }
    Ok(())
}

/// The clients for the groups that were asked about. They stay connected, because the next marker may follow soon.
#[derive(Default)]
struct CommittedOffsets {
    groups: BTreeMap<String, GroupOffsets>,
}

impl CommittedOffsets {
    /// Requests the offsets of each group that has to be asked. `partitions` is the topic's number of partitions.
    fn look(&mut self, reader: &Reader, partitions: usize) {
        let (current, to_ask) = {
            let board = &reader.shared.read().board;
            (board.groups(), board.groups_to_ask())
        };
        self.groups.retain(|group, offsets| {
            current.contains(group) && offsets.partitions().len() == partitions
        });
        for group in to_ask {
            if let Err(error) = self.ask(reader, &group) {
                debug!("requesting the committed offsets of group `{group}`: {error}");
                self.groups.remove(&group);
            }
        }
    }

    fn ask(&mut self, reader: &Reader, group: &str) -> Result<(), ReadError> {
        let (kafka, topic) = (&reader.settings.kafka, &reader.settings.topics.input);
        if !self.groups.contains_key(group) {
            let offsets = GroupOffsets::open_without_waiting(kafka, group, topic, TIMEOUT)?;
            self.groups.insert(group.to_owned(), offsets);
        }
        if let Some(offsets) = self.groups.get(group) {
            let committed = offsets.committed()?;
            let mut state = reader.shared.write();
            state.board.committed(group, &committed, now_ms());
        }
        Ok(())
    }
}
