//! `docker compose up`.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::process::Command;
use std::time::{Duration, Instant};

use iris_contract::Topics;
use iris_kafka::{KafkaSettings, read_to_end};
use iris_testkit::{Browser, eventually, free_port, get, workspace};
use serde_json::Value;
use tempfile::TempDir;

use crate::compose::{Compose, TIMEOUT, text};
use crate::page::{check_api, check_live_updates, check_page_against_kafka};
use crate::proxy::Proxy;

const CLASSIFIERS: usize = 5;

/// The ports that the system publishes.
pub(crate) struct Plain {
    compose: Compose,
    kafka_port: u16,
    prometheus_port: u16,
    pub(crate) dashboard_port: u16,
    proxy: Proxy,
    secrets: TempDir,
}

impl Plain {
    fn new() -> Self {
        let ports: Vec<u16> = (0..5).map(|_| free_port().unwrap()).collect();
        let secrets = tempfile::tempdir_in(workspace().join("target")).unwrap();
        let names = [
            "KAFKA_PORT",
            "PROMETHEUS_PORT",
            "DASHBOARD_PORT",
            "PROXY_PORT",
            "POSTGRES_PORT",
        ];
        let mut environment: Vec<(&str, String)> = names
            .into_iter()
            .zip(&ports)
            .map(|(name, port)| (name, port.to_string()))
            .collect();
        environment.push(("PRODUCER_INTERVAL_MS", "20".to_owned()));
        environment.push(("PROXY_SECRETS", secrets.path().display().to_string()));
        Self {
            compose: Compose::new("iris-e2e", &[], environment),
            kafka_port: ports[0],
            prometheus_port: ports[1],
            dashboard_port: ports[2],
            proxy: Proxy {
                port: ports[3],
                authority: secrets.path().join("certificate.pem"),
                login: "alice:a password".to_owned(),
            },
            secrets,
        }
    }

    /// Adds the proxy, with the secrets of its script, to the running system.
    fn check_profile_proxy(&self) {
        let (user, password) = self.proxy.login.split_once(':').unwrap();
        let mut script = Command::new("bash");
        let create = format!("deploy/proxy/secrets.sh {user} <<<'{password}'");
        script.args(["-c", &create]).current_dir(workspace());
        script.env("PROXY_SECRETS", self.secrets.path());
        text(script.output().unwrap(), &["secrets.sh"]);
        let up = ["--profile", "proxy", "up", "--detach", "--no-build"];
        self.run(&[&up[..], &["iris-proxy"]].concat());
        eventually("the proxy to listen", TIMEOUT, || {
            get(self.proxy.port, "/").map(|_| ())
        })
        .unwrap();
        self.proxy.check();
    }

    pub(crate) fn broker(&self) -> String {
        format!("localhost:{}", self.kafka_port)
    }

    pub(crate) fn kafka(&self) -> KafkaSettings {
        KafkaSettings {
            bootstrap_servers: self.broker(),
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

impl Deref for Plain {
    type Target = Compose;

    fn deref(&self) -> &Compose {
        &self.compose
    }
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
    let compose = Plain::new();
    check_rules();
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
        compose.wait_until_healthy(service, replicas);
    }
    println!("healthy after {:.1} s", started.elapsed().as_secs_f64());
    for service in ["iris-admin", "iris-producer"] {
        compose.wait_until_done(service);
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
    compose.check_profile_proxy();

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
        command.env("KAFKA_BOOTSTRAP_SERVERS", compose.broker());
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
