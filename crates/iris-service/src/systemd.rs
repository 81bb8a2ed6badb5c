//! Notifies systemd of a service's state, as described in sd_notify(3): ready, status, stopping and alive.
//!
//! Without `NOTIFY_SOCKET` in the environment, which a unit of `Type=notify` sets, nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tracing::warn;

use crate::health::Health;

/// The longest time between two checks of the health.
const INTERVAL: Duration = Duration::from_millis(500);

/// The state of a service at one moment.
#[derive(Clone, Debug)]
struct Snapshot {
    /// The problems that `/readyz` shows; empty if the service is ready.
    problems: Vec<String>,
    is_stopping: bool,
    /// Whether to notify the watchdog.
    is_alive: bool,
}

/// The state that systemd has been notified of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    is_ready: bool,
    is_stopping: bool,
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Notification {
    Ready,
    Stopping,
    Status(String),
    Watchdog,
}

impl Snapshot {
    /// Returns the status as one line, since a line break would start another notification.
    fn status(&self) -> String {
        if self.is_stopping {
            "stopping".to_owned()
        } else if self.problems.is_empty() {
            "ready".to_owned()
        } else {
            self.problems.join("; ").replace(['\n', '\r'], " ")
        }
    }
}

impl Known {
    /// Returns the notifications to send, and the state that systemd knows afterwards. A service becomes ready once: later
    /// problems change only its status.
    fn update(&self, snapshot: &Snapshot) -> (Vec<Notification>, Self) {
        let next = Self {
            is_ready: self.is_ready || (snapshot.problems.is_empty() && !snapshot.is_stopping),
            is_stopping: snapshot.is_stopping,
            status: snapshot.status(),
        };
        let changes = [
            (next.is_ready && !self.is_ready).then_some(Notification::Ready),
            (next.is_stopping && !self.is_stopping).then_some(Notification::Stopping),
            (next.status != self.status).then(|| Notification::Status(next.status.clone())),
            snapshot.is_alive.then_some(Notification::Watchdog),
        ];
        (changes.into_iter().flatten().collect(), next)
    }
}

/// Notifies systemd of one service's state.
#[derive(Debug)]
pub(crate) struct Notifier {
    health: Arc<Health>,
    /// The time within which the watchdog expects a notification.
    watchdog: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Known,
    is_stopping: bool,
    is_failing: bool,
}

impl Notifier {
    /// Starts a task that follows the health; `None` if systemd does not expect notifications.
    pub(crate) fn start(health: &Arc<Health>) -> Option<Arc<Self>> {
        std::env::var_os("NOTIFY_SOCKET")?;
        let notifier = Arc::new(Self {
            health: Arc::clone(health),
            watchdog: sd_notify::watchdog_enabled().filter(|time| !time.is_zero()),
            state: Mutex::default(),
        });
        let following = Arc::clone(&notifier);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(following.interval());
            loop {
                interval.tick().await;
                following.notify(false);
            }
        });
        Some(notifier)
    }

    /// Reports that the stop signal was received.
    pub(crate) fn stopping(&self) {
        self.notify(true);
    }

    /// Returns the interval between notifications: at most half of the watchdog's time, as systemd recommends.
    fn interval(&self) -> Duration {
        self.watchdog
            .map_or(INTERVAL, |time| INTERVAL.min(time / 2))
    }

    fn notify(&self, is_stopping: bool) {
        let mut state = self.state.lock();
        state.is_stopping |= is_stopping;
        let (notifications, known) = state.known.update(&Snapshot {
            problems: self.health.problems(),
            is_stopping: state.is_stopping,
            is_alive: self.watchdog.is_some() && self.health.hanging().is_none(),
        });
        if notifications.is_empty() {
            return;
        }
        match send(&notifications) {
            Ok(()) => {
                state.known = known;
                state.is_failing = false;
            }
            // The notifications are sent again at the next check.
            Err(error) => {
                if !state.is_failing {
                    warn!("cannot notify systemd: {error}");
                }
                state.is_failing = true;
            }
        }
    }
}

fn send(notifications: &[Notification]) -> std::io::Result<()> {
    let states: Vec<NotifyState<'_>> = notifications
        .iter()
        .map(|notification| match notification {
            Notification::Ready => NotifyState::Ready,
            Notification::Stopping => NotifyState::Stopping,
            Notification::Status(status) => NotifyState::Status(status),
            Notification::Watchdog => NotifyState::Watchdog,
        })
        .collect();
    sd_notify::notify(&states)
}

#[cfg(test)]
mod tests {
    use super::Notification::{Ready, Status, Stopping, Watchdog};
    use super::*;

    fn snapshot(problems: &[&str]) -> Snapshot {
        Snapshot {
            problems: problems.iter().copied().map(str::to_owned).collect(),
            is_stopping: false,
            is_alive: false,
        }
    }

    fn stopping(problems: &[&str]) -> Snapshot {
        Snapshot {
            is_stopping: true,
            ..snapshot(problems)
        }
    }

    fn alive(problems: &[&str]) -> Snapshot {
        Snapshot {
            is_alive: true,
            ..snapshot(problems)
        }
    }

    fn status(text: &str) -> Notification {
        Status(text.to_owned())
    }

    /// Checks the notifications of successive snapshots of a service.
    #[track_caller]
    fn assert_sent(checks: impl IntoIterator<Item = (Snapshot, Vec<Notification>)>) {
        let mut known = Known::default();
        for (number, (snapshot, expected)) in checks.into_iter().enumerate() {
            let (sent, next) = known.update(&snapshot);
            assert_eq!(sent, expected, "check {number}: {snapshot:?}");
            known = next;
        }
    }

    #[test]
    fn a_service_is_ready_once_and_its_status_follows_its_problems() {
        assert_sent([
            (snapshot(&["starting"]), vec![status("starting")]),
            (snapshot(&["starting"]), vec![]),
            (
                snapshot(&["startup: no broker"]),
                vec![status("startup: no broker")],
            ),
            (snapshot(&[]), vec![Ready, status("ready")]),
            (snapshot(&[]), vec![]),
            (snapshot(&["worker 0: a"]), vec![status("worker 0: a")]),
            (snapshot(&[]), vec![status("ready")]),
        ]);
    }

    #[test]
    fn a_stopping_service_notifies_of_it_once_and_of_nothing_else_afterwards() {
        assert_sent([
            (snapshot(&[]), vec![Ready, status("ready")]),
            (stopping(&[]), vec![Stopping, status("stopping")]),
            (stopping(&["worker 0: no broker"]), vec![]),
            (stopping(&[]), vec![]),
        ]);
    }

    #[test]
    fn a_service_that_is_stopped_while_it_starts_never_becomes_ready() {
        assert_sent([
            (snapshot(&["starting"]), vec![status("starting")]),
            (stopping(&["starting"]), vec![Stopping, status("stopping")]),
            (stopping(&[]), vec![]),
        ]);
    }

    #[test]
    fn every_check_of_a_living_service_notifies_the_watchdog_ready_or_not() {
        assert_sent([
            (alive(&["starting"]), vec![status("starting"), Watchdog]),
            (alive(&["starting"]), vec![Watchdog]),
            (alive(&[]), vec![Ready, status("ready"), Watchdog]),
            (alive(&[]), vec![Watchdog]),
            (snapshot(&[]), vec![]),
        ]);
    }

    #[test]
    fn a_status_is_one_line_even_if_problems_contain_line_breaks() {
        let problems = ["worker 0: a\nREADY=1", "worker 1: b\r\nc"];
        assert_sent([(
            snapshot(&problems),
            vec![status("worker 0: a READY=1; worker 1: b  c")],
        )]);
    }
}
