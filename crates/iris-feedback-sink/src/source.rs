//! The feedback topic that rows come from, and how far it is stored.

use iris_kafka::{Positions, TopicId};

/// The feedback topic, and how far the store has read it.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// The source topic of its rows.
    pub(crate) name: String,
    /// Its id; `None` if the brokers have no ids.
    pub(crate) id: Option<TopicId>,
    /// The store's offset of each partition that was ever assigned.
    pub(crate) positions: Positions,
    /// Whether the store's offsets were committed to the group since partitions were assigned.
    pub(crate) is_reported: bool,
    /// Whether it was recreated and is still read by the consumer of the previous topic.
    pub(crate) needs_consumer: bool,
}
