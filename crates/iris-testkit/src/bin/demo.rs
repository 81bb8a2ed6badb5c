//! The whole loop on a real Kafka, with the paper's 150 rows: topics, producer, classifier, feedback sink.
//!
//! Prints what the services log, and writes the result to `target/demo/summary.json`. `DEMO_INTERVAL_MS` sets the pace; with
//! `DEMO_KEEP=1` everything, the page included, keeps running until Ctrl-C.
//!
//! Exit codes: 0 finished, or stopped by a signal after the services drained; 1 failed.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use iris_kafka::StoredRecord;
use iris_testkit::{
    Broker, Fixture, Running, StopRequest, dataset, eventually, free_port, workspace,
};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::Value;

/// How long the loop may take beyond the time that sending takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a kept demo checks its services and for a stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Summary {
    broker: String,
    records: usize,
    predictions: usize,
    feedback_ids: Vec<u64>,
    stored_feedback: usize,
    accuracy: f64,
    elapsed_s: f64,
}

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> anyhow::Result<()> {
    let interval_ms: u64 = match std::env::var("DEMO_INTERVAL_MS") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("DEMO_INTERVAL_MS is `{text}`: allowed is a number"))?,
        Err(_) => 100,
    };
    let keep = std::env::var("DEMO_KEEP").is_ok_and(|keep| keep == "1");
    let directory = workspace().join("target/demo");
    let data = directory.join("loop");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let started = Instant::now();
    let broker = Broker::obtain(&data)?;
    say(&format!("Kafka: {}", broker.description));

    let mut fixture = Fixture::for_broker(&broker.bootstrap_servers)?;
    if broker.is_own {
        // A broker of our own has nothing but this run in it, so the topics can have their own names.
        fixture.topics = iris_kafka::Topics::default();
        fixture.set("")?;
    }
    let mut demo = Demo {
        fixture: &fixture,
        stop: StopRequest::listen()?,
        services: Vec::new(),
    };
    let ran = demo.run(interval_ms, |mut summary| {
        summary.broker.clone_from(&broker.description);
        summary.elapsed_s = started.elapsed().as_secs_f64();
        write(&summary, &directory.join("summary.json"))
    });
    let ran = match ran {
        Ok(page) if keep => demo.keep_running(&page),
        Ok(_) => Ok(()),
        Err(Ending::Stopped(signal)) => {
            say(&format!(
                "{signal} before every row was classified and stored: no summary is written"
            ));
            Ok(())
        }
        Err(Ending::Failed(error)) => Err(error),
    };
    let drained = demo.drain();
    if !broker.is_own {
        fixture.run("iris-admin", &["topics", "delete", "--yes"])?;
    }
    ran.and(drained)
}

/// Prints a line of the demo's own among those of the services.
fn say(line: &str) {
    println!("{:>18} | {line}", "demo");
}

fn write(summary: &Summary, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(summary)?;
    fs::write(path, &text)?;
    println!("\ntarget/demo/summary.json\n{text}");
    Ok(())
}

/// Where the page is served: where its service serves it by default, unless something else is there.
fn page_address() -> anyhow::Result<String> {
    let is_free = std::net::TcpListener::bind(("127.0.0.1", 8080)).is_ok();
    let port = if is_free { 8080 } else { free_port()? };
    Ok(format!("127.0.0.1:{port}"))
}

/// Why the loop did not reach its end.
enum Ending {
    /// A signal asked for a stop.
    Stopped(&'static str),
    /// Something failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Ending {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// The demo's services, each in a process group of its own: Ctrl-C reaches this process alone, which stops them.
struct Demo<'a> {
    fixture: &'a Fixture,
    stop: StopRequest,
    /// Those that run until stopped, in the order in which they are stopped.
    services: Vec<Running>,
}

impl Demo<'_> {
    /// Runs the loop and hands over its result. Returns the page's address.
    fn run(
        &mut self,
        interval_ms: u64,
        done: impl FnOnce(Summary) -> anyhow::Result<()>,
    ) -> Result<String, Ending> {
        let fixture = self.fixture;
        let store = fixture.sqlite();
        self.run_to_end("iris-admin", &["topics", "create"], PATIENCE)?;
        // As in the paper: one consumer for each partition.
        let partitions: Vec<String> = (0..fixture.topics.partitions)
            .map(|n| format!("--partition={n}"))
            .collect();
        let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
        self.start("iris-classifier", &partitions)?;
        self.start("iris-feedback-sink", &["--store", &store])?;
        let listen = page_address()?;
        self.start("iris-dashboard", &["--listen", &listen, "--store", &store])?;
        let page = format!("http://{listen}");
        say(&format!("the page is at {page}"));

        let file = dataset("iris.csv").display().to_string();
        let sending = Duration::from_millis(interval_ms.saturating_mul(150));
        self.run_to_end(
            "iris-producer",
            &["--file", &file, "--interval-ms", &interval_ms.to_string()],
            PATIENCE.saturating_add(sending),
        )?;
        let records = fixture.records(&fixture.topics.input)?;
        let predictions = self.wait_for("every record to be classified", || {
            fixture
                .records(&fixture.topics.predictions)
                .ok()
                .filter(|predictions| predictions.len() >= records.len())
        })?;
        let feedback = fixture.records(&fixture.topics.feedback)?;
        let stored = self.wait_for("all feedback to be stored", || {
            stored_feedback(
                fixture.command("iris-feedback-sink", &["list", "--json", "--store", &store]),
            )
            .ok()
            .filter(|&stored| stored >= feedback.len())
        })?;
        let mut feedback_ids = feedback
            .iter()
            .map(id)
            .collect::<anyhow::Result<Vec<u64>>>()?;
        feedback_ids.sort_unstable();
        let accuracy = 1.0 - feedback.len() as f64 / predictions.len() as f64;
        done(Summary {
            broker: String::new(),
            records: records.len(),
            predictions: predictions.len(),
            feedback_ids,
            stored_feedback: stored,
            accuracy: (accuracy * 10_000.0).round() / 10_000.0,
            elapsed_s: 0.0,
        })?;
        Ok(page)
    }

    fn start(&mut self, service: &str, args: &[&str]) -> anyhow::Result<()> {
        let command = self.fixture.command(service, args);
        self.services.push(Running::start(service, command, true)?);
        Ok(())
    }

    /// Runs a service that ends by itself.
    fn run_to_end(
        &mut self,
        service: &str,
        args: &[&str],
        patience: Duration,
    ) -> Result<(), Ending> {
        let command = self.fixture.command(service, args);
        let mut running = Running::start(service, command, true)?;
        let what = format!("{service} to end");
        let waited = eventually(&what, patience, || {
            let checked = self.check();
            (checked.is_err() || !running.is_running()).then_some(checked)
        })?;
        if waited.is_err() && running.is_running() {
            running.signal(Signal::TERM)?;
        }
        let ended = running.finish(PATIENCE);
        waited?;
        Ok(ended?)
    }

    /// Asks until there is an answer, a service has ended or a stop was requested.
    fn wait_for<T>(&mut self, what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, Ending> {
        eventually(what, PATIENCE, || match self.check() {
            Ok(()) => ask().map(Ok),
            Err(ending) => Some(Err(ending)),
        })?
    }

    /// That no stop was requested and every service runs.
    fn check(&mut self) -> Result<(), Ending> {
        if let Some(signal) = self.stop.signal() {
            return Err(Ending::Stopped(signal));
        }
        for service in &mut self.services {
            if !service.is_running() {
                let status = service.wait(PATIENCE)?;
                return Err(Ending::Failed(anyhow!(
                    "{} ended too early, with {status}; its last lines:\n{}",
                    service.name(),
                    service.last_lines()
                )));
            }
        }
        Ok(())
    }

    /// Keeps everything running until a stop is requested.
    fn keep_running(&mut self, page: &str) -> anyhow::Result<()> {
        println!("\nEverything keeps running.");
        println!("  The page:  {page}");
        println!("  To stop:   Ctrl-C, or kill {}", std::process::id());
        loop {
            match self.check() {
                Ok(()) => thread::sleep(CHECK_INTERVAL),
                Err(Ending::Stopped(signal)) => {
                    say(&format!("{signal}: stopping the services"));
                    return Ok(());
                }
                Err(Ending::Failed(error)) => return Err(error),
            }
        }
    }

    /// Has each service finish what is in progress and end.
    fn drain(&mut self) -> anyhow::Result<()> {
        let mut drained = Ok(());
        for mut service in self.services.drain(..) {
            let is_running = service.is_running();
            let ended = if is_running {
                service
                    .signal(Signal::TERM)
                    .and_then(|()| service.finish(PATIENCE))
            } else {
                service.finish(PATIENCE)
            };
            drained = drained.and(ended);
        }
        drained
    }
}

fn stored_feedback(mut list: Command) -> anyhow::Result<usize> {
    let rows: Vec<Value> = serde_json::from_slice(&list.output()?.stdout)?;
    Ok(rows.len())
}

fn id(record: &StoredRecord) -> anyhow::Result<u64> {
    let value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
    value["Id"]
        .as_u64()
        .context("a feedback record without an id")
}
