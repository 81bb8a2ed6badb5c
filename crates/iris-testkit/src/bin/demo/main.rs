//! Runs the whole pipeline on a real Kafka with the paper's 150 rows: topics, classifier, sink, dashboard and producer.
//!
//! Prints the services' log lines and writes the result to `target/demo/summary.json`. `DEMO_INTERVAL_MS` is the time between
//! two rows; with `DEMO_KEEP=1` all services, and the page, keep running until Ctrl-C. `DEMO_DIR` is another directory than
//! `target/demo`, and `DEMO_LISTEN` is the page's address.
//!
//! Exit codes: 0 if finished, or if stopped by a signal after the services have drained; 1 if failed.

mod services;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_kafka::StoredRecord;
use iris_testkit::{Broker, Fixture, dataset, demo_directory, free_port, workspace};
use serde::Serialize;
use serde_json::Value;

use services::{Ending, Services, TIMEOUT};

/// The number of rows of the dataset.
const ROWS: u64 = 150;

/// The result of the demo.
#[derive(Serialize)]
struct DemoSummary {
    broker: String,
    records: usize,
    predictions: usize,
    feedback_ids: Vec<u64>,
    stored_feedback: usize,
    accuracy: f64,
    elapsed_s: f64,
}

fn main() -> ExitCode {
    iris_service::exit(demo())
}

fn demo() -> anyhow::Result<()> {
    let interval_ms: u64 = match std::env::var("DEMO_INTERVAL_MS") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("DEMO_INTERVAL_MS is `{text}`: allowed is a number"))?,
        Err(_) => 100,
    };
    let keep = std::env::var("DEMO_KEEP").is_ok_and(|keep| keep == "1");
    let directory = demo_directory();
    let data = directory.join("loop");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let started = Instant::now();
    let broker = Broker::obtain(&data)?;
    log(&format!("Kafka: {}", broker.description));

    let mut fixture = Fixture::for_broker(&broker.bootstrap_servers)?;
    if broker.is_own {
        // A broker of its own has no other topics, so the default names are free.
        fixture.topics = iris_contract::Topics::default();
        fixture.set("")?;
    }
    let mut services = Services::new(&fixture)?;
    let ran = run(&mut services, interval_ms, |mut summary| {
        summary.broker.clone_from(&broker.description);
        summary.elapsed_s = started.elapsed().as_secs_f64();
        write(&summary, &directory.join("summary.json"))
    });
    let ran = match ran {
        Ok(page) if keep => keep_running(&mut services, &page),
        Ok(_) => Ok(()),
        Err(Ending::Stopped(signal)) => {
            log(&format!(
                "{signal} before every row was classified and stored: no summary is written"
            ));
            Ok(())
        }
        Err(Ending::Failed(error)) => Err(error),
    };
    let drained = services.drain();
    if !broker.is_own {
        fixture.run("iris-admin", &["topics", "delete", "--yes"])?;
    }
    ran.and(drained)
}

/// Prints a line in the format of the services' lines.
fn log(line: &str) {
    println!("{:>18} | {line}", "demo");
}

fn write(summary: &DemoSummary, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(summary)?;
    fs::write(path, &text)?;
    let shown = path.strip_prefix(workspace()).unwrap_or(path);
    println!("\n{}\n{text}", shown.display());
    Ok(())
}

/// Returns the address in `DEMO_LISTEN`. Without it, returns the dashboard's default address, or one with another port if that
/// is taken.
fn page_address() -> anyhow::Result<String> {
    if let Ok(address) = std::env::var("DEMO_LISTEN") {
        return Ok(address);
    }
    let is_free = std::net::TcpListener::bind(("127.0.0.1", 8080)).is_ok();
    let port = if is_free { 8080 } else { free_port()? };
    Ok(format!("127.0.0.1:{port}"))
}

/// Runs the pipeline over all rows and passes the result to `done`. Returns the page's URL.
fn run(
    services: &mut Services<'_>,
    interval_ms: u64,
    done: impl FnOnce(DemoSummary) -> anyhow::Result<()>,
) -> Result<String, Ending> {
    let page = start(services)?;
    let file = dataset("iris.csv").display().to_string();
    let sending = Duration::from_millis(interval_ms.saturating_mul(ROWS));
    services.run_to_end(
        "iris-producer",
        &["--file", &file, "--interval-ms", &interval_ms.to_string()],
        TIMEOUT.saturating_add(sending),
    )?;
    done(outcomes(services)?)?;
    Ok(page)
}

/// Creates the topics and starts the services that run until they are stopped. Returns the page's URL.
fn start(services: &mut Services<'_>) -> Result<String, Ending> {
    let fixture = services.fixture;
    let store = fixture.sqlite();
    services.run_to_end("iris-admin", &["topics", "create"], TIMEOUT)?;
    // One consumer for each partition, as in the paper.
    let partitions: Vec<String> = (0..fixture.topics.partitions)
        .map(|n| format!("--partition={n}"))
        .collect();
    let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
    services.start("iris-classifier", &partitions)?;
    services.start("iris-feedback-sink", &["--store", &store])?;
    let listen = page_address()?;
    services.start("iris-dashboard", &["--listen", &listen, "--store", &store])?;
    let page = format!("http://{listen}");
    log(&format!("the page is at {page}"));
    Ok(page)
}

/// Waits until every record is classified and all feedback is stored.
fn outcomes(services: &mut Services<'_>) -> Result<DemoSummary, Ending> {
    let fixture = services.fixture;
    let records = fixture.records(&fixture.topics.input)?;
    let predictions = services.wait_for("every record to be classified", || {
        fixture
            .records(&fixture.topics.predictions)
            .ok()
            .filter(|predictions| predictions.len() >= records.len())
    })?;
    let feedback = fixture.records(&fixture.topics.feedback)?;
    let store = fixture.sqlite();
    let list = ["list", "--json", "--store", &store];
    let stored = services.wait_for("all feedback to be stored", || {
        stored_feedback(fixture.command("iris-feedback-sink", &list))
            .ok()
            .filter(|&stored| stored >= feedback.len())
    })?;
    let mut feedback_ids = feedback
        .iter()
        .map(id)
        .collect::<anyhow::Result<Vec<u64>>>()?;
    feedback_ids.sort_unstable();
    let accuracy = 1.0 - feedback.len() as f64 / predictions.len() as f64;
    Ok(DemoSummary {
        broker: String::new(),
        records: records.len(),
        predictions: predictions.len(),
        feedback_ids,
        stored_feedback: stored,
        accuracy: (accuracy * 10_000.0).round() / 10_000.0,
        elapsed_s: 0.0,
    })
}

/// Keeps all services running until a signal.
fn keep_running(services: &mut Services<'_>, page: &str) -> anyhow::Result<()> {
    println!("\nAll services keep running.");
    println!("  The page:  {page}");
    println!("  To stop:   Ctrl-C, or kill {}", std::process::id());
    let signal = services.wait_for_stop()?;
    log(&format!("{signal}: stopping the services"));
    Ok(())
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
