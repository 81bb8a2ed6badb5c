//! Starts a worker's consumers. A worker has one at a time, and gets a new one when its input topic was recreated.
//!
//! librdkafka ignores a partition's leader if its epoch is lower than the one that the client knows. The epochs of a recreated
//! topic start again at 0, so a client that has seen elections in the previous topic never learns the leaders of the new one.

use std::sync::Arc;

use crate::client::health::ClientHealth;
use crate::client::settings::KafkaSettings;
use crate::consume::consumer::{Consumer, Start};
use crate::consume::error::ConsumeError;
use crate::exactly_once::processor::Processor;
use crate::exactly_once::rebalance::SharedTransaction;

/// Starts the consumers of one worker.
pub(super) struct Consumers {
    settings: KafkaSettings,
    service: String,
    start: Start,
    client_health: Arc<ClientHealth>,
}

impl Consumers {
    pub(super) fn new(settings: &KafkaSettings, service: &str, start: Start) -> Self {
        Self {
            client_health: ClientHealth::new(settings),
            settings: settings.clone(),
            service: service.to_owned(),
            start,
        }
    }

    /// Starts a consumer. From now on, only its rebalances affect the transaction.
    ///
    /// # Errors
    /// [`ConsumeError`] if a setting cannot be used.
    pub(super) fn start<P: Processor>(
        &self,
        transaction: &mut SharedTransaction<P>,
    ) -> Result<Consumer, ConsumeError> {
        let listener = transaction.listener();
        let lost = self.client_health.lost();
        transaction.lock().deleted.count_in(lost);
        Consumer::start_with(
            &self.settings,
            &self.service,
            self.start.clone(),
            Some(Box::new(listener)),
            Arc::clone(&self.client_health),
        )
    }
}
