//! Derives a client's health and a consumer's lag from librdkafka's statistics.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::statistics::{Broker, Partition, Statistics};

/// How long a broker may owe a response, in microseconds, before it counts as not answering. A consumer's fetches are
/// answered twice a second.
const SILENCE_MICROS: i64 = 6_000_000;

/// How long a connection may be in one state before it is usable, in microseconds, before that counts as a problem. A handshake
/// with TLS and SCRAM takes some 100 ms.
const CONNECTING_MICROS: i64 = 5_000_000;

/// The states of a connection between connecting and being usable. librdkafka drops a connection on which requests have
/// timed out, and then stays in one of these states if the broker is frozen.
const HANDSHAKE: [&str; 7] = [
    "APIVERSION_QUERY",
    "AUTH_HANDSHAKE",
    "AUTH_LEGACY",
    "AUTH_REQ",
    "REAUTH",
    "SSL_HANDSHAKE",
    "UP",
];

/// The offsets of a partition that a consumer reads. Offsets are negative while they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartitionOffsets {
    /// The next record to fetch.
    pub(super) next: i64,
    /// The next record to return to the application.
    pub(super) application: i64,
    /// The group's committed offset when reading started.
    pub(super) committed: i64,
    /// The high watermark.
    pub(super) end: i64,
    /// Whether the partition is being fetched.
    pub(super) is_active: bool,
}

impl PartitionOffsets {
    fn of(partition: &Partition) -> Self {
        Self {
            next: partition.next_offset,
            application: partition.app_offset,
            committed: partition.committed_offset,
            end: partition.hi_offset,
            is_active: partition.fetch_state == "active",
        }
    }

    /// Returns the lag: the number of offsets from the position to the high watermark, including those of transaction markers
    /// and aborted records; `None` if it is not known.
    ///
    /// The application's position does not move past markers and aborted records at the end of the partition. The lag is
    /// therefore 0 if all is fetched up to the high watermark and all records are returned.
    pub(super) fn lag(self, is_drained: bool) -> Option<i64> {
        if !self.is_active || self.end < 0 {
            return None;
        }
        if is_drained && self.next >= self.end {
            return Some(0);
        }
        let position = [self.application, self.committed]
            .into_iter()
            .find(|&offset| offset >= 0)?;
        Some((self.end - position).max(0))
    }
}

/// Returns the offsets of each partition.
pub(super) fn offsets(statistics: &Statistics) -> BTreeMap<i32, PartitionOffsets> {
    statistics
        .topics
        .values()
        .flat_map(|topic| topic.partitions.values())
        .map(|partition| (partition.partition, PartitionOffsets::of(partition)))
        .collect()
}

/// Returns the addresses of the brokers that have accepted a connection, with its age.
pub(super) fn accepting(statistics: &Statistics) -> impl Iterator<Item = (&str, Duration)> {
    let accepting = brokers(statistics).filter(|broker| accepts(broker));
    accepting.map(|broker| {
        let age = Duration::from_micros(broker.stateage.max(0).cast_unsigned());
        (broker.nodename.as_str(), age)
    })
}

/// Whether a broker has answered on its present connection. librdkafka also reports a broker as up whose first response has
/// not arrived in time.
fn accepts(broker: &Broker) -> bool {
    broker.state == "UP" && broker.rxidle >= 0
}

/// Returns the problem with the brokers that the statistics show, if they show one: no broker can be reached, connections fail,
/// or a broker does not answer. `failure` explains connections that fail because of credentials or certificates. The outer
/// `None` means that it is not known yet, because connections are being opened.
pub(super) fn outage(
    statistics: &Statistics,
    bootstrap_servers: &str,
    latest_error: Option<&str>,
    failure: Option<&str>,
) -> Option<Option<String>> {
    if let Some(failure) = failure {
        return Some(Some(failure.to_owned()));
    }
    if !brokers(statistics).any(accepts) {
        return unreachable(statistics, bootstrap_servers, latest_error).map(Some);
    }
    Some(silent(statistics))
}

/// The problem that no broker can be reached; `None` while a connection that is being opened may still succeed.
fn unreachable(
    statistics: &Statistics,
    bootstrap_servers: &str,
    latest_error: Option<&str>,
) -> Option<String> {
    let is_old = |broker: &Broker| broker.stateage >= CONNECTING_MICROS;
    let mut in_handshake =
        brokers(statistics).filter(|broker| HANDSHAKE.contains(&broker.state.as_str()));
    let Some(first) = in_handshake.next() else {
        if latest_error.is_none() && !brokers(statistics).any(is_old) {
            return None;
        }
        return Some(format!(
            "no broker of {bootstrap_servers} is reachable: {}",
            latest_error.unwrap_or("no broker has answered yet")
        ));
    };
    let oldest = in_handshake.fold(first, |oldest, broker| {
        if broker.stateage > oldest.stateage {
            broker
        } else {
            oldest
        }
    });
    is_old(oldest).then(|| {
        format!(
            "broker {} accepts connections but does not answer",
            oldest.name
        )
    })
}

/// The problem that a connected broker does not answer.
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

/// The brokers, without the entry of the group's coordinator: that is a second connection to one of them, on which a
/// response may take long.
fn brokers(statistics: &Statistics) -> impl Iterator<Item = &Broker> {
    statistics
        .brokers
        .values()
        .filter(|broker| broker.source != "logical")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_known_once_reading_has_started_and_does_not_count_markers() {
        let offsets = |next, application, committed, end| PartitionOffsets {
            next,
            application,
            committed,
            end,
            is_active: true,
        };
        assert_eq!(offsets(30, 20, 5, 100).lag(false), Some(80));
        assert_eq!(offsets(30, -1001, 5, 100).lag(true), Some(95));
        assert_eq!(offsets(0, -1001, -1001, 100).lag(true), None);
        assert_eq!(offsets(30, 20, 5, -1001).lag(true), None);
        // The last offset is a marker's.
        assert_eq!(offsets(100, 99, 5, 100).lag(false), Some(1));
        assert_eq!(offsets(100, 99, 5, 100).lag(true), Some(0));
        let idle = PartitionOffsets {
            is_active: false,
            ..offsets(100, 99, 5, 100)
        };
        assert_eq!(idle.lag(true), None);
    }
}
