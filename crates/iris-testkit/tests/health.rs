//! What the services say of themselves while they wait, work and stop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use iris_testkit::{Fixture, Local, Server, eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// A GET of the service's endpoint: the status and the body.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

#[test]
fn without_a_broker_a_service_waits_and_says_so_and_is_ready_when_one_comes() {
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = Local::start(Server::Kafka, directory.path()).unwrap();
    let fixture = Fixture::for_broker(&format!("localhost:{}", kafka.port())).unwrap();
    fixture.create_topics().unwrap();
    kafka.kill();

    let port = free_port().unwrap();
    fixture
        .set(&format!("[telemetry]\nhttp_addr = \"127.0.0.1:{port}\"\n"))
        .unwrap();
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    let address = &fixture.kafka.bootstrap_servers;
    let warning = classifier.line_with("(attempt 1)", PATIENCE).unwrap();
    assert!(
        warning.contains(&format!("no broker at {address}"))
            && warning.contains("Connection refused"),
        "{warning}"
    );
    let (status, body) = get(port, "/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(
        body.starts_with("not ready\nstartup: no broker at "),
        "{body}"
    );
    assert_eq!(get(port, "/healthz").unwrap().0, 200);

    kafka.resume().unwrap();
    eventually("to be ready", PATIENCE, || {
        get(port, "/readyz").filter(|answer| answer.0 == 200)
    })
    .unwrap();

    // It dies and returns while the service runs.
    kafka.kill();
    let not_ready = |answer: &(u16, String)| answer.0 == 503;
    let cause = eventually("not to be ready", Duration::from_secs(15), || {
        get(port, "/readyz").filter(not_ready)
    })
    .unwrap();
    assert!(
        cause
            .1
            .contains(&format!("no broker of {address} is reachable")),
        "{}",
        cause.1
    );
    kafka.resume().unwrap();
    eventually("to be ready again", PATIENCE, || {
        get(port, "/readyz").filter(|answer| answer.0 == 200)
    })
    .unwrap();
    let mut producer = fixture.command("iris-producer", &["--interval-ms", "0"]);
    let sent = producer
        .env("IRIS__TELEMETRY__HTTP_ADDR", "")
        .output()
        .unwrap();
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    classifier
        .line_with("Partition: 4, Predicted Species: ", PATIENCE)
        .unwrap();

    let (_, metrics) = eventually("all records to be counted", PATIENCE, || {
        get(port, "/metrics").filter(|(_, metrics)| {
            let counts = metrics
                .lines()
                .filter(|line| line.starts_with("iris_records_consumed_total{"));
            counts
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum::<u64>()
                == 150
        })
    })
    .unwrap();
    for name in [
        "iris_build_info{service=\"iris-classifier\"",
        "iris_predictions_total{",
        "iris_transactions_total{outcome=\"committed\"}",
    ] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    assert!(
        classifier
            .terminate(Duration::from_secs(10))
            .unwrap()
            .success()
    );
}

#[test]
fn a_service_that_waits_for_a_broker_can_be_stopped() {
    let fixture = Fixture::for_broker(&format!("localhost:{}", free_port().unwrap())).unwrap();
    for (service, args) in [
        ("iris-producer", vec![]),
        ("iris-classifier", vec![]),
        ("iris-feedback-sink", vec!["--store", "sqlite://:memory:"]),
    ] {
        let mut running = fixture.start(service, &args).unwrap();
        running.line_with("no broker at", PATIENCE).unwrap();
        assert!(
            running
                .terminate(Duration::from_secs(10))
                .unwrap()
                .success(),
            "{}",
            running.lines().join("\n")
        );
    }
}
