//! A topic as it was when reading started.

use crate::change::identity::{TopicId, TopicState};
use crate::read::error::{ReadError, change};

/// A topic as it was when reading started.
#[derive(Clone, Debug)]
pub struct SourceTopic {
    pub(super) topic: String,
    pub(super) id: Option<TopicId>,
    /// The number of partitions; `None` if only some of them are read.
    pub(super) partitions: Option<usize>,
}

impl SourceTopic {
    /// Checks that the topic in this state has not changed. All records that were read before the state was requested are
    /// then of this topic.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if it has.
    pub fn check(&self, state: &TopicState) -> Result<(), ReadError> {
        let change = change(self.id.as_ref(), self.partitions, state);
        let topic = self.topic.clone();
        change.map_or(Ok(()), |change| Err(ReadError::Changed { topic, change }))
    }
}
