//! The page on a port: clients that send half a request, other hosts, a path, and a broker that does not answer for a while.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use iris_kafka::Headers;
use iris_testkit::{Fixture, Local, Running, Server, TIMEOUT, eventually, free_port, get};
use rustix::process::Signal;
use serde_json::Value;

/// How soon half a request must be closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// The same for hundreds of connections that are opened one by one on a busy machine.
const ALL_CLOSED_WITHIN: Duration = Duration::from_secs(60);

/// How long a broker does not answer.
const FROZEN: Duration = Duration::from_secs(3);

/// How soon after a record the page shows the new end of its partition.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);

/// Starts a dashboard that may open `files` files, with its page below `/iris`. Returns it with the ports of the page and of its
/// health.
fn dashboard(fixture: &Fixture, files: u32) -> (Running, u16, u16) {
    let (page, health) = (free_port().unwrap(), free_port().unwrap());
    let listen = format!("127.0.0.1:{page}");
    let inner = fixture.command("iris-dashboard", &["--listen", &listen]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(iris_testkit::workspace());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{health}"))
        .env("IRIS__DASHBOARD__BASE_PATH", "/iris")
        .env(
            "IRIS__DASHBOARD__ALLOWED_HOSTS",
            "iris.example, other.example",
        );
    let running = Running::start("iris-dashboard", command, false).unwrap();
    running.line_with("the page is at", TIMEOUT).unwrap();
    eventually("the dashboard to be ready", TIMEOUT, || {
        get(health, "/readyz").filter(|(status, _)| *status == 200)
    })
    .unwrap();
    (running, page, health)
}

/// Sends bytes to a port, and returns the connection.
fn send(port: u16, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream.set_read_timeout(Some(CLOSED_WITHIN)).unwrap();
    stream
}

/// Returns the status of the response to a request with these headers.
fn status(port: u16, headers: &str) -> u16 {
    let mut stream = send(
        port,
        &format!("GET /iris/ HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"),
    );
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn half_requests_are_closed_while_the_page_its_stream_and_the_health_are_served() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (mut dashboard, page, health) = dashboard(&fixture, 256);
    let mut events = send(page, "GET /iris/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut buffer = [0; 4096];
    assert!(events.read(&mut buffer).unwrap() > 0);

    let started = Instant::now();
    let half: Vec<TcpStream> = (0..300)
        .flat_map(|_| [page, health])
        .map(|port| send(port, "GET /iris/ HTTP/1.1\r\nHost: local"))
        .collect();
    for _ in 0..5 {
        let (code, body) = get(page, "/iris/").unwrap();
        assert_eq!(code, 200);
        assert!(body.contains("<h1>Iris stream</h1>"), "{body}");
        assert_eq!(get(page, "/iris/api/v1/status").unwrap().0, 200);
        assert_eq!(get(health, "/healthz").unwrap().0, 200);
        std::thread::sleep(Duration::from_millis(500));
    }
    for mut stream in half {
        // A connection that was replaced may be reset.
        let read = stream.read(&mut buffer);
        let is_closed = match &read {
            Ok(read) => *read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_closed, "{read:?}");
    }
    let elapsed = started.elapsed();
    assert!(elapsed < ALL_CLOSED_WITHIN, "{elapsed:?}");
    let more = events.read(&mut buffer);
    assert!(more.as_ref().is_ok_and(|read| *read > 0), "{more:?}");
    assert!(dashboard.terminate(TIMEOUT).unwrap().success());
    let lines = dashboard.lines().join("\n");
    assert!(!lines.contains("cannot accept"), "{lines}");
}

#[test]
fn the_page_is_served_under_its_own_names_and_path_only() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (_dashboard, page, _) = dashboard(&fixture, 1_024);
    for (headers, expected) in [
        ("Host: localhost\r\n", 200),
        ("Host: 127.0.0.1:8080\r\n", 200),
        ("Host: iris.example\r\n", 200),
        ("Host: other.example:443\r\n", 200),
        ("Host: localhost\r\nOrigin: http://localhost\r\n", 200),
        ("Host: localhost\r\nOrigin: https://iris.example\r\n", 200),
        ("Host: evil.example\r\n", 421),
        ("Host: localhost.evil.example\r\n", 421),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
        ("Host: localhost\r\nHost: evil.example\r\n", 400),
    ] {
        assert_eq!(status(page, headers), expected, "{headers}");
    }
    assert_eq!(get(page, "/iris/assets/dashboard.js").unwrap().0, 200);
    assert_eq!(get(page, "/iris").unwrap().0, 308);
    let (code, body) = get(page, "/api/v1/status").unwrap();
    assert!(
        code == 404 && body.contains("the page is at /iris/."),
        "{body}"
    );
}

#[test]
fn the_page_shows_new_records_soon_after_a_broker_that_did_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let kafka = Local::start(Server::Kafka, directory.path()).unwrap();
    let fixture = Fixture::for_broker(&format!("localhost:{}", kafka.port())).unwrap();
    fixture.create_topics().unwrap();
    let (_dashboard, page, _) = dashboard(&fixture, 1_024);
    let value = r#"{"Id":1,"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris-setosa","PredictedSpecies":"Iris-setosa"}"#;
    let send = || {
        for topic in [&fixture.topics.input, &fixture.topics.predictions] {
            let values = [Some(value.as_bytes())];
            fixture
                .produce(topic, 0, None, &values, &Headers::default())
                .unwrap();
        }
    };
    let rows = |path: &str| -> Option<Vec<Value>> {
        serde_json::from_str(&get(page, &format!("/iris/api/v1/{path}"))?.1).ok()
    };
    let shows = |records: usize| {
        let end = rows("partitions")?.first()?["end_offset"].as_u64()?;
        let is_shown = rows("predictions")?.len() == records && end == records as u64;
        is_shown.then_some(())
    };
    send();
    eventually("the first record to be shown", TIMEOUT, || shows(1)).unwrap();
    kafka.signal(Signal::STOP).unwrap();
    thread::sleep(FROZEN);
    kafka.signal(Signal::CONT).unwrap();
    send();
    eventually("the next record to be shown", SHOWN_WITHIN, || shows(2)).unwrap();
}
