//! The health of a client: whether it can reach the cluster and read its partitions.
//!
//! librdkafka logs a line for each failed attempt of each client. Here its errors and statistics become one state for the
//! health endpoint. A problem is logged when it starts and when it clears. The problems that
//! statistics show are timed by the statistics' own clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use tracing::{debug, info, warn};

use crate::change::lost::LostRecords;
use crate::client::diagnosis::diagnose;
use crate::client::failure::{Failures, explain};
use crate::client::held_back::HeldBackPartitions;
use crate::client::settings::KafkaSettings;
use crate::client::statistics::{self, PartitionOffsets};
use crate::client::unserved::UnservedPartitions;
use crate::problem::SharedProblems;

/// The facilities whose log lines repeat an error that is reported in another way: a connection's as an error callback, a
/// transaction's as the result of its call. A fenced producer may be part of normal operation.
const REPORTED_AS_ERROR: [&str; 8] = [
    "FAIL",
    "ERROR",
    "FATAL",
    "TXNERR",
    "ADDPARTS",
    "ADDOFFSETS",
    "TXNOFFSETS",
    "ENDTXN",
];

/// How long [`ClientHealth::latest_error`] waits for a diagnosis.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(3);
const DIAGNOSIS_STEP: Duration = Duration::from_millis(10);

/// The health of one client, shared with the parts of the service that report it.
#[derive(Debug)]
pub struct ClientHealth {
    settings: KafkaSettings,
    state: Mutex<State>,
    lost: Arc<LostRecords>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest error about a broker since one has accepted a connection.
    latest_error: Option<String>,
    /// The connections that fail because of credentials or certificates.
    failures: Failures,
    /// The number of diagnoses that are not finished.
    diagnoses: usize,
    /// The present problem, if there is one; the outer `None` until the first statistics.
    problem: Option<Option<String>>,
    /// The same, without problems of single partitions.
    outage: Option<Option<String>>,
    /// Why the group refuses this consumer.
    refusal: SharedProblems,
    /// The partitions that an open transaction holds back.
    held_back: HeldBackPartitions,
    /// The partitions whose leader cannot be reached.
    unserved: UnservedPartitions,
    /// The offsets of each partition that is read.
    offsets: BTreeMap<i32, PartitionOffsets>,
    /// The number of rebalances.
    rebalances: u64,
    /// Whether every fetched record was returned to the application.
    is_drained: bool,
}

impl ClientHealth {
    pub(crate) fn new(settings: &KafkaSettings) -> Arc<Self> {
        Arc::new(Self {
            settings: settings.clone(),
            state: Mutex::default(),
            lost: Arc::default(),
        })
    }

    /// Returns the client's present problem, if it has one. Until its first statistics, a new client is connecting.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let state = self.lock();
        self.present(&state, state.problem.as_ref())
    }

    /// Returns the client's present problem, if it keeps the client from reading all partitions: an open transaction that holds
    /// back the records of one is none, nor is a leader that cannot be reached.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        let state = self.lock();
        self.present(&state, state.outage.as_ref())
    }

    fn present(&self, state: &State, problem: Option<&Option<String>>) -> Option<String> {
        match problem {
            None => Some(match state.failures.text() {
                Some(failure) => failure.to_owned(),
                None => format!("connecting to {}", self.settings.bootstrap_servers),
            }),
            Some(Some(problem)) => Some(problem.clone()),
            Some(None) => state.refusal.text().map(str::to_owned),
        }
    }

    /// Returns the next offset that a consumer fetches in a partition, at most 1 s old; negative if it is not known yet.
    pub(crate) fn next_offset(&self, partition: i32) -> Option<i64> {
        self.lock()
            .offsets
            .get(&partition)
            .map(|offsets| offsets.next)
    }

    /// Returns the [lag](PartitionOffsets::lag) of each partition that is read, at most 1 s old, where it is known.
    pub(crate) fn lags(&self) -> Vec<(i32, i64)> {
        let state = self.lock();
        let lag = |(&partition, offsets): (&i32, &PartitionOffsets)| {
            Some((partition, offsets.lag(state.is_drained)?))
        };
        state.offsets.iter().filter_map(lag).collect()
    }

    /// Returns the number of rebalances.
    pub(crate) fn rebalances(&self) -> u64 {
        self.lock().rebalances
    }

    /// Counts a rebalance. A consumer that takes part in one is a member of its group.
    pub(crate) fn note_rebalance(&self) {
        let mut state = self.lock();
        state.rebalances += 1;
        state.refusal.set(BTreeMap::new());
    }

    /// Notes why the group refuses this consumer, which joins it again and again until it is accepted.
    pub(crate) fn note_refusal(&self, refusal: String) {
        self.lock().refusal.set([(String::new(), refusal)].into());
    }

    /// Records whether every fetched record was returned to the application.
    pub(crate) fn note_drained(&self, is_drained: bool) {
        self.lock().is_drained = is_drained;
    }

    /// Returns the records that were deleted before this client read them.
    pub(crate) fn lost(&self) -> &Arc<LostRecords> {
        &self.lost
    }

    /// Returns the explanation of connections that fail because of credentials or certificates.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failures.text().map(str::to_owned)
    }

    /// Returns why connections fail: the explained failure, or else the client's latest error about a broker. Waits for the
    /// diagnosis of a failure.
    pub(crate) fn latest_error(&self) -> Option<String> {
        let started = Instant::now();
        while self.lock().diagnoses > 0 && started.elapsed() < DIAGNOSIS_TIMEOUT {
            thread::sleep(DIAGNOSIS_STEP);
        }
        let state = self.lock();
        let failure = state.failures.text().map(str::to_owned);
        failure.or_else(|| state.latest_error.clone())
    }

    /// Notes an error about a broker.
    fn note_error(self: &Arc<Self>, error: &KafkaError, reason: &str) {
        let Some(failure) = explain(&self.settings, error, reason) else {
            self.lock().latest_error = Some(reason.to_owned());
            return;
        };
        let broker = failure.broker.clone();
        let is_diagnosis_due = self.lock().failures.note(failure);
        if !is_diagnosis_due {
            return;
        }
        self.lock().diagnoses += 1;
        let health = Arc::clone(self);
        // The caller polls a client, which must not wait for a broker.
        let diagnosing = thread::Builder::new()
            .name("diagnosis".to_owned())
            .spawn(move || {
                let text = diagnose(&health.settings, &broker);
                let mut state = health.lock();
                state.failures.diagnose(&broker, text);
                state.diagnoses -= 1;
            });
        if diagnosing.is_err() {
            self.lock().diagnoses -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn observe(&self, statistics: &Statistics) {
        let mut state = self.lock();
        state.held_back.observe(statistics);
        state.offsets = statistics::offsets(statistics);
        state.unserved.observe(statistics);
        for (broker, connection) in statistics::accepting(statistics) {
            state.failures.resolve(broker, connection);
            state.latest_error = None;
        }
        let outage = statistics::outage(
            statistics,
            &self.settings.bootstrap_servers,
            state.latest_error.as_deref(),
            state.failures.text(),
        );
        let Some(outage) = outage else { return };
        let held_back = || state.held_back.problem(statistics);
        let unserved = || state.unserved.problem(statistics);
        let problem = outage.clone().or_else(unserved).or_else(held_back);
        state.outage = Some(outage);
        let previous = state.problem.take().flatten();
        let is_failure = state.failures.text().is_some();
        match (&previous, &problem) {
            (None, Some(problem)) => warn!("{problem}"),
            // It needs an operator, and the problem that was logged may not.
            (Some(previous), Some(problem)) if is_failure && previous != problem => {
                warn!("{problem}");
            }
            (Some(problem), None) => info!("resolved: {problem}"),
            _ => {}
        }
        state.problem = Some(problem);
    }
}

/// A client's callbacks: those that every client has, and a `listener` for those of its kind.
#[derive(Debug)]
pub(crate) struct Events<L> {
    pub(crate) client_health: Arc<ClientHealth>,
    pub(crate) listener: L,
}

/// The callbacks of a client that has no others.
pub(crate) type ClientEvents = Events<()>;

impl ClientEvents {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        Self {
            client_health: ClientHealth::new(settings),
            listener: (),
        }
    }
}

impl<L: Send + Sync> ClientContext for Events<L> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if REPORTED_AS_ERROR.contains(&facility) {
            debug!("librdkafka {facility}: {message}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                warn!("librdkafka {facility}: {message}");
            }
            // A partition is read from another offset than the requested one.
            RDKafkaLogLevel::Warning if facility == "OFFSET" => {
                warn!("librdkafka {facility}: {message}");
            }
            _ => debug!("librdkafka {facility}: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.client_health.observe(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("librdkafka: {error}: {reason}");
        let is_about_one_broker = !reason.contains("brokers are down");
        if is_about_one_broker {
            self.client_health.note_error(&error, reason);
        }
    }
}

impl ConsumerContext for ClientEvents {}

#[cfg(test)]
impl ClientHealth {
    /// Sets the lag of each partition and the number of rebalances.
    pub(crate) fn assume(&self, lags: &[(i32, i64)], rebalances: u64) {
        let mut state = self.lock();
        state.rebalances = rebalances;
        for &(partition, lag) in lags {
            let offsets = PartitionOffsets {
                application: 0,
                end: lag,
                is_active: true,
                ..PartitionOffsets::default()
            };
            state.offsets.insert(partition, offsets);
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;
    use rdkafka::statistics::{Broker, Partition, Topic};

    use super::*;

    fn broker(state: &str, source: &str, waiting: i64, rxidle: i64) -> Statistics {
        let broker = Broker {
            name: "localhost:9092/1".to_owned(),
            state: state.to_owned(),
            source: source.to_owned(),
            nodename: "localhost:9092".to_owned(),
            stateage: 6_000_000,
            waitresp_cnt: waiting,
            rxidle,
            ..Broker::default()
        };
        Statistics {
            brokers: [("localhost:9092/1".to_owned(), broker)].into(),
            ..Statistics::default()
        }
    }

    fn partition(seconds: i64, next: i64, stable: i64, end: i64) -> Statistics {
        let partition = Partition {
            partition: 3,
            fetch_state: "active".to_owned(),
            next_offset: next,
            ls_offset: stable,
            hi_offset: end,
            ..Partition::default()
        };
        let topic = Topic {
            topic: "input".to_owned(),
            partitions: [(3, partition)].into(),
            ..Topic::default()
        };
        Statistics {
            ts: seconds * 1_000_000,
            topics: [("input".to_owned(), topic)].into(),
            ..broker("UP", "learned", 1, 1_000)
        }
    }

    fn events() -> ClientEvents {
        ClientEvents::new(&KafkaSettings::default())
    }

    fn problem(events: &ClientEvents, statistics: Statistics) -> Option<String> {
        events.stats(statistics);
        events.client_health.problem()
    }

    #[test]
    fn a_group_that_refuses_the_consumer_is_a_problem_until_it_takes_part_in_a_rebalance() {
        let events = events();
        let health = &events.client_health;
        let refused = Some("the group refuses it".to_owned());
        assert_eq!(problem(&events, broker("UP", "learned", 1, 1_000)), None);
        health.note_refusal("the group refuses it".to_owned());
        assert_eq!(health.problem(), refused);
        assert_eq!(problem(&events, broker("UP", "learned", 1, 1_000)), refused);
        let unreachable = problem(&events, broker("CONNECT", "learned", 0, 1_000));
        assert!(unreachable.unwrap().starts_with("no broker of"));
        health.note_rebalance();
        assert_eq!(problem(&events, broker("UP", "learned", 1, 1_000)), None);
    }

    #[test]
    fn an_unreachable_cluster_is_a_problem() {
        let events = events();
        assert_eq!(
            events.client_health.problem().as_deref(),
            Some("connecting to localhost:9092")
        );
        assert_eq!(problem(&events, broker("UP", "learned", 1, 1_000)), None);
        events.error(KafkaError::Canceled, "localhost:9092/1: Connection refused");
        events.error(KafkaError::Canceled, "1/1 brokers are down");
        assert_eq!(
            problem(&events, broker("CONNECT", "learned", 0, 1_000)).as_deref(),
            Some("no broker of localhost:9092 is reachable: localhost:9092/1: Connection refused")
        );
    }

    #[test]
    fn a_broker_that_accepts_connections_but_does_not_answer_is_a_problem() {
        let mut statistics = broker("APIVERSION_QUERY", "learned", 1, -1);
        let reported_up = broker("UP", "learned", 1, -1);
        assert!(
            problem(&events(), reported_up)
                .unwrap()
                .contains("does not answer")
        );
        let coordinator = Broker {
            state: "UP".to_owned(),
            source: "logical".to_owned(),
            ..Broker::default()
        };
        statistics
            .brokers
            .insert("GroupCoordinator".to_owned(), coordinator);
        assert_eq!(
            problem(&events(), statistics).as_deref(),
            Some("broker localhost:9092/1 accepts connections but does not answer")
        );
    }

    #[test]
    fn a_handshake_is_not_a_problem_until_it_takes_long() {
        let handshake = |age: i64| {
            let mut statistics = broker("SSL_HANDSHAKE", "learned", 0, -1);
            for broker in statistics.brokers.values_mut() {
                broker.stateage = age;
            }
            statistics
        };
        let connecting = Some("connecting to localhost:9092".to_owned());
        let events = events();
        assert_eq!(problem(&events, handshake(200_000)), connecting);
        assert_eq!(problem(&events, broker("UP", "learned", 1, 1_000)), None);
        assert_eq!(problem(&events, handshake(200_000)), None);
        let mut reconnecting = handshake(200_000);
        for broker in reconnecting.brokers.values_mut() {
            "CONNECT".clone_into(&mut broker.state);
        }
        assert_eq!(problem(&events, reconnecting), None);
        let silent = Some("broker localhost:9092/1 accepts connections but does not answer");
        assert_eq!(problem(&events, handshake(5_000_000)).as_deref(), silent);
        assert_eq!(problem(&events, handshake(200_000)).as_deref(), silent);
    }

    #[test]
    fn a_user_who_is_not_authenticated_is_a_problem_until_the_broker_accepts_a_connection() {
        let events = events();
        let unauthenticated = KafkaError::Global(RDKafkaErrorCode::Authentication);
        let reason = "sasl_plaintext://localhost:9092/1: SASL authentication error: no such user";
        events.error(unauthenticated, reason);
        events.error(KafkaError::Canceled, "localhost:9092/1: Connection refused");
        let text = problem(&events, broker("AUTH_REQ", "learned", 1, -1)).unwrap();
        assert!(
            text.starts_with("broker localhost:9092 does not authenticate user ``"),
            "{text}"
        );
        let connected = |age: i64| {
            let mut statistics = broker("UP", "learned", 1, 1_000);
            for broker in statistics.brokers.values_mut() {
                broker.stateage = age;
            }
            statistics
        };
        assert_eq!(problem(&events, connected(6_000_000)), Some(text));
        assert_eq!(problem(&events, connected(0)), None);
    }

    #[test]
    fn a_broker_that_owes_a_response_for_long_is_a_problem() {
        let events = events();
        assert_eq!(
            problem(&events, broker("UP", "learned", 1, 7_000_000)).as_deref(),
            Some("broker localhost:9092/1 is connected but has not answered for 7 s")
        );
        assert_eq!(
            problem(&events, broker("UP", "learned", 0, 7_000_000)),
            None,
            "it owes no response"
        );
        let mut statistics = broker("UP", "learned", 0, 1_000);
        statistics.brokers.extend(
            broker("UP", "logical", 1, 7_000_000)
                .brokers
                .into_values()
                .map(|broker| ("GroupCoordinator".to_owned(), broker)),
        );
        assert_eq!(
            problem(&events, statistics),
            None,
            "a coordinator's response may take long"
        );
    }

    #[test]
    fn records_that_are_held_back_for_long_are_a_problem_until_they_can_be_read() {
        let events = events();
        assert_eq!(problem(&events, partition(0, 5, 10, 20)), None);
        assert_eq!(problem(&events, partition(1, 10, 10, 20)), None);
        assert_eq!(problem(&events, partition(8, 10, 10, 21)), None);
        assert_eq!(
            problem(&events, partition(9, 10, 10, 22)).as_deref(),
            Some(
                "an open transaction of another producer holds back topic `input`, partition 3: it ends at offset 22, \
                 but can be read only up to offset 10"
            )
        );
        assert_eq!(
            events.client_health.outage(),
            None,
            "the others can be read"
        );
        assert_eq!(
            problem(&events, partition(10, 12, 12, 22)),
            None,
            "the partition made some progress"
        );
        assert_eq!(problem(&events, partition(30, 22, 22, 22)), None);
    }
}
