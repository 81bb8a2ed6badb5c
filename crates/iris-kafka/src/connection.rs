//! The state of a client's connection to the cluster, told once when it changes.
//!
//! librdkafka logs a line for each failed attempt of each client. Here its errors and statistics become one state that
//! a health endpoint can show; a change is logged, a repetition is not.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use tracing::{debug, info, warn};

/// How often a client reports the state of its connections, in milliseconds.
pub(crate) const STATISTICS_INTERVAL_MS: &str = "1000";

/// A broker that was not heard of for longer does not answer. A consumer's fetches are answered twice a second.
const SILENCE_MICROS: i64 = 10_000_000;

/// Whether a client reaches its cluster, and if not, why. Shared between a client and whoever reports on it.
#[derive(Debug)]
pub struct Connection {
    bootstrap_servers: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the client said last about a broker it cannot reach.
    latest_error: Option<String>,
    /// Why there is no connection at present.
    problem: Option<String>,
}

impl Connection {
    pub(crate) fn new(bootstrap_servers: &str) -> Arc<Self> {
        Arc::new(Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            state: Mutex::default(),
        })
    }

    /// Why the cluster is out of reach; `None` while it is not.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    pub(crate) fn latest_error(&self) -> Option<String> {
        self.lock().latest_error.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, statistics: &Statistics) {
        let mut connected = statistics
            .brokers
            .values()
            .filter(|broker| broker.state == "UP")
            .peekable();
        let is_consumer = statistics.client_type == "consumer";
        let problem = if connected.peek().is_none() {
            let latest = self
                .latest_error()
                .unwrap_or_else(|| "no broker has answered yet".to_owned());
            Some(format!(
                "no broker of {} is reachable: {latest}",
                self.bootstrap_servers
            ))
        } else if is_consumer && connected.all(|broker| broker.rxidle > SILENCE_MICROS) {
            Some(format!(
                "the brokers of {} are connected but do not answer",
                self.bootstrap_servers
            ))
        } else {
            None
        };
        let mut state = self.lock();
        match (&state.problem, &problem) {
            (None, Some(problem)) => warn!("{problem}"),
            (Some(_), None) => info!("connected to {} again", self.bootstrap_servers),
            _ => {}
        }
        state.problem = problem;
    }
}

/// What every client's callbacks have in common.
#[derive(Debug)]
pub(crate) struct ClientEvents {
    pub(crate) connection: Arc<Connection>,
}

impl ClientContext for ClientEvents {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Connection troubles come as errors too, and are told from there.
        if matches!(facility, "FAIL" | "ERROR") {
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
            _ => debug!("librdkafka {facility}: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.connection.observe(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("librdkafka: {error}: {reason}");
        let is_about_a_broker = !reason.contains("brokers are down");
        if is_about_a_broker {
            self.connection.lock().latest_error = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for ClientEvents {}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Broker;

    use super::*;

    fn statistics(client_type: &str, state: &str, rxidle: i64) -> Statistics {
        let broker = Broker {
            state: state.to_owned(),
            rxidle,
            ..Broker::default()
        };
        Statistics {
            client_type: client_type.to_owned(),
            brokers: [("localhost:9092/1".to_owned(), broker)].into(),
            ..Statistics::default()
        }
    }

    #[test]
    fn a_connection_is_a_problem_while_no_broker_answers() {
        let events = ClientEvents {
            connection: Connection::new("localhost:9092"),
        };
        let problem = |statistics| {
            events.stats(statistics);
            events.connection.problem()
        };
        assert_eq!(problem(statistics("consumer", "UP", 1_000)), None);
        events.error(KafkaError::Canceled, "localhost:9092/1: Connection refused");
        events.error(KafkaError::Canceled, "1/1 brokers are down");
        assert_eq!(
            problem(statistics("consumer", "CONNECT", 1_000)).as_deref(),
            Some("no broker of localhost:9092 is reachable: localhost:9092/1: Connection refused")
        );
        assert_eq!(
            problem(statistics("consumer", "UP", 11_000_000)).as_deref(),
            Some("the brokers of localhost:9092 are connected but do not answer")
        );
        assert_eq!(problem(statistics("producer", "UP", 11_000_000)), None);
    }
}
