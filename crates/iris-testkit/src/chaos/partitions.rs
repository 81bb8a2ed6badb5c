//! The partitions of the topics, as the storm changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_contract::{Topic, Topics};
use parking_lot::Mutex;

/// The present number of partitions of each topic.
#[derive(Clone, Debug)]
pub(super) struct Partitions(Arc<Mutex<BTreeMap<Topic, i32>>>);

impl Partitions {
    pub(super) fn of(topics: &Topics) -> Self {
        let partitions = Topic::ALL.map(|topic| (topic, topics.partitions_of(topic)));
        Self(Arc::new(Mutex::new(partitions.into())))
    }

    pub(super) fn get(&self, topic: Topic) -> i32 {
        self.0.lock().get(&topic).copied().unwrap_or_default()
    }

    pub(super) fn set(&self, topic: Topic, partitions: i32) {
        self.0.lock().insert(topic, partitions);
    }
}
