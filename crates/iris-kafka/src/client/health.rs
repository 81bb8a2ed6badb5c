//! What keeps a client from its work as far as the cluster goes, told once when it changes.
//!
//! librdkafka logs a line for each failed attempt of each client. Here its errors and statistics become one state that
//! a health endpoint can show; a change is logged, a repetition is not. The statistics' own clock is the only one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::{Broker, Partition, Statistics};
use tracing::{debug, info, warn};

use crate::client::settings::KafkaSettings;

/// A broker that owes an answer and was not heard of for longer does not answer. A consumer's fetches are answered
/// twice a second.
const SILENCE_MICROS: i64 = 6_000_000;

/// What a connection goes through before it can be used. librdkafka drops one on which requests have timed out, and then
/// gets no further than this with a broker that is frozen.
const HANDSHAKE: [&str; 6] = [
    "APIVERSION_QUERY",
    "AUTH_HANDSHAKE",
    "AUTH_LEGACY",
    "AUTH_REQ",
    "SSL_HANDSHAKE",
    "UP",
];

/// Records that are there but may not be read for longer are held back. An open transaction does that, and a short one
/// is nothing to speak of.
const HELD_BACK_MICROS: i64 = 8_000_000;

/// What librdkafka logs and reports besides: troubles of connections as errors, troubles of transactions as what its
/// calls return. They are told from there, once, and a fenced producer may be nothing out of the ordinary.
const COMES_AS_ERROR: [&str; 8] = [
    "FAIL",
    "ERROR",
    "FATAL",
    "TXNERR",
    "ADDPARTS",
    "ADDOFFSETS",
    "TXNOFFSETS",
    "ENDTXN",
];

/// What keeps a client from its work, if anything does. Shared between a client and whoever reports on it.
#[derive(Debug)]
pub struct ClientHealth {
    bootstrap_servers: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the client said last about a broker it cannot reach.
    latest_error: Option<String>,
    /// What is wrong at present; unknown until the client has reported for the first time.
    problem: Option<Option<String>>,
    /// Where reading has come to the last stable offset although the partition goes on, and since when.
    held_back: BTreeMap<(String, i32), HeldBack>,
    /// Where a consumer has come to, by partition.
    places: BTreeMap<i32, Reading>,
    /// How often partitions were given or taken.
    rebalances: u64,
    /// Whether all that was fetched has been taken.
    is_drained: bool,
}

/// A partition as a consumer reads it. Offsets are negative while they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Of the record that is fetched next.
    next: i64,
    /// Of the record that the application takes next.
    application: i64,
    /// Committed by the group when reading began.
    committed: i64,
    /// The high watermark.
    end: i64,
    is_active: bool,
}

impl Reading {
    fn of(partition: &Partition) -> Self {
        Self {
            next: partition.next_offset,
            application: partition.app_offset,
            committed: partition.committed_offset,
            end: partition.hi_offset,
            is_active: partition.fetch_state == "active",
        }
    }

    /// Records that are there and were not taken yet; `None` if that is not known. Markers of transactions take offsets,
    /// too, so where everything was fetched and taken, nothing is left, whatever the offsets say.
    fn lag(self, is_drained: bool) -> Option<i64> {
        if !self.is_active || self.end < 0 {
            return None;
        }
        if is_drained && self.next >= self.end {
            return Some(0);
        }
        let place = [self.application, self.committed]
            .into_iter()
            .find(|&offset| offset >= 0)?;
        Some((self.end - place).max(0))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeldBack {
    stable: i64,
    end: i64,
    since_micros: i64,
}

impl ClientHealth {
    pub(crate) fn new(bootstrap_servers: &str) -> Arc<Self> {
        Arc::new(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            state: Mutex::default(),
        })
    }

    /// What keeps the client from its work; `None` if nothing does. A new client is connecting for a moment.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let connecting = || Some(format!("connecting to {}", self.bootstrap_servers));
        self.lock().problem.clone().unwrap_or_else(connecting)
    }

    /// Where a consumer fetches next in a partition, as of a second ago; negative if it does not know yet.
    pub(crate) fn next_offset(&self, partition: i32) -> Option<i64> {
        self.lock()
            .places
            .get(&partition)
            .map(|reading| reading.next)
    }

    /// For each partition that is being read the records that are there and were not taken yet, as of a second ago, where
    /// that is known.
    pub(crate) fn lags(&self) -> Vec<(i32, i64)> {
        let state = self.lock();
        let lag = |(&partition, reading): (&i32, &Reading)| {
            Some((partition, reading.lag(state.is_drained)?))
        };
        state.places.iter().filter_map(lag).collect()
    }

    /// How often partitions were given or taken.
    pub(crate) fn rebalances(&self) -> u64 {
        self.lock().rebalances
    }

    pub(crate) fn note_rebalance(&self) {
        self.lock().rebalances += 1;
    }

    /// Notes whether all that was fetched has been taken.
    pub(crate) fn note_drained(&self, is_drained: bool) {
        self.lock().is_drained = is_drained;
    }

    pub(crate) fn latest_error(&self) -> Option<String> {
        self.lock().latest_error.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, statistics: &Statistics) {
        let mut state = self.lock();
        state.held_back = held_back(statistics, &state.held_back);
        state.places = statistics
            .topics
            .values()
            .flat_map(|topic| topic.partitions.values())
            .map(|partition| (partition.partition, Reading::of(partition)))
            .collect();
        let problem = self
            .unreachable(statistics, state.latest_error.as_deref())
            .or_else(|| silent(statistics))
            .or_else(|| stalled(statistics, &state.held_back));
        let before = state.problem.take().flatten();
        match (&before, &problem) {
            (None, Some(problem)) => warn!("{problem}"),
            (Some(problem), None) => info!("no longer so: {problem}"),
            _ => {}
        }
        state.problem = Some(problem);
    }

    fn unreachable(&self, statistics: &Statistics, latest_error: Option<&str>) -> Option<String> {
        // librdkafka believes a broker to be up that did not answer its first question in time, too.
        let has_answered = |broker: &Broker| broker.rxidle >= 0;
        if brokers(statistics).any(|broker| broker.state == "UP" && has_answered(broker)) {
            return None;
        }
        let is_in_handshake = |broker: &&Broker| HANDSHAKE.contains(&broker.state.as_str());
        Some(match brokers(statistics).find(is_in_handshake) {
            Some(broker) => format!(
                "broker {} takes connections but does not answer",
                broker.name
            ),
            None => format!(
                "no broker of {} is reachable: {}",
                self.bootstrap_servers,
                latest_error.unwrap_or("no broker has answered yet")
            ),
        })
    }
}

/// The brokers as such. The entry for the group's coordinator is another connection to one of them, and a coordinator may
/// take its time.
fn brokers(statistics: &Statistics) -> impl Iterator<Item = &Broker> {
    statistics
        .brokers
        .values()
        .filter(|broker| broker.source != "logical")
}

/// A broker that is connected and does not answer.
fn silent(statistics: &Statistics) -> Option<String> {
    let is_silent = |broker: &&Broker| {
        broker.state == "UP" && broker.waitresp_cnt > 0 && broker.rxidle > SILENCE_MICROS
    };
    let broker = brokers(statistics).find(is_silent)?;
    Some(format!(
        "broker {} is connected but has not answered for {} s",
        broker.name,
        broker.rxidle / 1_000_000
    ))
}

/// The partitions that are read up to their last stable offset although they go on.
fn held_back(
    statistics: &Statistics,
    before: &BTreeMap<(String, i32), HeldBack>,
) -> BTreeMap<(String, i32), HeldBack> {
    let mut found = BTreeMap::new();
    for topic in statistics.topics.values() {
        for partition in topic.partitions.values() {
            let (stable, end) = (partition.ls_offset, partition.hi_offset);
            if partition.fetch_state == "active"
                && stable >= 0
                && stable < end
                && partition.next_offset >= stable
            {
                let key = (topic.topic.clone(), partition.partition);
                let since_micros = match before.get(&key) {
                    Some(earlier) if earlier.stable == stable => earlier.since_micros,
                    _ => statistics.ts,
                };
                let entry = HeldBack {
                    stable,
                    end,
                    since_micros,
                };
                found.insert(key, entry);
            }
        }
    }
    found
}

fn stalled(
    statistics: &Statistics,
    held_back: &BTreeMap<(String, i32), HeldBack>,
) -> Option<String> {
    let is_old = |entry: &&HeldBack| statistics.ts - entry.since_micros >= HELD_BACK_MICROS;
    let ((topic, partition), entry) = held_back.iter().find(|(_, entry)| is_old(entry))?;
    Some(format!(
        "an open transaction of another producer holds back topic `{topic}`, partition {partition}: it goes up to offset \
         {}, but can be read only up to {}",
        entry.end, entry.stable
    ))
}

/// A client's callbacks: what all clients have in common, and `listener` for what only some have.
#[derive(Debug)]
pub(crate) struct Events<L> {
    pub(crate) client_health: Arc<ClientHealth>,
    pub(crate) listener: L,
}

/// The callbacks of a client about which there is nothing else to tell.
pub(crate) type ClientEvents = Events<()>;

impl ClientEvents {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        Self {
            client_health: ClientHealth::new(&settings.bootstrap_servers),
            listener: (),
        }
    }
}

impl<L: Send + Sync> ClientContext for Events<L> {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if COMES_AS_ERROR.contains(&facility) {
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
            // That a partition is read from elsewhere than was asked for.
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
        let is_about_a_broker = !reason.contains("brokers are down");
        if is_about_a_broker {
            self.client_health.lock().latest_error = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for ClientEvents {}

#[cfg(test)]
impl ClientHealth {
    /// Assumes lags by partition, and a number of rebalances.
    pub(crate) fn assume(&self, lags: &[(i32, i64)], rebalances: u64) {
        let mut state = self.lock();
        state.rebalances = rebalances;
        for &(partition, lag) in lags {
            let reading = Reading {
                application: 0,
                end: lag,
                is_active: true,
                ..Reading::default()
            };
            state.places.insert(partition, reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Topic;

    use super::*;

    fn broker(state: &str, source: &str, waiting: i64, rxidle: i64) -> Statistics {
        let broker = Broker {
            name: "localhost:9092/1".to_owned(),
            state: state.to_owned(),
            source: source.to_owned(),
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
    fn a_cluster_is_a_problem_while_no_broker_is_reachable() {
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
    fn a_broker_that_takes_connections_and_no_more_is_a_problem() {
        let mut statistics = broker("APIVERSION_QUERY", "learned", 1, -1);
        let believed = broker("UP", "learned", 1, -1);
        assert!(
            problem(&events(), believed)
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
            Some("broker localhost:9092/1 takes connections but does not answer")
        );
    }

    #[test]
    fn a_broker_is_silent_when_it_owes_an_answer() {
        let events = events();
        assert_eq!(
            problem(&events, broker("UP", "learned", 1, 7_000_000)).as_deref(),
            Some("broker localhost:9092/1 is connected but has not answered for 7 s")
        );
        assert_eq!(
            problem(&events, broker("UP", "learned", 0, 7_000_000)),
            None,
            "it was asked nothing"
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
            "a coordinator waits for the group"
        );
    }

    #[test]
    fn records_held_back_for_long_are_a_problem_until_they_can_be_read() {
        let events = events();
        assert_eq!(problem(&events, partition(0, 5, 10, 20)), None);
        assert_eq!(problem(&events, partition(1, 10, 10, 20)), None);
        assert_eq!(problem(&events, partition(8, 10, 10, 21)), None);
        assert_eq!(
            problem(&events, partition(9, 10, 10, 22)).as_deref(),
            Some(
                "an open transaction of another producer holds back topic `input`, partition 3: it goes up to offset 22, \
                 but can be read only up to 10"
            )
        );
        assert_eq!(
            problem(&events, partition(10, 12, 12, 22)),
            None,
            "it went on a little"
        );
        assert_eq!(problem(&events, partition(30, 22, 22, 22)), None);
    }

    #[test]
    fn the_lag_is_known_once_reading_has_begun_and_markers_are_none() {
        let reading = |next, application, committed, end| Reading {
            next,
            application,
            committed,
            end,
            is_active: true,
        };
        assert_eq!(reading(30, 20, 5, 100).lag(false), Some(80));
        assert_eq!(reading(30, -1001, 5, 100).lag(true), Some(95));
        assert_eq!(reading(0, -1001, -1001, 100).lag(true), None);
        assert_eq!(reading(30, 20, 5, -1001).lag(true), None);
        // The last offset is a marker's.
        assert_eq!(reading(100, 99, 5, 100).lag(false), Some(1));
        assert_eq!(reading(100, 99, 5, 100).lag(true), Some(0));
        let idle = Reading {
            is_active: false,
            ..reading(100, 99, 5, 100)
        };
        assert_eq!(idle.lag(true), None);
    }
}
