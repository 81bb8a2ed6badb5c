//! A producer whose every record is part of a transaction, and what to do when one fails.
//!
//! ```text
//!              prepare: build, init_transactions
//!   ┌────────┐ ─────────────────────────────────► ┌───────┐        begin         ┌──────┐
//!   │ absent │                                    │ ready │ ───────────────────► │ open │
//!   └────────┘                                    └───────┘ ◄─────────────────── └──────┘
//!       ▲                                          ▲     commit ok, or Abortable:   │
//!       │                                          │            abort ok            │
//!       └──────────────────────────────────────────┴────────────────────────────────┘
//!          Lost: fatal, fenced, timed out, out of step; or Abortable, and the abort fails
//! ```
//!
//! A call that timed out, or that the client library does not come back from, may still take effect: librdkafka speaks the
//! first version of the transaction protocol, in which a late EndTxn can end a later transaction of the same epoch. So a
//! producer whose outcome is unknown is never used again. Building a new one under the same transactional id fences it:
//! after `init_transactions` the outcome is settled, and the group's committed offsets say which it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use iris_core::ImpossibleSetting;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::client::config;
use crate::client::health::{ClientHealth, Events};
use crate::client::settings::KafkaSettings;
use crate::defence::Defence;
use crate::exactly_once::caller::Caller;
use crate::pause::pause;
use crate::record::OutgoingRecord;
use crate::sys::flush::flush;

/// How long one transactional call may take. Short enough that a stalled worker says why within 15 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// How much later than asked for a call may come back.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// How long to wait for room in the queue, or for the end of an abort, at a time.
const POLL_STEP: Duration = Duration::from_millis(1);

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
    /// What kind of fault it is, one of a handful.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Abortable(_) => "abortable",
            Self::Lost(_) => "lost",
            Self::NotAuthorised(_) => "not_authorised",
        }
    }

    /// Judges an error of a transactional call.
    fn of(call: &str, error: &KafkaError) -> Self {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        let text = match code {
            Some(Code::OperationTimedOut) => format!("{call}: the brokers did not answer in time"),
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => format!(
                "{call}: another producer has taken over the transactional id ({error}); if that happens again and \
                 again, two processes share it: give each its own"
            ),
            _ => format!("{call}: {error}"),
        };
        match (error, code) {
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

/// An input record, by partition and offset.
pub(crate) type Source = (i32, i64);

/// How many bits of a word an offset takes: at a million records a second, it is enough for nine years of a partition.
const OFFSET_BITS: u32 = 48;

/// A source in a word, as it travels with an outcome to its delivery report.
fn pack((partition, offset): Source) -> usize {
    usize::try_from(i64::from(partition) << OFFSET_BITS | offset).unwrap_or(usize::MAX)
}

fn unpack(word: usize) -> Source {
    let word = word as u64;
    let offset = word & ((1 << OFFSET_BITS) - 1);
    let partition = i32::try_from(word >> OFFSET_BITS).unwrap_or(i32::MAX);
    (partition, i64::try_from(offset).unwrap_or(i64::MAX))
}

/// The sources of outcomes that a broker refused as too large.
#[derive(Debug, Default)]
struct TooLarge(Mutex<BTreeSet<Source>>);

impl TooLarge {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Source>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducerContext for Events<TooLarge> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, source: usize) {
        // A record that is not delivered fails its transaction; the commit tells.
        if let Err((error, _)) = result {
            debug!("not delivered: {error}");
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                self.listener.lock().insert(unpack(source));
            }
        }
    }
}

type Client = Caller<BaseProducer<Events<TooLarge>>>;

/// Where the producer is in the picture above.
enum State {
    Absent,
    Ready(Client),
    Open(Client),
}

/// A producer of transactions under one transactional id.
pub struct TransactionalProducer {
    config: ClientConfig,
    transactional_id: String,
    client_health: Arc<ClientHealth>,
    call_timeout: Duration,
    state: State,
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionalProducer")
            .field("transactional_id", &self.transactional_id)
            .finish_non_exhaustive()
    }
}

/// Drops a producer on a thread of its own. Closing a client waits for its threads, which can take long while brokers are
/// out of reach; nothing depends on it, since the next producer fences this one.
fn close(producer: Client) {
    let closing = thread::Builder::new().name("closing".to_owned());
    if let Err(error) = closing.spawn(move || drop(producer)) {
        warn!("cannot start a thread to close the producer: {error}");
    }
}

impl Drop for TransactionalProducer {
    fn drop(&mut self) {
        self.dispose();
    }
}

/// What a transaction takes with it of the input: the offsets at which reading goes on.
pub(crate) struct Progress<'a> {
    pub(crate) topic: &'a str,
    pub(crate) offsets: &'a Offsets,
    /// Proof that the partitions are still this consumer's.
    pub(crate) group: ConsumerGroupMetadata,
}

impl TransactionalProducer {
    /// Describes a producer; [`prepare`](Self::prepare) makes it usable.
    ///
    /// # Errors
    /// [`ImpossibleSetting`] if a password's file cannot be read.
    pub fn new(
        settings: &KafkaSettings,
        service: &str,
        transactional_id: &str,
    ) -> Result<Self, ImpossibleSetting> {
        Ok(Self {
            config: config::transactional_producer(settings, service, transactional_id)?,
            transactional_id: transactional_id.to_owned(),
            client_health: ClientHealth::new(&settings.bootstrap_servers),
            call_timeout: CALL_TIMEOUT,
            state: State::Absent,
        })
    }

    /// Whether the cluster is reachable.
    #[must_use]
    pub fn client_health(&self) -> &Arc<ClientHealth> {
        &self.client_health
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
        while matches!(self.state, State::Absent) {
            if stop.is_cancelled() {
                return Ok(false);
            }
            match self.build() {
                Ok(producer) => self.state = State::Ready(producer),
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

    fn build(&self) -> Result<Client, Fault> {
        let context = Events {
            client_health: Arc::clone(&self.client_health),
            listener: TooLarge::default(),
        };
        let producer: BaseProducer<Events<TooLarge>> = self
            .config
            .create_with_context(context)
            .map_err(|error| Fault::of("creating the producer", &error))?;
        let producer = Caller::start(producer)
            .map_err(|error| Fault::Lost(format!("starting a thread: {error}")))?;
        let timeout = self.call_timeout;
        let initialised = self.call(&producer, "init_transactions", move |producer| {
            producer.init_transactions(timeout)
        });
        match initialised {
            Ok(()) => Ok(producer),
            Err(fault) => {
                close(producer);
                Err(fault)
            }
        }
    }

    /// Makes a transactional call. One that does not come back is one whose outcome is unknown.
    fn call(
        &self,
        producer: &Client,
        name: &str,
        call: impl FnOnce(&BaseProducer<Events<TooLarge>>) -> KafkaResult<()> + Send + 'static,
    ) -> Result<(), Fault> {
        let answer = producer.call(self.call_timeout + CALL_GRACE, call);
        Self::judge(name, answer)
    }

    fn judge(name: &str, answer: Option<KafkaResult<()>>) -> Result<(), Fault> {
        match answer {
            Some(answer) => answer.map_err(|error| Fault::of(name, &error)),
            None => Err(Fault::Lost(format!("{name}: the client did not come back"))),
        }
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    fn opened(&self) -> Result<&Client, Fault> {
        match &self.state {
            State::Open(producer) => Ok(producer),
            _ => Err(Fault::Lost("there is no open transaction".to_owned())),
        }
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`Fault`] if the producer cannot.
    pub fn begin(&mut self) -> Result<(), Fault> {
        match std::mem::replace(&mut self.state, State::Absent) {
            State::Ready(producer) => {
                let begun = self.call(&producer, "begin_transaction", |producer| {
                    producer.begin_transaction()
                });
                self.state = State::Open(producer);
                begun
            }
            other => {
                self.state = other;
                Err(Fault::Lost("the producer is not ready".to_owned()))
            }
        }
    }

    /// Adds a record to the open transaction. Waits while the client's queue is full.
    ///
    /// # Errors
    /// [`Fault`] if the transaction cannot go on.
    pub fn send(&self, record: OutgoingRecord<'_>) -> Result<(), Fault> {
        self.send_outcome(record, (0, 0))
    }

    /// Adds an outcome of an input record to the open transaction. Waits while the client's queue is full.
    pub(crate) fn send_outcome(
        &self,
        record: OutgoingRecord<'_>,
        source: Source,
    ) -> Result<(), Fault> {
        let producer = self.opened()?.client();
        let mut record = record.into_base_record(pack(source));
        let mut full_since = None;
        loop {
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused))
                    if full_since.get_or_insert_with(Instant::now).elapsed()
                        < self.call_timeout =>
                {
                    producer.poll(POLL_STEP);
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

    /// The input records of which an outcome was refused as too large, since this was last asked.
    pub(crate) fn take_too_large(&self) -> BTreeSet<Source> {
        match &self.state {
            State::Absent => BTreeSet::new(),
            State::Ready(producer) | State::Open(producer) => {
                std::mem::take(&mut *producer.client().context().listener.lock())
            }
        }
    }

    /// Commits the open transaction.
    ///
    /// # Errors
    /// [`Fault`]; unless it is [`Fault::Lost`], nothing of the transaction will ever be visible.
    pub fn commit(&mut self) -> Result<(), Fault> {
        self.commit_with(None)
    }

    /// Commits the open transaction, and with it the input's offsets.
    pub(crate) fn commit_with(&mut self, progress: Option<Progress<'_>>) -> Result<(), Fault> {
        let producer = self.opened()?;
        self.drain(producer.client())?;
        let timeout = self.call_timeout;
        if let Some(progress) = progress {
            let mut list = TopicPartitionList::with_capacity(progress.offsets.len());
            for (&partition, &offset) in progress.offsets {
                list.add_partition_offset(progress.topic, partition, Offset::Offset(offset))
                    .map_err(|error| Fault::of("collecting offsets", &error))?;
            }
            let group = progress.group;
            self.call(producer, "send_offsets_to_transaction", move |producer| {
                producer.send_offsets_to_transaction(&list, &group, timeout)
            })?;
        }
        self.call(producer, "commit_transaction", move |producer| {
            producer.commit_transaction(timeout)
        })?;
        self.end();
        Ok(())
    }

    /// From open to ready.
    fn end(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Absent) {
            State::Open(producer) | State::Ready(producer) => State::Ready(producer),
            State::Absent => State::Absent,
        };
    }

    /// Makes an end of a transaction that failed: aborts it where that is possible, and else drops the producer, to
    /// be built anew by [`prepare`](Self::prepare).
    pub fn give_up(&mut self, fault: &Fault) {
        let is_usable = match (fault, &self.state) {
            (Fault::Abortable(_), State::Open(producer)) => self
                .abort(producer)
                .inspect_err(|error| warn!("aborting failed, the producer is replaced: {error}"))
                .is_ok(),
            (Fault::Abortable(_), _) => true,
            _ => !Defence::Rebuild.is_on(),
        };
        if is_usable {
            self.end();
        } else {
            self.dispose();
        }
    }

    fn dispose(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Absent);
        if let State::Ready(producer) | State::Open(producer) = state {
            close(producer);
        }
    }

    fn abort(&self, producer: &Client) -> Result<(), Fault> {
        // Aborting discards what is queued, and waits for the reports about it, which come only to who polls.
        let timeout = self.call_timeout;
        let answer = producer.call_while(
            timeout + CALL_GRACE,
            POLL_STEP,
            |producer| {
                producer.poll(POLL_STEP);
            },
            move |producer| producer.abort_transaction(timeout),
        );
        Self::judge("abort_transaction", answer)
    }

    /// Waits until the brokers have acknowledged every record of the transaction, or refused it.
    fn drain(&self, producer: &BaseProducer<Events<TooLarge>>) -> Result<(), Fault> {
        let give_up = Instant::now() + self.call_timeout;
        while !flush(producer) {
            if Instant::now() >= give_up {
                // Whether they were appended is unknown, and they may be yet.
                return Err(Fault::Lost(format!(
                    "the brokers did not acknowledge the transaction's records within {} s",
                    self.call_timeout.as_secs()
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::mocking::MockCoordinator;
    use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Answer};

    use super::*;
    use crate::client::simulated::SimulatedCluster;
    use crate::record::Headers;

    const TOPIC: &str = "predictions";

    /// A producer and a group's member on a cluster that answers as it is told to.
    struct Mock {
        cluster: SimulatedCluster,
        producer: TransactionalProducer,
        consumer: BaseConsumer,
    }

    impl Mock {
        fn new() -> Self {
            Self::with_brokers(1)
        }

        fn with_brokers(brokers: i32) -> Self {
            let cluster = SimulatedCluster::new(brokers, &[TOPIC, "input"]);
            let settings = &cluster.settings;
            let mut producer = TransactionalProducer::new(settings, "test", "id").unwrap();
            producer.call_timeout = Duration::from_secs(2);
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &settings.bootstrap_servers)
                .set("group.id", "group")
                .create()
                .unwrap();
            Self {
                cluster,
                producer,
                consumer,
            }
        }

        fn answer(&self, api: Api, answers: &[Answer]) {
            self.cluster.brokers.request_errors(api, answers);
        }

        fn prepare(&mut self) -> Result<bool, Fault> {
            self.producer
                .prepare(&CancellationToken::new(), &mut |_| ())
        }

        /// One whole transaction: a record and an offset.
        fn transact(&mut self) -> Result<(), Fault> {
            self.producer.begin()?;
            self.producer.send(OutgoingRecord {
                topic: TOPIC,
                partition: Some(0),
                timestamp: None,
                key: None,
                value: Some(b"a prediction"),
                headers: Headers::default(),
            })?;
            self.producer.commit_with(Some(Progress {
                topic: "input",
                offsets: &[(0, 1)].into(),
                group: self.consumer.group_metadata().unwrap(),
            }))
        }

        /// What a transaction comes to when a kind of request is answered like this.
        fn fault(&mut self, api: Api, answers: &[Answer]) -> Fault {
            assert_eq!(self.prepare(), Ok(true));
            self.answer(api, answers);
            self.transact().unwrap_err()
        }

        /// Gives up as the fault demands; then work goes on with the old producer or a new one.
        fn recovers(&mut self, fault: &Fault, keeps_its_producer: bool) {
            for api in [Api::Produce, Api::TxnOffsetCommit, Api::EndTxn] {
                self.cluster.brokers.clear_request_errors(api);
            }
            self.producer.give_up(fault);
            let is_kept = matches!(self.producer.state, State::Ready(_));
            assert_eq!(is_kept, keeps_its_producer, "{fault}");
            assert_eq!(self.prepare(), Ok(true));
            assert_eq!(self.transact(), Ok(()));
        }
    }

    #[test]
    fn a_transaction_commits_and_its_producer_serves_the_next() {
        let mut mock = Mock::new();
        assert_eq!(mock.prepare(), Ok(true));
        for _ in 0..3 {
            assert_eq!(mock.transact(), Ok(()));
            assert!(matches!(mock.producer.state, State::Ready(_)));
        }
    }

    #[test]
    fn errors_that_pass_are_waited_out() {
        use Answer::*;
        let mut mock = Mock::new();
        mock.answer(
            Api::InitProducerId,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE],
        );
        assert_eq!(mock.prepare(), Ok(true));
        mock.answer(
            Api::AddPartitionsToTxn,
            &[RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS],
        );
        mock.answer(Api::Produce, &[RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION]);
        mock.answer(Api::TxnOffsetCommit, &[RD_KAFKA_RESP_ERR_NOT_COORDINATOR]);
        mock.answer(
            Api::EndTxn,
            &[RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS],
        );
        assert_eq!(mock.transact(), Ok(()));
    }

    #[test]
    fn an_abortable_error_aborts_and_keeps_the_producer() {
        use Answer::*;
        let cases = [
            (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION),
            (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID),
            (Api::TxnOffsetCommit, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID),
        ];
        for (api, answer) in cases {
            let mut mock = Mock::new();
            let fault = mock.fault(api, &[answer]);
            assert!(
                matches!(fault, Fault::Abortable(_)),
                "{answer:?}: {fault:?}"
            );
            mock.recovers(&fault, true);
        }
    }

    #[test]
    fn a_source_travels_in_a_word() {
        for source in [(0, 0), (4, 17), (65_535, (1 << OFFSET_BITS) - 1)] {
            assert_eq!(unpack(pack(source)), source);
        }
    }

    #[test]
    fn a_record_that_is_refused_aborts_and_work_goes_on() {
        let mut mock = Mock::new();
        let refusal = [Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE];
        let fault = mock.fault(Api::Produce, &refusal);
        assert!(matches!(fault, Fault::Abortable(_)), "{fault:?}");
        assert_eq!(mock.producer.take_too_large(), [(0, 0)].into());
        mock.producer.give_up(&fault);
        // librdkafka notices the gap in its sequence numbers with the next transaction, and mends it with its abort.
        if let Err(fault) = mock.transact() {
            mock.recovers(&fault, true);
        }
    }

    #[test]
    fn an_abort_that_fails_replaces_the_producer() {
        use Answer::*;
        let mut mock = Mock::new();
        let fault = mock.fault(
            Api::TxnOffsetCommit,
            &[RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION],
        );
        mock.answer(Api::EndTxn, &[RD_KAFKA_RESP_ERR_PRODUCER_FENCED]);
        mock.producer.give_up(&fault);
        assert!(matches!(mock.producer.state, State::Absent));
        assert_eq!(mock.prepare(), Ok(true));
        assert_eq!(mock.transact(), Ok(()));
    }

    #[test]
    fn a_fatal_error_replaces_the_producer() {
        use Answer::*;
        let cases = [
            (Api::EndTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
            (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
            (Api::EndTxn, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE),
            (
                Api::TxnOffsetCommit,
                RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            ),
            (Api::AddPartitionsToTxn, RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
        ];
        for (api, answer) in cases {
            let mut mock = Mock::new();
            let fault = mock.fault(api, &[answer]);
            assert!(matches!(fault, Fault::Lost(_)), "{answer:?}: {fault:?}");
            mock.recovers(&fault, false);
        }
    }

    #[test]
    fn a_commit_that_is_not_answered_in_time_replaces_the_producer() {
        let mut mock = Mock::new();
        let never = [Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 100_000];
        let fault = mock.fault(Api::EndTxn, &never);
        let text = "commit_transaction: the brokers did not answer in time";
        assert_eq!(fault, Fault::Lost(text.to_owned()));
        mock.recovers(&fault, false);
    }

    /// librdkafka waits for a coordinator that is down without an end, whatever the limit.
    #[test]
    fn a_call_that_does_not_come_back_replaces_the_producer() {
        let mut mock = Mock::with_brokers(2);
        let (group, id) = ("group".to_owned(), "id".to_owned());
        mock.cluster
            .brokers
            .partition_leader(TOPIC, 0, Some(1))
            .unwrap();
        mock.cluster
            .brokers
            .coordinator(MockCoordinator::Transaction(id), 1)
            .unwrap();
        mock.cluster
            .brokers
            .coordinator(MockCoordinator::Group(group), 2)
            .unwrap();
        assert_eq!(mock.prepare(), Ok(true));
        assert_eq!(mock.transact(), Ok(()));
        mock.cluster.brokers.broker_down(2).unwrap();
        let began = Instant::now();
        let fault = mock.transact().unwrap_err();
        let text = "send_offsets_to_transaction: the client did not come back";
        assert_eq!(fault, Fault::Lost(text.to_owned()));
        assert!(began.elapsed() < Duration::from_secs(10));
        mock.cluster.brokers.broker_up(2).unwrap();
        mock.recovers(&fault, false);
    }

    #[test]
    fn records_that_are_not_acknowledged_in_time_replace_the_producer() {
        let mut mock = Mock::new();
        assert_eq!(mock.prepare(), Ok(true));
        assert_eq!(mock.transact(), Ok(()));
        mock.cluster
            .brokers
            .broker_round_trip_time(1, Duration::from_secs(60))
            .unwrap();
        let fault = mock.transact().unwrap_err();
        assert!(matches!(fault, Fault::Lost(_)), "{fault:?}");
        mock.producer.give_up(&fault);
        assert!(matches!(mock.producer.state, State::Absent));
    }

    #[test]
    fn a_missing_permission_is_told_and_not_tried_again() {
        use Answer::*;
        let mut mock = Mock::new();
        mock.answer(
            Api::InitProducerId,
            &[RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
        );
        assert!(matches!(mock.prepare(), Err(Fault::NotAuthorised(_))));
        let cases = [
            (
                Api::AddPartitionsToTxn,
                RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            ),
            (
                Api::TxnOffsetCommit,
                RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            ),
        ];
        for (api, answer) in cases {
            let fault = Mock::new().fault(api, &[answer]);
            assert!(
                matches!(fault, Fault::NotAuthorised(_)),
                "{answer:?}: {fault:?}"
            );
        }
    }

    #[test]
    fn records_in_the_queue_do_not_hold_an_abort_up() {
        let mut mock = Mock::new();
        assert_eq!(mock.prepare(), Ok(true));
        mock.producer.begin().unwrap();
        for _ in 0..10_000 {
            let record = OutgoingRecord {
                topic: TOPIC,
                partition: Some(0),
                timestamp: None,
                key: None,
                value: Some(b"x"),
                headers: Headers::default(),
            };
            mock.producer.send(record).unwrap();
        }
        mock.recovers(&Fault::Abortable("lost the partition".to_owned()), true);
    }

    #[test]
    fn what_is_not_known_to_be_abortable_replaces_the_producer() {
        let timed_out = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
        assert!(matches!(Fault::of("call", &timed_out), Fault::Lost(_)));
        let canceled = KafkaError::Canceled;
        assert!(matches!(Fault::of("call", &canceled), Fault::Lost(_)));
    }

    #[test]
    fn giving_up_without_a_producer_leaves_none() {
        let settings = KafkaSettings::default();
        let mut producer = TransactionalProducer::new(&settings, "test", "id").unwrap();
        producer.give_up(&Fault::Abortable("x".to_owned()));
        assert!(matches!(producer.begin(), Err(Fault::Lost(_))));
        assert!(!producer.is_open());
    }
}
