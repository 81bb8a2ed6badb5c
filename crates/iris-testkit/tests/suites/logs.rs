//! Every binary does the same at each log level and in both log formats.

use std::process::Command;
use std::thread;

use iris_kafka::{Headers, StoredRecord};
use iris_testkit::{Ended, Fixture, Running, TIMEOUT, dataset, eventually, free_port, get};

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
const FORMATS: [&str; 2] = ["text", "json"];
/// The number of levels that are tried at the same time.
const AT_ONCE: usize = 2;
/// The results of the binaries, without the parts that differ between runs.
#[derive(Debug, PartialEq, Eq)]
struct Results {
    exit_codes: Vec<(&'static str, Option<i32>)>,
    topics: Vec<String>,
    predictions: Vec<String>,
    feedback: Vec<String>,
    stored: usize,
}

/// One run of the pipeline with one level and format.
struct Run {
    fixture: Fixture,
    level: &'static str,
    format: &'static str,
    exit_codes: Vec<(&'static str, Option<i32>)>,
}

impl Run {
    fn command(&self, service: &str, args: &[&str]) -> Command {
        let mut command = self.fixture.command(service, args);
        command
            .env("IRIS__TELEMETRY__LOG", self.level)
            .env("IRIS__TELEMETRY__FORMAT", self.format);
        command
    }

    /// Runs a command until it exits.
    fn finish(&mut self, service: &'static str, args: &[&str]) -> Ended {
        let output = self.command(service, args).output().unwrap();
        self.exit_codes.push((service, output.status.code()));
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a service and waits until it is ready.
    fn start(&self, service: &'static str, args: &[&str]) -> Running {
        let port = free_port().unwrap();
        let mut command = self.command(service, args);
        command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
        let mut running = Running::start(service, command, false).unwrap();
        eventually(&format!("{service} to be ready"), TIMEOUT, || {
            assert!(
                running.is_running(),
                "{service} ended at {} in {}: {:?}",
                self.level,
                self.format,
                running.lines()
            );
            get(port, "/readyz").filter(|(status, _)| *status == 200)
        })
        .unwrap();
        running
    }

    fn pipeline(mut self) -> Results {
        self.finish("iris-admin", &["topics", "create"]);
        // On a busy machine, the trainer could learn before the last row is classified.
        let settings = "[trainer]\nretrain_after_rows = 500\n";
        self.fixture.set(settings).unwrap();
        let store = self.fixture.sqlite();
        let page = format!("127.0.0.1:{}", free_port().unwrap());
        let mut services = [
            ("iris-classifier", self.start("iris-classifier", &[])),
            (
                "iris-feedback-sink",
                self.start("iris-feedback-sink", &["--store", &store]),
            ),
            ("iris-trainer", self.start("iris-trainer", &[])),
            (
                "iris-dashboard",
                self.start("iris-dashboard", &["--listen", &page, "--store", &store]),
            ),
        ];
        let file = dataset("iris.csv").display().to_string();
        self.finish("iris-producer", &["--file", &file, "--interval-ms", "0"]);
        let topics = self.fixture.topics.clone();
        let predictions = eventually("150 predictions", TIMEOUT, || {
            let records = self.fixture.records(&topics.predictions).ok()?;
            (records.len() == 150).then(|| values(&records))
        })
        .unwrap();
        let feedback = values(&self.fixture.records(&topics.feedback).unwrap());
        let stored = eventually("the feedback to be stored", TIMEOUT, || {
            let list = ["list", "--json", "--store", &store];
            let output = self.command("iris-feedback-sink", &list).output().ok()?;
            let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).ok()?;
            (rows.len() == feedback.len()).then_some(rows.len())
        })
        .unwrap();
        for (service, running) in &mut services {
            let status = running.terminate(TIMEOUT).unwrap();
            self.exit_codes.push((service, status.code()));
            let lines = running.lines();
            assert!(
                status.success(),
                "{service} at {} in {}, {status}: {:#?}",
                self.level,
                self.format,
                &lines[lines.len().saturating_sub(20)..]
            );
            match self.level {
                "off" => assert!(lines.is_empty(), "{service}: {lines:?}"),
                // At these levels, lines are logged only for problems.
                "warn" | "error" => {}
                _ => assert!(!lines.is_empty(), "{service}"),
            }
        }
        let described = self.finish("iris-admin", &["topics", "describe", "--json"]);
        Results {
            topics: topic_names(&described.stdout, self.fixture.name()),
            exit_codes: self.exit_codes,
            predictions,
            feedback,
            stored,
        }
    }
}

fn topic_names(json: &str, own: &str) -> Vec<String> {
    let described: Vec<serde_json::Value> = serde_json::from_str(json).expect(json);
    let mut names: Vec<String> = described
        .iter()
        .map(|topic| topic["topic"].as_str().expect(json).replace(own, "NAME"))
        .collect();
    names.dedup();
    names
}

fn values(records: &[StoredRecord]) -> Vec<String> {
    let mut values: Vec<String> = records
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_deref().unwrap()).into_owned())
        .collect();
    values.sort();
    values
}

#[test]
fn the_results_do_not_depend_on_the_log_level_and_format() {
    let mut expected: Option<Results> = None;
    // Several runs at the same time, because most of a run is waiting.
    for levels in LEVELS.chunks(AT_ONCE) {
        let runs: Vec<_> = levels
            .iter()
            .flat_map(|&level| FORMATS.map(|format| (level, format)))
            .map(|(level, format)| {
                let run = Run {
                    fixture: Fixture::new().unwrap(),
                    level,
                    format,
                    exit_codes: Vec::new(),
                };
                (level, format, thread::spawn(move || run.pipeline()))
            })
            .collect();
        for (level, format, run) in runs {
            let done = run.join().unwrap();
            assert!(
                done.exit_codes.iter().all(|(_, code)| *code == Some(0)),
                "{level} in {format}: {:?}",
                done.exit_codes
            );
            assert_eq!(done.stored, 4);
            match &expected {
                Some(expected) => assert_eq!(&done, expected, "{level} in {format}"),
                None => expected = Some(done),
            }
        }
    }
}

#[test]
fn a_service_that_waits_for_a_broker_stops_on_sigterm_at_every_level() {
    let run = |level: &str| {
        let nowhere = format!("localhost:{}", free_port().unwrap());
        let fixture = Fixture::for_broker(&nowhere).unwrap();
        let mut command = fixture.command("iris-classifier", &[]);
        command.env("IRIS__TELEMETRY__LOG", level);
        let port = free_port().unwrap();
        command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
        let mut running = Running::start("iris-classifier", command, false).unwrap();
        eventually("the endpoint", TIMEOUT, || get(port, "/healthz")).unwrap();
        assert!(running.is_running(), "{level}");
        let status = running.terminate(TIMEOUT).unwrap();
        assert_eq!(status.code(), Some(0), "{level}: {:?}", running.lines());
    };
    thread::scope(|scope| {
        for level in LEVELS {
            scope.spawn(move || run(level));
        }
    });
}

#[test]
fn a_label_cannot_forge_a_line_or_control_the_terminal() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let forged = "2026-01-01T00:00:00.000000Z  INFO forged";
    let label = format!("x\\n{forged}\\u001b[31m\\u202e");
    let value = format!(
        r#"{{"Id":"a{label}","SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"{label}"}}"#
    );
    let pretty = value.replace(',', ",\n  ");
    let values = [value.as_bytes(), pretty.as_bytes(), b"\x1b[31m\n2026"].map(Some);
    fixture
        .produce(&fixture.topics.input, 0, None, &values, &Headers::default())
        .unwrap();
    let classified = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "1500"])
        .unwrap();
    assert_eq!(classified.code, Some(0), "{}", classified.stderr);
    let store = fixture.sqlite();
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", &store])
        .unwrap();
    eventually("two rows", TIMEOUT, || {
        let lines = sink.lines();
        let stored = lines.iter().filter(|line| line.contains("Stored: "));
        (stored.count() == 2).then_some(())
    })
    .unwrap();
    assert!(sink.terminate(TIMEOUT).unwrap().success());
    let list = fixture
        .run("iris-feedback-sink", &["list", "--store", &store])
        .unwrap();
    assert_eq!(list.stdout.lines().count(), 4, "{}", list.stdout);
    for text in [&classified.stderr, &sink.lines().join("\n"), &list.stdout] {
        assert!(text.contains("forged"), "{text}");
        for line in text.lines() {
            assert!(!line.starts_with(forged), "{text}");
            assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
        }
    }
    assert!(
        classified.stderr.contains(
            r"True Species: x\n2026-01-01T00:00:00.000000Z  INFO forged\u{1b}[31m\u{202e}"
        ),
        "{}",
        classified.stderr
    );
}
