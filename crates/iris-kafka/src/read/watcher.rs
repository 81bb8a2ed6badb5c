//! Asks for the states of topics over connections of its own.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;

use crate::change::describer::Describer;
use crate::change::identity::TopicState;
use crate::client::config;
use crate::client::settings::KafkaSettings;
use crate::read::client::{Client, connect};
use crate::read::error::ReadError;
use crate::sys::describe::Allowed;

/// The operations that a user may carry out on a topic.
pub(crate) type Answer = Result<Option<Allowed>, RDKafkaErrorCode>;

/// Asks for the states of topics. It has connections of its own, because on those of a consumer a request waits behind the
/// open fetch.
pub struct TopicWatcher {
    topics: Vec<String>,
    describer: Describer,
    client: Client,
}

impl std::fmt::Debug for TopicWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicWatcher")
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl TopicWatcher {
    /// Creates the client.
    ///
    /// # Errors
    /// [`ReadError::Refused`] if a setting cannot be used.
    pub fn open(
        settings: &KafkaSettings,
        service: &str,
        topics: &[&str],
    ) -> Result<Self, ReadError> {
        let first = topics.first().copied().unwrap_or_default();
        let client = connect(settings, first, config::admin(settings, service))?;
        let describer = Describer::new(client.alive()).map_err(ReadError::refused(first))?;
        Ok(Self {
            topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
            describer,
            client,
        })
    }

    /// Returns each topic with the operations that the user may carry out on it: the broker's error if it does not describe the
    /// topic, and `None` if it does not list operations.
    ///
    /// # Errors
    /// [`ReadError::NoAnswer`] if no broker answers in time.
    pub(crate) fn allowed(&self, timeout: Duration) -> Result<Vec<(&str, Answer)>, ReadError> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let first = topics.first().copied().unwrap_or_default();
        let allowed = self
            .describer
            .allowed(self.client.client(), &topics, timeout)
            .map_err(ReadError::refused(first))?;
        Ok(topics.into_iter().zip(allowed).collect())
    }

    /// Returns the state of each topic, in their order.
    ///
    /// # Errors
    /// [`ReadError::NoAnswer`] if no broker answers in time.
    pub fn states(&self, timeout: Duration) -> Result<Vec<TopicState>, ReadError> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        let first = topics.first().copied().unwrap_or_default();
        self.describer
            .states(self.client.client(), &topics, timeout)
            .map_err(ReadError::refused(first))
    }
}
