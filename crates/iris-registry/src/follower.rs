//! Following the registry as it changes.

use std::time::{Duration, Instant};

use iris_contract::registry::Entry;
use iris_kafka::{Positions, TopicReader};
use tokio_util::sync::CancellationToken;

use crate::error::{RegistryTopicError, VISIBLE_TIMEOUT};
use crate::registry::Registry;
use crate::topic::{PARTITION, RegistryTopic, apply};

/// How long one wait for records lasts.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

impl RegistryTopic {
    /// Reads the committed registry and continues reading.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if the topic does not exist or cannot be read.
    pub fn follow(&self) -> Result<Follower, RegistryTopicError> {
        let (registry, next) = self.read_to_end()?;
        let start = Positions::from([(PARTITION, next)]);
        Ok(Follower {
            topic: self.topic.clone(),
            reader: TopicReader::open_to_wait(&self.settings, &self.topic, &start)?,
            registry,
        })
    }
}

/// The registry as it changes.
#[derive(Debug)]
pub struct Follower {
    topic: String,
    reader: TopicReader,
    registry: Registry,
}

impl Follower {
    /// Returns the registry as read so far.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Waits until committed entries are read.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if reading fails, or `stop` was cancelled.
    pub fn wait_for(
        &mut self,
        written: &[Entry],
        stop: &CancellationToken,
    ) -> Result<(), RegistryTopicError> {
        let deadline = Instant::now() + VISIBLE_TIMEOUT;
        while !self.registry.has(written) {
            if stop.is_cancelled() {
                return Err(RegistryTopicError::Stopped);
            }
            if Instant::now() >= deadline {
                let topic = self.topic.clone();
                return Err(RegistryTopicError::NotVisible { topic });
            }
            self.wait(POLL_TIMEOUT)?;
        }
        Ok(())
    }

    /// Waits for a change. Returns whether there was one within `timeout`.
    ///
    /// # Errors
    /// [`RegistryTopicError`] if reading fails.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, RegistryTopicError> {
        match self.reader.next(timeout)? {
            Some(record) => {
                apply(&mut self.registry, &record);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
