//! The notifications that a service sends to systemd.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use iris_testkit::{Fixture, Local, Running, Server, TIMEOUT, eventually};
use rustix::process::Signal;

/// Receives notifications as systemd does.
struct Notifications {
    socket: UnixDatagram,
    received: Vec<String>,
}

impl Notifications {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            received: Vec::new(),
        }
    }

    /// Returns all notifications so far.
    fn all(&mut self) -> &[String] {
        let mut datagram = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            self.received.extend(text.lines().map(str::to_owned));
        }
        &self.received
    }

    fn count(&mut self, notification: &str) -> usize {
        let is_it = |received: &&String| *received == notification;
        self.all().iter().filter(is_it).count()
    }

    /// Waits for a notification that begins with this text.
    #[track_caller]
    fn await_one(&mut self, beginning: &str) {
        let found = eventually(&format!("the notification {beginning}"), TIMEOUT, || {
            self.all()
                .iter()
                .any(|received| received.starts_with(beginning))
                .then_some(())
        });
        assert!(found.is_ok(), "no {beginning} in {:?}", self.received);
    }

    fn position(&self, beginning: &str) -> Option<usize> {
        self.received
            .iter()
            .position(|received| received.starts_with(beginning))
    }
}

fn start(fixture: &Fixture, service: &str, args: &[&str], socket: &Path) -> Running {
    let mut command = fixture.command(service, args);
    command
        .env("NOTIFY_SOCKET", socket)
        .env("WATCHDOG_USEC", "1000000");
    Running::start(service, command, false).unwrap()
}

#[test]
fn a_service_notifies_systemd_when_it_waits_is_ready_loses_its_broker_and_stops() {
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = Local::start(Server::Kafka, directory.path()).unwrap();
    let fixture = Fixture::for_broker(&format!("localhost:{}", kafka.port())).unwrap();
    fixture.create_topics().unwrap();
    kafka.stop();

    let socket = fixture.directory().join("notify");
    let mut notifications = Notifications::listen(&socket);
    let mut classifier = start(&fixture, "iris-classifier", &[], &socket);
    notifications.await_one("STATUS=startup: no broker at ");
    // The service is alive and stays not ready.
    let lives = notifications.count("WATCHDOG=1");
    eventually("signs of life without a broker", TIMEOUT, || {
        (notifications.count("WATCHDOG=1") > lives + 3).then_some(())
    })
    .unwrap();
    assert_eq!(notifications.count("READY=1"), 0);

    kafka.resume().unwrap();
    notifications.await_one("READY=1");
    notifications.await_one("STATUS=ready");

    kafka.stop();
    notifications.await_one("STATUS=worker ");
    kafka.resume().unwrap();
    eventually("the status to be ready again", TIMEOUT, || {
        (notifications.count("STATUS=ready") == 2).then_some(())
    })
    .unwrap();

    classifier.signal(Signal::TERM).unwrap();
    notifications.await_one("STOPPING=1");
    assert!(classifier.wait(TIMEOUT).unwrap().success());
    assert_eq!(notifications.count("READY=1"), 1);
    assert_eq!(notifications.count("STOPPING=1"), 1);
    assert!(notifications.position("STATUS=startup: ") < notifications.position("READY=1"));
}

#[test]
fn every_long_running_service_notifies_systemd() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let store = fixture.sqlite();
    let services: [(&str, &[&str]); 4] = [
        ("iris-classifier", &[]),
        ("iris-trainer", &[]),
        ("iris-feedback-sink", &["--store", &store]),
        ("iris-dashboard", &["--listen", "127.0.0.1:0"]),
    ];
    for (service, args) in services {
        let socket = fixture.directory().join(service);
        let mut notifications = Notifications::listen(&socket);
        let mut running = start(&fixture, service, args, &socket);
        notifications.await_one("READY=1");
        running.signal(Signal::TERM).unwrap();
        // The notification is sent before the service stops, so it has arrived when the service has exited.
        let ended = running.wait(TIMEOUT).unwrap();
        assert!(ended.success(), "{service}: {}", running.last_lines());
        assert_eq!(notifications.count("STOPPING=1"), 1, "{service}");
    }
}
