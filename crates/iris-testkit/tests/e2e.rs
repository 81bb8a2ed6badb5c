//! `docker compose up`, checked from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use iris_contract::Topics;
use iris_kafka::{Headers, KafkaSettings, read_to_end};
use iris_testkit::{Browser, Fixture, eventually, free_port, get, workspace};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(180);
const CLASSIFIERS: usize = 5;

/// The system in Docker, with its own project name and ports. It is taken down when the test ends.
struct Compose {
    kafka_port: u16,
    postgres_port: u16,
    prometheus_port: u16,
    dashboard_port: u16,
}

impl Compose {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", "iris-e2e"])
            .args(args)
            .current_dir(workspace());
        command
            .env("KAFKA_PORT", self.kafka_port.to_string())
            .env("POSTGRES_PORT", self.postgres_port.to_string())
            .env("PROMETHEUS_PORT", self.prometheus_port.to_string())
            .env("DASHBOARD_PORT", self.dashboard_port.to_string());
        command.env("PRODUCER_INTERVAL_MS", "20");
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let output = self
            .command(args)
            .output()
            .expect("a Docker engine with Compose");
        text(output, args)
    }

    /// Returns the containers of a service, as Compose lists them.
    fn containers(&self, service: &str) -> Vec<Value> {
        let listed = self.run(&["ps", "--all", "--format", "json", service]);
        listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn log(&self, service: &str) -> String {
        self.run(&["logs", "--no-color", "--no-log-prefix", service])
    }

    fn kafka(&self) -> KafkaSettings {
        let bootstrap_servers = format!("localhost:{}", self.kafka_port);
        KafkaSettings {
            bootstrap_servers,
            ..KafkaSettings::default()
        }
    }

    fn records(&self, topic: &str) -> usize {
        read_to_end(&self.kafka(), topic, &mut |_| ())
            .map(|records| records.len())
            .unwrap_or_default()
    }

    /// Returns the result of a Prometheus query; `None` if it is empty.
    fn figure(&self, query: &str) -> Option<f64> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let path = format!("/api/v1/query?query={query}");
        let (_, body) = get(self.prometheus_port, &path)?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }

    fn sql(&self, query: &str) -> String {
        let psql = [
            "exec",
            "--no-TTY",
            "postgres",
            "psql",
            "-U",
            "iris",
            "-d",
            "iris",
            "-h",
            "localhost",
            "-Atc",
            query,
        ];
        self.run(&psql).trim().to_owned()
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self
                .command(&["logs", "--no-color", "--tail", "40"])
                .output();
            eprintln!(
                "{}",
                logs.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                    .unwrap_or_default()
            );
        }
        let _ = self
            .command(&["down", "--volumes", "--remove-orphans", "--timeout", "5"])
            .output();
    }
}

#[track_caller]
fn text(output: Output, args: &[&str]) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Checks the settings and rules with Prometheus' own tool, and that each alert fires and clears.
fn check_rules() {
    let folder = format!(
        "{}:/rules:ro",
        workspace().join("deploy/prometheus").display()
    );
    for check in [
        ["check", "config", "/rules/prometheus.yml"],
        ["check", "rules", "/rules/alerts.yml"],
        ["test", "rules", "/rules/alerts.test.yml"],
    ] {
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--volume", &folder]);
        command.args(["--entrypoint", "promtool", "prom/prometheus:v2.42.0"]);
        let output = command.args(check).output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{stdout}{}", text(output, &check));
    }
}

fn counts_by_partition(lines: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lines.lines() {
        if let Some((_, rest)) = line.split_once("Partition: ") {
            let partition = rest.split(',').next().unwrap_or_default();
            *counts.entry(partition.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[test]
fn docker_compose_up_runs_the_whole_pipeline() {
    let compose = Compose {
        kafka_port: free_port().unwrap(),
        postgres_port: free_port().unwrap(),
        prometheus_port: free_port().unwrap(),
        dashboard_port: free_port().unwrap(),
    };
    check_rules();
    compose.run(&["down", "--volumes", "--remove-orphans", "--timeout", "5"]);
    compose.run(&["build", "--quiet"]);
    let started = Instant::now();
    compose.run(&["up", "--detach"]);

    // Long-running services are healthy, and the others have exited with success.
    let services = [
        ("kafka", 1),
        ("postgres", 1),
        ("iris-classifier", CLASSIFIERS),
        ("iris-trainer", 1),
        ("iris-feedback-sink", 1),
        ("iris-dashboard", 1),
    ];
    let watched = (CLASSIFIERS + 3) as f64;
    for (service, replicas) in services {
        eventually(&format!("{service} to be healthy"), TIMEOUT, || {
            let healthy = |containers: &Vec<Value>| {
                containers.len() == replicas
                    && containers
                        .iter()
                        .all(|container| container["Health"] == "healthy")
            };
            Some(compose.containers(service)).filter(healthy)
        })
        .unwrap();
    }
    println!("healthy after {:.1} s", started.elapsed().as_secs_f64());
    for service in ["iris-admin", "iris-producer"] {
        eventually(&format!("{service} to end"), TIMEOUT, || {
            compose
                .containers(service)
                .first()
                .filter(|container| container["State"] == "exited")
                .cloned()
        })
        .map(|container| assert_eq!(container["ExitCode"], 0, "{}", compose.log(service)))
        .unwrap();
    }
    let topics = Topics::default();
    eventually("150 predictions", TIMEOUT, || {
        (compose.records(&topics.predictions) >= 150).then_some(())
    })
    .unwrap();
    eventually("the feedback in PostgreSQL", TIMEOUT, || {
        (compose.sql("SELECT COUNT(*) FROM feedback") == "4").then_some(())
    })
    .unwrap();
    println!("done after {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(
        (
            compose.records(&topics.input),
            compose.records(&topics.predictions)
        ),
        (150, 150)
    );
    assert_eq!(compose.records(&topics.feedback), 4);
    let ids = compose.sql(
        "SELECT string_agg(record_id, ' ' ORDER BY length(record_id), record_id) FROM feedback",
    );
    assert_eq!(ids, "71 73 84 107");

    // Each service's log has the lines of the paper.
    assert!(
        compose
            .log("iris-admin")
            .contains("iris_demo2_topic: created, 5 partitions")
    );
    let sent = compose.log("iris-producer");
    assert_eq!(sent.matches("Sent: {\"Id\":").count(), 150);
    assert!(sent.contains("150 of 150 in "));
    // Lines are written after the commit, and Docker forwards them with a delay.
    let logged = |service: &str, line: &str, count: usize| {
        eventually(&format!("{count} lines of {service}"), TIMEOUT, || {
            Some(compose.log(service)).filter(|log| log.matches(line).count() >= count)
        })
        .unwrap()
    };
    let classified = logged("iris-classifier", ", Predicted Species: Iris-", 150);
    let expected: BTreeMap<String, usize> = (0..5)
        .map(|partition| (partition.to_string(), 30))
        .collect();
    assert_eq!(counts_by_partition(&classified), expected);
    assert_eq!(
        classified.matches(", Predicted Species: Iris-").count(),
        150
    );
    assert_eq!(classified.matches("Feedback: {\"Id\":").count(), 4);
    let stored = logged("iris-feedback-sink", "Stored: {\"Id\":", 4);
    assert_eq!(stored.matches("Stored: {\"Id\":").count(), 4);

    // The containers do not run as root, and their file systems are read-only.
    let id = compose.run(&["exec", "--no-TTY", "iris-feedback-sink", "id", "-u"]);
    assert_ne!(id.trim(), "0");
    let write = compose
        .command(&["exec", "--no-TTY", "iris-feedback-sink", "touch", "/app/x"])
        .output()
        .unwrap();
    assert!(
        !write.status.success(),
        "the root file system is to be read-only"
    );

    // Prometheus scrapes every replica, and its counts match Kafka.
    let figure = |query: &str, wanted: f64| {
        eventually(&format!("{query} to be {wanted}"), TIMEOUT, || {
            (compose.figure(query)? == wanted).then_some(())
        })
        .unwrap();
    };
    figure("sum(up{job=\"iris\"})", watched);
    figure("sum(iris_ready)", watched);
    figure("sum(iris_records_consumed_total)", 150.0);
    figure("sum(iris_evaluations_total)", 150.0);
    figure("sum(iris_mispredictions_total)", 4.0);
    figure("sum(iris_end_to_end_latency_seconds_count)", 150.0);
    figure(
        "sum(iris_consumer_lag_records{group=\"iris-classifier\"})",
        0.0,
    );

    let mut browser = Browser::start().unwrap();
    check_page_against_kafka(&compose, &mut browser);

    // An alert fires while a replica is frozen, and clears when it continues.
    let frozen = compose.run(&["ps", "--quiet", "iris-feedback-sink"]);
    let docker = |verb: &str| {
        let done = Command::new("docker").args([verb, frozen.trim()]).output();
        text(done.unwrap(), &[verb]);
    };
    docker("pause");
    figure(
        "sum(ALERTS{alertname=\"IrisNotReady\",alertstate=\"firing\"})",
        1.0,
    );
    docker("unpause");
    figure("count(ALERTS) or vector(0)", 0.0);

    // Stopping drains: every replica exits by itself, well within its grace period.
    let stopping = Instant::now();
    compose.run(&["stop", "iris-classifier"]);
    println!("stopped after {:.1} s", stopping.elapsed().as_secs_f64());
    assert!(stopping.elapsed() < Duration::from_secs(15));
    for container in compose.containers("iris-classifier") {
        assert_eq!(container["ExitCode"], 0, "{container}");
    }
    let drained = compose.log("iris-classifier");
    assert_eq!(
        drained
            .matches("SIGTERM: finishing work in progress")
            .count(),
        CLASSIFIERS
    );

    // A single service from its own Compose file uses this Kafka: 150 more rows, 150 more predictions.
    let alone = |service: &str, args: &[&str]| {
        let file = workspace().join(format!("deploy/compose/{service}.yml"));
        let mut command = Command::new("docker");
        command
            .args([
                "compose",
                "--project-name",
                &format!("iris-e2e-{service}"),
                "--file",
            ])
            .arg(file)
            .args(args);
        command.env(
            "KAFKA_BOOTSTRAP_SERVERS",
            format!("localhost:{}", compose.kafka_port),
        );
        command.env("NETWORK_MODE", "host").env("HTTP_ADDR", "");
        text(command.output().unwrap(), args)
    };
    alone(
        "iris-producer",
        &["run", "--rm", "iris-producer", "--interval-ms", "0"],
    );
    let log = alone(
        "iris-classifier",
        &[
            "run",
            "--rm",
            "iris-classifier",
            "--idle-timeout-ms",
            "5000",
        ],
    );
    alone("iris-producer", &["down"]);
    alone("iris-classifier", &["down"]);
    assert_eq!(compose.records(&topics.predictions), 300, "{log}");
    eventually("the second round's feedback", TIMEOUT, || {
        (compose.sql("SELECT COUNT(*) FROM feedback") == "8").then_some(())
    })
    .unwrap();

    check_live_updates(&compose, &mut browser);
    check_api(&compose);
}

/// A mispredicted row, and its two neighbours in the confusion matrix.
const ROW: &[u8] = br#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":3.2,"PetalLengthCm":4.8,"PetalWidthCm":1.8,"Species":"Iris-versicolor"}"#;

/// The time limit for a figure to be on the page after its transaction has ended.
const UPDATE_TIME_LIMIT_MS: i64 = 1_000;

/// The time limit for the page to show a stall.
const STALL_TIME_LIMIT: Duration = Duration::from_secs(15);

fn check_page_against_kafka(compose: &Compose, browser: &mut Browser) {
    let url = format!("http://localhost:{}/", compose.dashboard_port);
    let opened = browser.send("open", json!({ "url": url })).unwrap();
    assert_eq!(opened["status"], 200);
    let policy = opened["headers"]["content-security-policy"].as_str();
    assert!(
        policy
            .unwrap()
            .starts_with("default-src 'none'; script-src 'self'")
    );
    let reached = browser.send("tab", json!({ "times": 3 })).unwrap();
    assert_eq!(reached[0], "Skip to the figures");
    browser.wait_for("#connection", "Live", TIMEOUT).unwrap();
    browser
        .wait_for("#status", "Every record has been classified", TIMEOUT)
        .unwrap();
    let mut figure = |name: &str| browser.text(&format!("[data-figure={name}]")).unwrap();
    assert_eq!(figure("records"), "150");
    assert_eq!(figure("mispredicted"), "4");
    assert_eq!(figure("lag"), "0");
    assert_eq!(figure("accuracy"), "97.3%");
    assert_eq!(figure("dead-letters"), "0");
    for (actual, predicted, count) in [
        ("setosa", "setosa", "50"),
        ("setosa", "virginica", "0"),
        ("versicolor", "versicolor", "47"),
        ("versicolor", "virginica", "3"),
        ("virginica", "versicolor", "1"),
        ("virginica", "virginica", "49"),
    ] {
        let cell = format!("[data-actual=Iris-{actual}][data-predicted=Iris-{predicted}]");
        assert_eq!(browser.text(&cell).unwrap(), count, "{cell}");
    }
    let texts = |browser: &mut Browser, selector: &str| -> Vec<String> {
        let texts = browser.send("texts", json!({ "selector": selector }));
        serde_json::from_value(texts.unwrap()).unwrap()
    };
    // The newest records are read twice per second.
    browser.wait_for("#mispredictions", "107", TIMEOUT).unwrap();
    let ids = texts(browser, "#mispredictions tbody tr td:nth-child(1)");
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert_eq!(texts(browser, "#predictions tbody tr").len(), 20);
    assert_eq!(texts(browser, "#partitions tbody tr").len(), 5);
    let version = "#models code[title=e01454b61de2d075]";
    assert_eq!(browser.text(version).unwrap(), "e01454b6");
    assert!(browser.text("#models").unwrap().contains("champion"));
    assert!(
        browser
            .text("#models")
            .unwrap()
            .contains("accuracy on 30 held-out rows: 1.0000")
    );
    browser
        .wait_for("#scatter", "distinct points", TIMEOUT)
        .unwrap();

    // Each range has its charts, and the URL keeps the selection.
    for (range, step) in [
        ("15m", "Each point covers 10 s."),
        ("1m", "Each point covers 1 s."),
    ] {
        let button = format!("#range-form [value='{range}']");
        browser
            .send("click", json!({ "selector": button }))
            .unwrap();
        browser.wait_for("#throughput", step, TIMEOUT).unwrap();
        browser.wait_for("#connection", "Live", TIMEOUT).unwrap();
        let current = browser.text("#range-form [aria-current=true]").unwrap();
        assert!(
            range.starts_with(current.trim_end_matches(" min")),
            "{current}"
        );
    }

    // Axes can be chosen, and the store searched, by keyboard.
    browser
        .send(
            "choose",
            json!({ "selector": "#scatter-form [name=x]", "value": "SepalLengthCm" }),
        )
        .unwrap();
    browser
        .wait_for("#scatter .axis", "SepalLengthCm", TIMEOUT)
        .unwrap();
    browser.wait_for("#feedback", "4 rows", TIMEOUT).unwrap();
    browser
        .send(
            "type",
            json!({ "selector": "#feedback-form [name=q]", "text": "\"Id\":84," }),
        )
        .unwrap();
    browser
        .wait_for("#feedback", "1 row with", TIMEOUT)
        .unwrap();
    assert_eq!(texts(browser, "#feedback tbody tr td:nth-child(1)"), ["84"]);

    let violations = browser.send("axe", json!({})).unwrap();
    assert_eq!(violations, json!([]), "{violations:#}");
    let folder = workspace().join("target/e2e");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, width, height, scheme) in [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("narrow", 900, 900, "light"),
        ("phone", 390, 844, "light"),
    ] {
        let path = folder.join(format!("{name}.png"));
        let looks = json!({ "width": width, "height": height, "scheme": scheme, "path": path });
        let look = browser.send("look", looks).unwrap();
        assert_eq!(
            look["overflow"], false,
            "{name}: the page is wider than the screen"
        );
        let violations = browser.send("axe", json!({})).unwrap();
        assert_eq!(violations, json!([]), "{name}: {violations:#}");
    }
    assert_eq!(browser.send("errors", json!({})).unwrap(), json!([]));
}

fn check_live_updates(compose: &Compose, browser: &mut Browser) {
    let fixture = Fixture::for_broker(&format!("localhost:{}", compose.kafka_port)).unwrap();
    let topics = Topics::default();
    let send = |partition, value: &[u8]| {
        let (none, values) = (Headers::default(), [Some(value)]);
        fixture
            .produce(&topics.input, partition, None, &values, &none)
            .unwrap();
    };
    compose.run(&["up", "--detach", "--wait", "iris-classifier"]);
    browser
        .wait_for("[data-figure=records]", "300", TIMEOUT)
        .unwrap();

    // A record's figures are shown within 1 s after the end of its transaction.
    for expected in ["301", "302", "303"] {
        send(0, ROW);
        let seen = browser
            .wait_for("[data-figure=records]", expected, TIMEOUT)
            .unwrap();
        let summaries = read_to_end(&compose.kafka(), &topics.summaries, &mut |_| ()).unwrap();
        let ended = summaries.iter().filter_map(|summary| summary.timestamp);
        let ended = ended.max().unwrap();
        println!(
            "on the page {} ms after the end of its transaction",
            seen - ended
        );
        assert!(
            seen - ended <= UPDATE_TIME_LIMIT_MS,
            "{expected}: {} ms",
            seen - ended
        );
    }
    send(0, b"no json");
    browser
        .wait_for("[data-figure=dead-letters]", "1", TIMEOUT)
        .unwrap();
    browser
        .wait_for("#dead-letters", "not_json", TIMEOUT)
        .unwrap();

    // Missing classifiers show as lag and in the state.
    compose.run(&["kill", "iris-classifier"]);
    let killed = Instant::now();
    (0..5).for_each(|partition| send(partition, ROW));
    browser
        .wait_for(
            "#status",
            "Partitions 0, 1, 2, 3, 4 are stalled",
            STALL_TIME_LIMIT,
        )
        .unwrap();
    println!("noticed after {:.1} s", killed.elapsed().as_secs_f64());
    assert!(killed.elapsed() < STALL_TIME_LIMIT);
    assert_eq!(browser.text("[data-figure=lag]").unwrap(), "5");
    let violations = browser.send("axe", json!({})).unwrap();
    assert_eq!(violations, json!([]), "{violations:#}");
    compose.run(&["up", "--detach", "--wait", "iris-classifier"]);
    browser
        .wait_for("#status", "Every record has been classified", TIMEOUT)
        .unwrap();

    // A page whose connection was cut reconnects by itself.
    compose.run(&["stop", "iris-dashboard"]);
    browser
        .wait_for("#connection", "Connection lost", TIMEOUT)
        .unwrap();
    compose.run(&["start", "iris-dashboard"]);
    browser.wait_for("#connection", "Live", TIMEOUT).unwrap();
    browser
        .wait_for("[data-figure=records]", "309", TIMEOUT)
        .unwrap();
    send(0, ROW);
    browser
        .wait_for("[data-figure=records]", "310", TIMEOUT)
        .unwrap();
    assert_eq!(browser.send("errors", json!({})).unwrap(), json!([]));
}

/// Checks with schemathesis that the API responds to all requests as its document describes.
fn check_api(compose: &Compose) {
    let program = workspace().join("target/tools/schemathesis/bin/schemathesis");
    let document = format!(
        "http://localhost:{}/api/v1/openapi.json",
        compose.dashboard_port
    );
    let output = Command::new(program)
        .args([
            "run",
            "--checks",
            "all",
            "--max-examples",
            "50",
            "--no-color",
            &document,
        ])
        .current_dir(workspace().join("target/e2e"))
        .output()
        .expect("make e2e installs schemathesis");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{stdout}");
    text(output, &["schemathesis"]);
}
