//! Closes clients in limited time.
//!
//! librdkafka closes a client without a time limit: a consumer waits until its group knows that it leaves, and every client
//! waits for its threads, which may wait for a broker. So a client is closed on a thread of its own, and its owner waits only
//! for a moment. The client closes later if the brokers need longer; a process that ends meanwhile does not wait for it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tracing::{debug, warn};

use crate::sys::client::Alive;

/// How long the owner waits. During a rebalance the group coordinator can answer late: the request to leave waits behind a
/// request to join on the same connection, for the 5 s that librdkafka allows.
const LIMIT: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 2_000 });

/// Drops a value that owns a client, and waits for at most `limit`.
pub(crate) fn close<T: Send + 'static>(client: T, limit: Duration) {
    let (closed, is_closed) = mpsc::channel::<()>();
    let closing = thread::Builder::new().name("closing".to_owned());
    let started = closing.spawn(move || {
        drop(client);
        drop(closed);
    });
    match started {
        // The client was dropped here.
        Err(error) => warn!("cannot start a thread that closes a client: {error}"),
        Ok(_) if limit.is_zero() => {}
        Ok(_) => {
            if is_closed.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                debug!("the brokers do not answer, so a client is closed later");
            }
        }
    }
}

/// Closes a client when it is dropped, unless others keep the client alive. To be dropped after the owner's own reference.
pub(super) struct CloseOnDrop {
    client: Option<Alive>,
    limit: Duration,
}

impl CloseOnDrop {
    pub(super) fn new(client: Alive) -> Self {
        Self {
            client: Some(client),
            limit: LIMIT,
        }
    }

    /// Does not wait for the client when it is dropped.
    pub(super) fn without_waiting(&mut self) {
        self.limit = Duration::ZERO;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            close(client, self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::client::simulated::{PATIENCE, SimulatedCluster};
    use crate::consume::consumer::{Consumer, Start};

    /// Returns how long it takes to drop a member of a group whose coordinator does not answer.
    fn time_to_close(instance: Option<&str>) -> Duration {
        let cluster = SimulatedCluster::new(1, &["input"]);
        let start = Start {
            topic: "input".to_owned(),
            group_id: "group".to_owned(),
            partitions: None,
            instance: instance.map(str::to_owned),
        };
        let consumer = Consumer::start(&cluster.settings, "test", start, None).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while consumer.assignment().is_empty() {
            consumer.read(Duration::from_millis(20)).unwrap();
            assert!(Instant::now() < deadline, "no partition is assigned");
        }
        cluster
            .brokers
            .broker_round_trip_time(1, Duration::from_secs(20))
            .unwrap();
        let started = Instant::now();
        drop(consumer);
        started.elapsed()
    }

    #[test]
    fn a_static_member_has_nothing_to_tell_its_group() {
        let lasted = time_to_close(Some("pod-0"));
        assert!(lasted < LIMIT, "{lasted:?}");
    }

    #[test]
    fn a_member_closes_in_time_though_its_coordinator_does_not_answer() {
        let lasted = time_to_close(None);
        assert!(lasted >= LIMIT, "{lasted:?}: the broker has answered");
        assert!(lasted < LIMIT * 5, "{lasted:?}");
    }
}
