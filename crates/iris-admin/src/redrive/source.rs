//! The topic that dead letters are read from. It may be recreated during a run; the offsets that were read then do not belong
//! to the new topic.

use std::time::Duration;

use anyhow::bail;
use iris_kafka::{KafkaSettings, TopicId, TopicState, TopicWatcher, is_recreated};

use crate::NAME;

/// How long a request for the topic's id may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The dead-letter topic of one run.
#[derive(Debug)]
pub(super) struct Source {
    topic: String,
    topic_id: Option<TopicId>,
    watcher: TopicWatcher,
}

impl Source {
    /// Returns the topic as it is now.
    ///
    /// # Errors
    /// If it does not exist, or no broker answers in time.
    pub(super) fn open(settings: &KafkaSettings, topic: &str) -> anyhow::Result<Self> {
        let watcher = TopicWatcher::open(settings, NAME, &[topic])?;
        let topic_id = present_id(&watcher, topic)?;
        Ok(Self {
            topic: topic.to_owned(),
            topic_id,
            watcher,
        })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the topic's id when the run started; `None` if the brokers have no ids.
    pub(super) fn topic_id(&self) -> Option<&TopicId> {
        self.topic_id.as_ref()
    }

    /// Checks that everything that was read belongs to the topic with this id.
    ///
    /// # Errors
    /// If the topic was recreated or deleted, or no broker answers in time.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let now = present_id(&self.watcher, &self.topic)?;
        if is_recreated(self.topic_id.as_ref(), now.as_ref()) {
            bail!(
                "topic `{}` was deleted and recreated during this run; run the command again",
                self.topic
            );
        }
        Ok(())
    }
}

/// Returns the id that the topic has now.
fn present_id(watcher: &TopicWatcher, topic: &str) -> anyhow::Result<Option<TopicId>> {
    match watcher.states(TIMEOUT)?.into_iter().next() {
        Some(TopicState::Exists { id, .. }) => Ok(id),
        Some(TopicState::Unknown(code)) => bail!("cannot read the id of topic `{topic}`: {code}"),
        Some(TopicState::Missing) | None => bail!("topic `{topic}` does not exist any more"),
    }
}
