//! Positions that librdkafka has moved wrongly.

use parking_lot::Mutex;

use crate::offsets::Positions;
use crate::sys::message::Fetched;

/// The positions that the client has moved wrongly. It counts an error that it returns in place of a record as a record, and
/// an error has the offset that is fetched next
/// ([#4844](https://github.com/confluentinc/librdkafka/issues/4844)).
#[derive(Debug, Default)]
pub(super) struct Misplaced(Mutex<Positions>);

impl Misplaced {
    /// Notes an error that was returned in place of a record.
    pub(super) fn note(&self, error: &Fetched) {
        let (partition, position) = (error.partition(), error.offset().saturating_add(1));
        let mut misplaced = self.0.lock();
        let known = misplaced.get(partition).unwrap_or(0);
        misplaced.set(partition, position.max(known));
    }

    /// Forgets partitions that were sought.
    pub(super) fn forget(&self, partitions: &[i32]) {
        self.0.lock().forget(partitions);
    }

    /// Whether a position may be wrong: only a record or a marker after the latest error moves it further.
    pub(super) fn may_be(&self, partition: i32, position: i64) -> bool {
        let misplaced = self.0.lock().get(partition);
        misplaced.is_some_and(|misplaced| position <= misplaced)
    }
}
