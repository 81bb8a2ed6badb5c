//! Asks for the states of topics over connections of its own.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::change::describer::Describer;
use crate::change::identity::TopicState;
use crate::client::config;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;

/// Asks for the states of topics. It has connections of its own, because on those of a consumer a request waits behind the
/// open fetch.
pub struct TopicWatcher {
    /// Declared before the client, so that it is dropped first.
    describer: Describer,
    client: BaseConsumer<ClientEvents>,
}

impl std::fmt::Debug for TopicWatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicWatcher").finish_non_exhaustive()
    }
}

impl TopicWatcher {
    /// Creates the client.
    ///
    /// # Errors
    /// The client's error if a setting cannot be used.
    pub fn open(settings: &KafkaSettings, service: &str) -> Result<Self, KafkaError> {
        let config = config::admin(settings, service)
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        let client: BaseConsumer<ClientEvents> =
            config.create_with_context(ClientEvents::new(settings))?;
        Ok(Self {
            describer: Describer::new(client.client())?,
            client,
        })
    }

    /// Returns the state of each topic, in the given order.
    ///
    /// # Errors
    /// The client's error if no broker answers in time.
    pub fn states(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<Vec<TopicState>, KafkaError> {
        self.describer.states(self.client.client(), topics, timeout)
    }
}
