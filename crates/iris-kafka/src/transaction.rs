//! A producer whose every record is part of a transaction, and what to do when one fails.
//!
//! ```text
//!            begin                commit ok
//!   ready ───────────► open ─────────────────► ready
//!     ▲                 │ │
//!     │   abort ok      │ │ error that is fatal, or whose outcome is unknown
//!     └──── Abortable ◄─┘ └────► Lost ──── drop, build anew, init_transactions ───► ready
//!                 │                ▲
//!                 └── abort fails ─┘
//! ```
//!
//! A call that timed out may still take effect: librdkafka speaks the first version of the transaction protocol, in
//! which a late EndTxn can end a later transaction of the same epoch. So a producer whose outcome is unknown is never
//! used again. Building a new one under the same transactional id fences it: after `init_transactions` the outcome is
//! settled, and the group's committed offsets say which it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use iris_core::ImpossibleSetting;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::connection::{ClientEvents, Connection, STATISTICS_INTERVAL_MS};
use crate::pause::pause;
use crate::record::OutgoingRecord;
use crate::settings::KafkaSettings;

/// How long the broker lets a transaction stay open before it aborts it; also how long a call may take.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one attempt to register the transactional id may take.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait at a time for outstanding records; rust-rdkafka's own flush waits 100 ms at a time.
const DRAIN_STEP: Duration = Duration::from_millis(1);

/// For each partition the offset at which reading goes on: that of the last record processed, and one.
pub type Offsets = BTreeMap<i32, i64>;

/// Why a transaction did not commit, and so what has to happen before the next one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The transaction can be aborted; the producer stays usable.
    #[error("{0}")]
    Abortable(String),
    /// The producer must be replaced: it is fenced or broken, or the outcome of a call is unknown.
    #[error("{0}")]
    Lost(String),
    /// The user lacks a permission; trying again does not help.
    #[error("{0}")]
    NotAuthorised(String),
}

impl Fault {
    /// Judges an error of a transactional call.
    fn of(call: &str, error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let text = format!("{call}: {error}");
        match (error, error.rdkafka_error_code()) {
            (
                _,
                Some(
                    Code::TransactionalIdAuthorizationFailed
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed,
                ),
            ) => Self::NotAuthorised(text),
            (KafkaError::Transaction(error), _)
                if !error.is_fatal() && error.txn_requires_abort() =>
            {
                Self::Abortable(text)
            }
            // Fatal, timed out (retriable, of unknown outcome), or out of step with the producer's own state.
            _ => Self::Lost(text),
        }
    }
}

impl ProducerContext for ClientEvents {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        // A record that is not delivered fails its transaction; the commit tells.
        if let Err((error, _)) = result {
            debug!("not delivered: {error}");
        }
    }
}

/// A producer of transactions under one transactional id.
pub struct TransactionalProducer {
    config: ClientConfig,
    transactional_id: String,
    input: String,
    connection: Arc<Connection>,
    producer: Option<BaseProducer<ClientEvents>>,
    is_open: bool,
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionalProducer")
            .field("transactional_id", &self.transactional_id)
            .finish_non_exhaustive()
    }
}

impl TransactionalProducer {
    /// Describes a producer; [`prepare`](Self::prepare) makes it usable. `input` is the topic whose offsets it commits.
    ///
    /// # Errors
    /// [`ImpossibleSetting`] if a password's file cannot be read.
    pub fn new(
        settings: &KafkaSettings,
        service: &str,
        transactional_id: &str,
        input: &str,
    ) -> Result<Self, ImpossibleSetting> {
        let timeout = TRANSACTION_TIMEOUT.as_millis().to_string();
        let mut config = settings.client_config(service)?;
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", &timeout)
            .set("message.timeout.ms", &timeout)
            .set("compression.type", "lz4")
            .set("linger.ms", "2")
            // What a transaction waits when the one before is still being written by the coordinator.
            .set("retry.backoff.ms", "2")
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.messages", "500000")
            .set("queue.buffering.max.kbytes", "65536")
            // The input's own limit and room for what is added to a record.
            .set("message.max.bytes", "4194304")
            .set("delivery.report.only.error", "true")
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
        settings.pass_through(&mut config);
        Ok(Self {
            config,
            transactional_id: transactional_id.to_owned(),
            input: input.to_owned(),
            connection: Connection::new(&settings.bootstrap_servers),
            producer: None,
            is_open: false,
        })
    }

    /// Whether the cluster is reachable.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Builds the producer if there is none, fencing any other of the same transactional id, and retries until that
    /// succeeds. `waiting` is told before each wait what it waits for. Returns whether the producer is usable; it is
    /// not if `stop` was cancelled meanwhile.
    ///
    /// # Errors
    /// [`Fault::NotAuthorised`] if the user may not use the transactional id.
    pub fn prepare(
        &mut self,
        stop: &CancellationToken,
        waiting: &mut dyn FnMut(String),
    ) -> Result<bool, Fault> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .without_max_times();
        let mut delays = backoff.build();
        while self.producer.is_none() {
            if stop.is_cancelled() {
                return Ok(false);
            }
            match self.build() {
                Ok(producer) => self.producer = Some(producer),
                Err(fault @ Fault::NotAuthorised(_)) => return Err(fault),
                Err(fault) => {
                    let delay = delays.next().unwrap_or_default();
                    warn!(
                        "cannot register transactional id `{}`: {fault}; trying again",
                        self.transactional_id
                    );
                    waiting(fault.to_string());
                    pause(delay, stop);
                }
            }
        }
        Ok(true)
    }

    fn build(&self) -> Result<BaseProducer<ClientEvents>, Fault> {
        let context = ClientEvents {
            connection: Arc::clone(&self.connection),
        };
        let producer: BaseProducer<_> = self
            .config
            .create_with_context(context)
            .map_err(|error| Fault::of("creating the producer", &error))?;
        producer
            .init_transactions(INIT_TIMEOUT)
            .map_err(|error| Fault::of("init_transactions", &error))?;
        Ok(producer)
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    fn producer(&self) -> Result<&BaseProducer<ClientEvents>, Fault> {
        self.producer
            .as_ref()
            .ok_or_else(|| Fault::Lost("there is no producer".to_owned()))
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`Fault`] if the producer cannot.
    pub fn begin(&mut self) -> Result<(), Fault> {
        self.producer()?
            .begin_transaction()
            .map_err(|error| Fault::of("begin_transaction", &error))?;
        self.is_open = true;
        Ok(())
    }

    /// Adds a record to the open transaction. Waits while the client's queue is full.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot go on.
    pub fn send(&self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        let producer = self.producer()?;
        let give_up = Instant::now() + TRANSACTION_TIMEOUT;
        let mut record = record.into_base_record();
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused))
                    if Instant::now() < give_up =>
                {
                    producer.poll(DRAIN_STEP);
                    record = refused;
                }
                Err((error, refused)) if producer.client().fatal_error().is_none() => {
                    return Err(Fault::Abortable(format!(
                        "appending to topic `{}`: {error}",
                        refused.topic
                    )));
                }
                Err((error, _)) => return Err(Fault::Lost(format!("appending: {error}"))),
            }
        }
    }

    /// Commits the open transaction together with the input's offsets.
    ///
    /// # Errors
    /// [`Fault`]; unless it is [`Fault::Lost`], nothing of the transaction will ever be visible.
    pub fn commit(
        &mut self,
        offsets: &Offsets,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), Fault> {
        let producer = self.producer()?;
        drain(producer)?;
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (&partition, &offset) in offsets {
            list.add_partition_offset(&self.input, partition, Offset::Offset(offset))
                .map_err(|error| Fault::of("collecting offsets", &error))?;
        }
        producer
            .send_offsets_to_transaction(&list, group, TRANSACTION_TIMEOUT)
            .map_err(|error| Fault::of("send_offsets_to_transaction", &error))?;
        producer
            .commit_transaction(TRANSACTION_TIMEOUT)
            .map_err(|error| Fault::of("commit_transaction", &error))?;
        self.is_open = false;
        Ok(())
    }

    /// Makes an end of a transaction that failed: aborts it where that is possible, and else drops the producer, to
    /// be built anew by [`prepare`](Self::prepare).
    pub fn give_up(&mut self, fault: &Fault) {
        let aborted = match (fault, &self.producer) {
            (Fault::Abortable(_), Some(producer)) if self.is_open => producer
                .abort_transaction(TRANSACTION_TIMEOUT)
                .inspect_err(|error| warn!("aborting failed, the producer is replaced: {error}"))
                .is_ok(),
            (Fault::Abortable(_), Some(_)) => true,
            _ => false,
        };
        if !aborted {
            self.producer = None;
        }
        self.is_open = false;
    }
}

/// Waits until the brokers have acknowledged every record of the transaction.
fn drain(producer: &BaseProducer<ClientEvents>) -> Result<(), Fault> {
    let give_up = Instant::now() + TRANSACTION_TIMEOUT;
    producer.poll(Duration::ZERO);
    while producer.in_flight_count() > 0 {
        if Instant::now() >= give_up {
            return Err(Fault::Abortable(
                "records were not acknowledged in time".to_owned(),
            ));
        }
        producer.poll(DRAIN_STEP);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(error: &KafkaError) -> Fault {
        Fault::of("call", error)
    }

    #[test]
    fn what_is_not_known_to_be_abortable_replaces_the_producer() {
        let timed_out = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
        assert!(matches!(fault(&timed_out), Fault::Lost(_)));
        assert!(matches!(fault(&KafkaError::Canceled), Fault::Lost(_)));
    }

    #[test]
    fn a_missing_permission_is_not_tried_again() {
        let denied = KafkaError::Flush(RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
        assert!(matches!(fault(&denied), Fault::NotAuthorised(_)));
    }

    #[test]
    fn giving_up_without_a_producer_leaves_none() {
        let settings = KafkaSettings::default();
        let mut producer = TransactionalProducer::new(&settings, "test", "id", "input").unwrap();
        producer.give_up(&Fault::Abortable("x".to_owned()));
        assert!(matches!(producer.begin(), Err(Fault::Lost(_))));
        assert!(!producer.is_open());
    }
}
