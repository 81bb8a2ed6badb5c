//! Starts and closes a worker's consumers. A worker has one at a time, and gets a new one when its input topic was recreated.
//!
//! librdkafka ignores a partition's leader if its epoch is lower than the one that the client knows. The epochs of a recreated
//! topic start again at 0, so a client that has seen elections in the previous topic never learns the leaders of the new one.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tracing::debug;

use crate::client::health::ClientHealth;
use crate::client::settings::KafkaSettings;
use crate::consume::consumer::{Consumer, Start};
use crate::consume::error::ConsumeError;
use crate::exactly_once::processor::Processor;
use crate::exactly_once::rebalance::SharedTransaction;

/// How long closing waits for the group coordinator. During a rebalance it can answer late: the request to leave waits behind
/// a request to join on the same connection, for the 5 s that librdkafka allows.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

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
        {
            let mut transaction = transaction.lock();
            transaction.is_assigned = false;
            transaction.deleted.count_in(self.client_health.lost());
        }
        Consumer::start_with(
            &self.settings,
            &self.service,
            self.start.clone(),
            Some(Box::new(listener)),
            Arc::clone(&self.client_health),
        )
    }
}

/// Closes a consumer: it leaves its group. Waits at most 2 s for the group coordinator; closing continues after that.
pub(super) fn close(consumer: Consumer) {
    let (closed, is_closed) = mpsc::channel::<()>();
    let closing = thread::Builder::new().name("closing".to_owned());
    let started = closing.spawn(move || {
        drop(consumer);
        drop(closed);
    });
    // If the thread cannot be started, the consumer and the channel have been dropped here.
    if started.is_ok() && is_closed.recv_timeout(LEAVE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
        debug!("the group coordinator does not answer; it will end the membership by itself");
    }
}
