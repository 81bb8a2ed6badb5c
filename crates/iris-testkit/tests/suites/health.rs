//! Health, metrics and log lines of the services while they wait, work and stop.

use std::panic::catch_unwind;
use std::thread;
use std::time::Duration;

use iris_kafka::{Headers, OutgoingRecord, TransactionalProducer};
use iris_testkit::{
    Cluster, Fixture, Local, Network, Running, Server, TIMEOUT, eventually, free_port, get, runtime,
};
use rustix::process::{Resource, Rlimit, Signal};
use sqlx::{AnyConnection, Connection, Executor};
use tokio_util::sync::CancellationToken;

/// The longest time that a stalled service may report that it is ready.
const STALL: Duration = Duration::from_secs(15);

#[test]
fn a_service_waits_for_a_broker_reports_that_and_becomes_ready() {
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = Local::start(Server::Kafka, directory.path()).unwrap();
    let fixture = Fixture::for_broker(&format!("localhost:{}", kafka.port())).unwrap();
    fixture.create_topics().unwrap();
    kafka.stop();

    let port = fixture.set_with_endpoint("").unwrap();
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    let address = &fixture.kafka.bootstrap_servers;
    let warning = classifier.line_with("(attempt 1)", TIMEOUT).unwrap();
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
    eventually("to be ready", TIMEOUT, || {
        get(port, "/readyz").filter(|answer| answer.0 == 200)
    })
    .unwrap();

    // The broker stops and restarts while the service runs.
    kafka.stop();
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
    eventually("to be ready again", TIMEOUT, || {
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
        .line_with("Partition: 4, Predicted Species: ", TIMEOUT)
        .unwrap();

    let (_, metrics) = eventually("all records to be counted", TIMEOUT, || {
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
    let store = fixture.sqlite();
    let services: [(&str, &[&str]); 4] = [
        ("iris-producer", &[]),
        ("iris-classifier", &[]),
        ("iris-trainer", &[]),
        ("iris-feedback-sink", &["--store", &store]),
    ];
    // All of them wait at the same time.
    for mut running in services.map(|(service, args)| fixture.start(service, args).unwrap()) {
        running.line_with("no broker at", TIMEOUT).unwrap();
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

/// Starts a service with an endpoint and waits until it is ready.
fn start_ready(fixture: &Fixture, service: &str, args: &[&str]) -> (Running, u16) {
    let port = free_port().unwrap();
    let mut command = fixture.command(service, args);
    command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
    let running = Running::start(service, command, false).unwrap();
    ready(port);
    (running, port)
}

fn ready(port: u16) {
    eventually("to be ready", TIMEOUT, || {
        get(port, "/readyz").filter(|answer| answer.0 == 200)
    })
    .unwrap();
}

/// Waits until a service reports one of these causes for not being ready.
#[track_caller]
fn not_ready(port: u16, causes: &[&str]) {
    let is_reported = |body: &str| causes.iter().any(|cause| body.contains(cause));
    let answer = || get(port, "/readyz").filter(|(status, _)| *status == 503);
    // A slow machine may report at first only that there is no progress.
    let reported = eventually("not to be ready", STALL, answer).and_then(|_| {
        eventually(&format!("one of {causes:?}"), TIMEOUT, || {
            answer().filter(|(_, body)| is_reported(body))
        })
    });
    assert!(
        reported.is_ok(),
        "{reported:?}; now it is {:?}",
        get(port, "/readyz")
    );
}

#[test]
fn a_frozen_broker_is_reported_and_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let kafka = Local::start(Server::Kafka, directory.path()).unwrap();
    let fixture = Fixture::for_broker(&format!("localhost:{}", kafka.port())).unwrap();
    fixture.create_topics().unwrap();
    let store = fixture.sqlite();
    // The producer keeps the other services busy, so that transactions are open during the freeze.
    let services: [(&str, &[&str]); 4] = [
        ("iris-producer", &["--rounds", "1000", "--interval-ms", "5"]),
        ("iris-classifier", &[]),
        ("iris-trainer", &[]),
        ("iris-feedback-sink", &["--store", &store]),
    ];
    let mut running = services.map(|(service, args)| start_ready(&fixture, service, args));
    kafka.signal(Signal::STOP).unwrap();
    let causes = [
        "has not answered for",
        "does not answer",
        "timed out",
        "did not answer in time",
        "did not acknowledge",
    ];
    thread::scope(|scope| {
        for (service, port) in &running {
            scope.spawn(move || {
                let reported = catch_unwind(|| not_ready(*port, &causes));
                assert!(reported.is_ok(), "{}", service.lines().join("\n"));
            });
        }
    });
    kafka.signal(Signal::CONT).unwrap();
    for ((service, args), (process, port)) in services.into_iter().zip(&mut running) {
        recovers(&fixture, service, args, process, *port);
    }
}

/// Waits until a service is ready again: by itself, or after it has exited because the client library hangs and was restarted,
/// as a supervisor does.
fn recovers(fixture: &Fixture, service: &str, args: &[&str], process: &mut Running, port: u16) {
    let is_ready = eventually("to recover", TIMEOUT, || {
        let is_ready = get(port, "/readyz").is_some_and(|answer| answer.0 == 200);
        (is_ready || !process.is_running()).then_some(is_ready)
    });
    let lines = process.lines().join("\n");
    match is_ready {
        Ok(true) => {}
        Ok(false) => {
            assert!(lines.contains("hangs"), "{service} ended: {lines}");
            start_ready(fixture, service, args);
        }
        Err(error) => panic!(
            "{service}: {error}; {:?}\n{lines}\n{:?}",
            get(port, "/readyz"),
            fixture.run("iris-admin", &["transactions"])
        ),
    }
}

#[test]
fn a_broker_that_cannot_be_reached_is_named_by_the_clients_of_its_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path()).unwrap();
    let fixture = Fixture::for_broker(&cluster.outside().bootstrap_servers).unwrap();
    eventually("the topics to be created", TIMEOUT, || {
        fixture.create_topics().ok()
    })
    .unwrap();
    let store = fixture.sqlite();
    let services: [(&str, &[&str]); 3] = [
        ("iris-producer", &["--rounds", "1000", "--interval-ms", "5"]),
        ("iris-classifier", &[]),
        ("iris-feedback-sink", &["--store", &store]),
    ];
    let mut running = services.map(|(service, args)| start_ready(&fixture, service, args));
    cluster.set_network(1, Network::Cut);
    let leader = |topic: &str| format!("the leader of topic `{topic}`");
    let [(_, producer), (_, classifier), (_, sink)] = &running;
    not_ready(*producer, &[&leader(&fixture.topics.input)]);
    not_ready(*sink, &[&leader(&fixture.topics.feedback)]);
    // Its transactions fail as well.
    eventually("the classifier not to be ready", TIMEOUT, || {
        (get(*classifier, "/readyz")?.0 == 503).then_some(())
    })
    .unwrap();
    cluster.set_network(1, Network::Up);
    for ((service, args), (process, port)) in services.into_iter().zip(&mut running) {
        recovers(&fixture, service, args, process, *port);
    }
}

#[test]
fn an_open_transaction_of_another_producer_is_reported_and_waited_for() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (_classifier, port) = start_ready(&fixture, "iris-classifier", &[]);
    let mut foreign =
        TransactionalProducer::new(&fixture.kafka, "other-producer", fixture.name()).unwrap();
    assert!(
        foreign
            .prepare(&CancellationToken::new(), &mut |_| ())
            .unwrap()
    );
    foreign.begin().unwrap();
    let input = &fixture.topics.input;
    let record = OutgoingRecord {
        topic: input,
        partition: Some(2),
        timestamp: None,
        key: None,
        value: Some(b"never committed"),
        headers: Headers::default(),
    };
    foreign.send(record).unwrap();
    let waiting: [Option<&[u8]>; 1] = [Some(b"behind it")];
    eventually("the open transaction to be in the topic", TIMEOUT, || {
        iris_kafka::is_settled(&fixture.kafka, input)
            .ok()?
            .then_some(())
            .is_none()
            .then_some(())
    })
    .unwrap();
    fixture
        .produce(input, 2, None, &waiting, &Headers::default())
        .unwrap();
    not_ready(
        port,
        &[&format!(
            "an open transaction of another producer holds back topic `{input}`, partition 2"
        )],
    );
    // The broker aborts the transaction, and the record behind it gets its outcome.
    ready(port);
    eventually("the record behind it to be a dead letter", TIMEOUT, || {
        (fixture.records(&fixture.topics.dead_letters).unwrap().len() == 1).then_some(())
    })
    .unwrap();
}

/// Sends one feedback record.
fn feed(fixture: &Fixture) {
    let value: [Option<&[u8]>; 1] = [Some(br#"{"Id":1,"PredictedSpecies":"x"}"#)];
    let topic = &fixture.topics.feedback;
    fixture
        .produce(topic, 0, None, &value, &Headers::default())
        .unwrap();
}

#[track_caller]
fn await_stored(sink: &Running, count: usize) {
    eventually("the feedback to be stored", TIMEOUT, || {
        let lines = sink.lines();
        let stored = lines
            .iter()
            .filter(|line| line.contains("Stored: "))
            .count();
        (stored == count).then_some(())
    })
    .unwrap();
}

/// How long a member may be busy until it has to leave its group. A store is locked for longer than that.
const BUSY: Duration = Duration::from_secs(8);

/// Locks the store at `url` with a statement, and checks that the sink reports that, stays in its group and continues afterwards.
fn check_lock(url: &str, lock: &'static str, causes: &[&str]) {
    let fixture = Fixture::new().unwrap();
    let limit = BUSY.as_millis();
    let limits = format!("'session.timeout.ms' = '{limit}'\n'max.poll.interval.ms' = '{limit}'\n");
    fixture
        .set(&format!("[kafka.librdkafka]\n{limits}"))
        .unwrap();
    fixture.create_topics().unwrap();
    let url = if url.is_empty() {
        &fixture.sqlite()
    } else {
        url
    };
    let (sink, port) = start_ready(&fixture, "iris-feedback-sink", &["--store", url]);
    feed(&fixture);
    await_stored(&sink, 1);
    let runtime = runtime().unwrap();
    sqlx::any::install_default_drivers();
    let mut locker = runtime.block_on(async {
        let mut locker = AnyConnection::connect(url).await.unwrap();
        locker.execute("BEGIN").await.unwrap();
        locker.execute(lock).await.unwrap();
        locker
    });
    let rebalances = || {
        let (_, metrics) = get(port, "/metrics").unwrap();
        let mut lines = metrics.lines();
        lines
            .find(|line| line.starts_with("iris_consumer_rebalances_total"))
            .unwrap()
            .to_owned()
    };
    let before = rebalances();
    feed(&fixture);
    not_ready(port, causes);
    thread::sleep(BUSY + Duration::from_secs(2));
    runtime.block_on(async { locker.execute("ROLLBACK").await.unwrap() });
    ready(port);
    await_stored(&sink, 2);
    assert_eq!(rebalances(), before);
}

#[test]
fn a_locked_sqlite_store_is_reported_and_waited_for() {
    check_lock(
        "",
        "UPDATE feedback_offsets SET next_offset = next_offset",
        &["database is locked"],
    );
}

#[test]
fn a_locked_postgres_store_is_reported_and_waited_for() {
    let url = Fixture::new().unwrap().postgres().unwrap();
    check_lock(
        &url,
        "LOCK TABLE feedback IN ACCESS EXCLUSIVE MODE",
        &["lock timeout"],
    );
}

#[test]
fn a_full_store_is_reported_and_waited_for() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (port, store) = (free_port().unwrap(), fixture.sqlite());
    let sink = fixture.command("iris-feedback-sink", &["--store", &store]);
    // With the signal ignored, writes beyond a limit on file sizes fail as on a full disk.
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(sink.get_program())
        .args(sink.get_args())
        .envs(
            sink.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"))
        .current_dir(iris_testkit::workspace());
    let sink = Running::start("iris-feedback-sink", command, false).unwrap();
    ready(port);
    feed(&fixture);
    await_stored(&sink, 1);
    let limit = |bytes| {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        rustix::process::prlimit(Some(sink.pid().unwrap()), Resource::Fsize, limit).unwrap();
    };
    limit(Some(1));
    feed(&fixture);
    not_ready(port, &["disk"]);
    limit(None);
    ready(port);
    await_stored(&sink, 2);
}
