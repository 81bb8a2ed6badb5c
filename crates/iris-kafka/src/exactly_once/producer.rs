//! A producer that writes in transactions only, and how it recovers from a failed one.
//!
//! ```text
//!              prepare: build, init_transactions
//!   ┌────────┐ ─────────────────────────────────► ┌───────┐        begin         ┌──────┐
//!   │ absent │                                    │ ready │ ───────────────────► │ open │
//!   └────────┘                                    └───────┘ ◄─────────────────── └──────┘
//!       ▲                                          ▲     commit ok, or Abortable:   │
//!       │                                          │            abort ok            │
//!       └──────────────────────────────────────────┴────────────────────────────────┘
//!          Lost: fatal, fenced, timed out, wrong state; or Abortable, and the abort fails
//! ```
//!
//! A call that timed out, or that the client library never returned from, can still take effect: librdkafka uses the first
//! version of the transaction protocol, in which a late EndTxn can end a later transaction of the same epoch. A producer
//! with an unknown outcome is therefore never used again. Building a new one under the same transactional id fences it:
//! after `init_transactions` the outcome is settled, and the group's committed offsets show which one it was.

mod sending;
mod settling;
mod topics;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use iris_core::InvalidSetting;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::change::describer::Describer;
use crate::client::closing::close;
use crate::client::config;
use crate::client::connected::Connected;
use crate::client::health::{ClientHealth, Events};
use crate::client::settings::KafkaSettings;
use crate::defence::Defence;
use crate::exactly_once::caller::{Begun, Caller};
use crate::exactly_once::fault::Fault;
use crate::exactly_once::progress::Progress;
use crate::exactly_once::refusals::RefusalLog;
use crate::pause::Backoff;
use crate::sys::outbound::OutboundTopic;

/// How long one transactional call may take. Short enough that a worker reports the reason of a stall within 15 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// How much later than its own timeout a call may return.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// The name of the call that adds positions in the input to a transaction.
const SEND_OFFSETS: &str = "send_offsets_to_transaction";

/// How long one wait for room in the queue, or for the end of an abort, lasts.
const POLL_STEP: Duration = Duration::from_millis(1);

/// The delays between attempts to register the transactional id.
const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(5);

type Inner = Connected<BaseProducer<Events<RefusalLog>>>;

/// A client, with all that keeps it alive.
struct Client {
    /// The topics that were sent to since a transaction failed. A topic that was deleted meanwhile would refuse records until the
    /// next metadata request, so they are forgotten then.
    topics: Vec<(String, OutboundTopic<usize>)>,
    describer: Describer,
    caller: Caller<Inner>,
}

impl Deref for Client {
    type Target = Caller<Inner>;

    fn deref(&self) -> &Caller<Inner> {
        &self.caller
    }
}

/// The states of the picture above.
enum ProducerState {
    Absent,
    Ready(Client),
    Open(Client),
}

/// A producer of transactions under one transactional id.
pub struct TransactionalProducer {
    settings: KafkaSettings,
    service: String,
    transactional_id: String,
    client_health: Arc<ClientHealth>,
    call_timeout: Duration,
    state: ProducerState,
    /// Whether this client has aborted what earlier ones have left open.
    is_settled: bool,
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionalProducer")
            .field("transactional_id", &self.transactional_id)
            .finish_non_exhaustive()
    }
}

impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        self.discard();
    }
}

impl TransactionalProducer {
    /// Describes a producer; [`prepare`](Self::prepare) makes it usable.
    ///
    /// # Errors
    /// [`InvalidSetting`] if a file of a password or a certificate cannot be used.
    pub fn new(
        settings: &KafkaSettings,
        service: &str,
        transactional_id: &str,
    ) -> Result<Self, InvalidSetting> {
        config::transactional_producer(settings, service, transactional_id)?;
        Ok(Self {
            settings: settings.clone(),
            service: service.to_owned(),
            transactional_id: transactional_id.to_owned(),
            client_health: ClientHealth::new(settings),
            call_timeout: CALL_TIMEOUT,
            state: ProducerState::Absent,
            is_settled: false,
        })
    }

    /// Builds the producer if it is absent, which fences every other one of the same transactional id. Retries until that
    /// succeeds, and calls `waiting` with the reason before each wait. Returns whether the producer is usable; it is not if
    /// `stop` was cancelled meanwhile.
    ///
    /// # Errors
    /// [`Fault::NotAuthorised`] if the user may not use the transactional id.
    pub fn prepare(
        &mut self,
        stop: &CancellationToken,
        waiting: &mut dyn FnMut(String),
    ) -> Result<bool, Fault> {
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        while self.is_absent() {
            if stop.is_cancelled() {
                return Ok(false);
            }
            match self.try_to_prepare() {
                Err(fault) if !matches!(fault, Fault::NotAuthorised(_)) => {
                    waiting(fault.to_string());
                    backoff.pause(stop);
                }
                prepared => prepared?,
            }
        }
        Ok(true)
    }

    /// Whether there is no client, so that the producer has to be prepared.
    fn is_absent(&self) -> bool {
        matches!(self.state, ProducerState::Absent)
    }

    /// Builds the producer as [`prepare`](Self::prepare) does, if it is absent, and tries only once.
    ///
    /// # Errors
    /// [`Fault`]; unless it is [`Fault::NotAuthorised`], it is logged, and a retry may help.
    pub(super) fn try_to_prepare(&mut self) -> Result<(), Fault> {
        if !self.is_absent() {
            return Ok(());
        }
        let built = self.build().inspect_err(|fault| {
            if !matches!(fault, Fault::NotAuthorised(_)) {
                warn!(
                    "cannot register transactional id `{}`, trying again: {fault}",
                    self.transactional_id
                );
            }
        });
        self.state = ProducerState::Ready(built?);
        self.is_settled = false;
        Ok(())
    }

    /// Serves the client's events, which wait in memory until then. To be called now and then between transactions.
    pub(super) fn serve(&self) {
        if let ProducerState::Ready(producer) = &self.state {
            serve(producer.client());
        }
    }

    fn build(&self) -> Result<Client, Fault> {
        let context = Events {
            client_health: Arc::clone(&self.client_health),
            listener: RefusalLog::default(),
        };
        // The files of passwords and certificates may have changed since the last time.
        let config =
            config::transactional_producer(&self.settings, &self.service, &self.transactional_id)
                .map_err(|error| Fault::Lost(format!("creating the producer: kafka.{error}")))?;
        let producer = Inner::new(&config, &self.settings, context)
            .map_err(|error| Fault::of("creating the producer", &error))?;
        let describer = Describer::new(producer.alive())
            .map_err(|error| Fault::of("creating the producer", &error))?;
        let caller = Caller::start(producer)
            .map_err(|error| Fault::Lost(format!("starting a thread: {error}")))?;
        let producer = Client {
            topics: Vec::new(),
            describer,
            caller,
        };
        let timeout = self.call_timeout;
        let initialised = self.call(&producer, "init_transactions", move |producer| {
            producer.init_transactions(timeout)
        });
        match initialised {
            Ok(()) => Ok(producer),
            Err(fault) => {
                close(producer, Duration::ZERO);
                Err(fault)
            }
        }
    }

    /// How long a transactional call may take until the client is taken to be stuck.
    fn call_limit(&self) -> Duration {
        self.call_timeout + CALL_GRACE
    }

    /// Makes a transactional call. If it does not return in time, its outcome is unknown.
    fn call(
        &self,
        producer: &Client,
        name: &str,
        call: impl FnOnce(&Inner) -> KafkaResult<()> + Send + 'static,
    ) -> Result<(), Fault> {
        let answer = producer.call(self.call_limit(), call);
        self.end_call(producer, name, answer)
    }

    fn end_call(
        &self,
        producer: &Client,
        name: &str,
        answer: Option<KafkaResult<()>>,
    ) -> Result<(), Fault> {
        Self::judge(name, answer).map_err(|fault| self.explain(producer, fault))
    }

    /// Adds to a fault why connections fail, if the client has reported that.
    fn explain(&self, producer: &Client, fault: Fault) -> Fault {
        // The client reports errors of connections when it is polled.
        serve(producer.client());
        match (fault, self.client_health.failure()) {
            (Fault::Lost(text), Some(failure)) => Fault::Lost(format!("{text}: {failure}")),
            (fault, _) => fault,
        }
    }

    fn judge(name: &str, answer: Option<KafkaResult<()>>) -> Result<(), Fault> {
        match answer {
            Some(answer) => answer.map_err(|error| Fault::of(name, &error)),
            None => Err(Fault::Lost(format!("{name}: the client did not return"))),
        }
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, ProducerState::Open(_))
    }

    /// Whether another producer has taken over the transactional id.
    pub(super) fn is_fenced(&self) -> bool {
        use RDKafkaErrorCode::{Fenced, InvalidProducerEpoch, ProducerFenced};
        let error = match &self.state {
            ProducerState::Absent => None,
            ProducerState::Ready(producer) | ProducerState::Open(producer) => {
                producer.client().client().fatal_error()
            }
        };
        matches!(
            error,
            Some((Fenced | ProducerFenced | InvalidProducerEpoch, _))
        )
    }

    fn opened(&self) -> Result<&Client, Fault> {
        match &self.state {
            ProducerState::Open(producer) => Ok(producer),
            _ => Err(no_transaction()),
        }
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`Fault`] if the producer cannot.
    pub fn begin(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.state, ProducerState::Absent) {
            ProducerState::Ready(producer) => {
                producer.client().context().listener.clear();
                let begun = self.call(&producer, "begin_transaction", |producer| {
                    producer.begin_transaction()
                });
                self.state = ProducerState::Open(producer);
                begun
            }
            other => {
                self.state = other;
                Err(Fault::Lost("the producer is not ready".to_owned()))
            }
        }
    }

    /// Commits the open transaction.
    ///
    /// # Errors
    /// [`Fault`]; unless it is [`Fault::Lost`], no record of the transaction will ever be visible.
    pub fn commit(&mut self) -> Result<(), Fault> {
        let producer = self.opened()?;
        self.drain()?;
        let timeout = self.call_timeout;
        self.call(producer, "commit_transaction", move |producer| {
            producer.commit_transaction(timeout)
        })?;
        self.end();
        Ok(())
    }

    /// Adds positions in the input to the open transaction, over those that were added for the same partitions.
    pub(crate) fn send_offsets(&self, progress: Progress<'_>) -> Result<(), Fault> {
        let producer = self.opened()?;
        let sent = self.begin_offsets(producer, progress)?.wait();
        self.end_call(producer, SEND_OFFSETS, sent)
    }

    fn begin_offsets(
        &self,
        producer: &Client,
        progress: Progress<'_>,
    ) -> Result<Begun<KafkaResult<()>>, Fault> {
        let list = progress.to_list()?;
        let group = progress.group;
        let timeout = self.call_timeout;
        Ok(producer.begin(self.call_limit(), move |producer| {
            let send = || producer.send_offsets_to_transaction(&list, &group, timeout);
            // If a record is refused meanwhile, this fails because of the transaction's state. The next call names the cause.
            send().map_err(|error| match &error {
                KafkaError::Transaction(failed) if failed.txn_requires_abort() => {
                    send().err().unwrap_or(error)
                }
                _ => error,
            })
        }))
    }

    /// Adds positions as [`send_offsets`](Self::send_offsets) does, and meanwhile waits until the brokers have acknowledged or
    /// refused every record of the transaction.
    pub(in crate::exactly_once) fn drain_with(&self, progress: Progress<'_>) -> Result<(), Fault> {
        let producer = self.opened()?;
        let offsets = self.begin_offsets(producer, progress)?;
        let drained = self.drain();
        // Also after a fault, so that no call is in progress when the transaction ends.
        let sent = offsets.wait();
        drained?;
        self.end_call(producer, SEND_OFFSETS, sent)
    }

    /// Changes the state from open to ready.
    fn end(&mut self) {
        self.state = match std::mem::replace(&mut self.state, ProducerState::Absent) {
            ProducerState::Open(producer) | ProducerState::Ready(producer) => {
                ProducerState::Ready(producer)
            }
            ProducerState::Absent => ProducerState::Absent,
        };
    }

    /// Ends a transaction that failed. Aborts it if the fault allows that and the abort succeeds. Otherwise discards the
    /// producer; [`prepare`](Self::prepare) then builds a new one.
    pub fn abort(&mut self, fault: &Fault) {
        let is_usable = match (fault, &self.state) {
            (Fault::Abortable(_), ProducerState::Open(producer)) => self
                .abort_transaction(producer)
                .inspect_err(|error| warn!("aborting failed, replacing the producer: {error}"))
                .is_ok(),
            (Fault::Abortable(_), _) => true,
            _ => !Defence::Rebuild.is_on(),
        };
        if is_usable {
            self.end();
            if let ProducerState::Ready(producer) = &mut self.state {
                producer.topics.clear();
            }
        } else {
            self.discard();
        }
    }

    fn discard(&mut self) {
        let state = std::mem::replace(&mut self.state, ProducerState::Absent);
        if let ProducerState::Ready(producer) | ProducerState::Open(producer) = state {
            close(producer, Duration::ZERO);
        }
    }

    fn abort_transaction(&self, producer: &Client) -> Result<(), Fault> {
        // An abort purges the queue and waits for the delivery reports of the purged records, which only a poll serves.
        let timeout = self.call_timeout;
        let answer = producer.call_while(
            self.call_limit(),
            POLL_STEP,
            |producer| {
                producer.poll(POLL_STEP);
            },
            move |producer| producer.abort_transaction(timeout),
        );
        Self::judge("abort_transaction", answer)
    }
}

/// Serves the events that wait. A poll serves only one.
fn serve(producer: &Inner) {
    // Records that are not delivered count as well, and a poll that finds no event returns at once.
    for _ in 0..producer.in_flight_count() {
        producer.poll(Duration::ZERO);
    }
}

/// The fault of a caller that has not opened a transaction.
fn no_transaction() -> Fault {
    Fault::Lost("there is no open transaction".to_owned())
}

#[cfg(test)]
mod tests;
