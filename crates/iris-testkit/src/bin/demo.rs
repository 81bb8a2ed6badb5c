//! The whole loop on a real Kafka, with the paper's 150 rows: topics, producer, classifier, feedback sink.
//!
//! Prints what the services log, and writes what came of it to `target/demo/summary.json`. `DEMO_INTERVAL_MS` sets the
//! pace; with `DEMO_KEEP=1` everything runs on, and the page with it, until Ctrl-C.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use iris_kafka::StoredRecord;
use iris_testkit::{Broker, Fixture, Running, dataset, eventually, free_port, runtime, workspace};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// How long the loop may take beyond the time that sending takes.
const PATIENCE: Duration = Duration::from_secs(60);

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

fn main() -> anyhow::Result<()> {
    let interval_ms: u64 = match std::env::var("DEMO_INTERVAL_MS") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("DEMO_INTERVAL_MS is `{text}`: allowed is a number"))?,
        Err(_) => 100,
    };
    let directory = workspace().join("target/demo");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let started = Instant::now();
    let broker = Broker::obtain(&directory)?;
    println!("{:>18} | {}", "broker", broker.description);

    let mut fixture = Fixture::for_broker(&broker.bootstrap_servers)?;
    if broker.is_own {
        // A broker of our own has nothing but this run in it, so the topics can have their own names.
        fixture.topics = iris_kafka::Topics::default();
        fixture.set("")?;
    }
    let keep = std::env::var("DEMO_KEEP").is_ok_and(|keep| keep == "1");
    let run = run(&fixture, interval_ms, keep, |mut summary| {
        summary.broker.clone_from(&broker.description);
        summary.elapsed_s = started.elapsed().as_secs_f64();
        let path = directory.join("summary.json");
        let text = serde_json::to_string_pretty(&summary)?;
        fs::write(&path, &text)?;
        println!("\ntarget/demo/summary.json\n{text}");
        Ok(())
    });
    if !broker.is_own {
        fixture.run("iris-admin", &["topics", "delete", "--yes"])?;
    }
    run
}

/// Where the page is served: where its service serves it by default, unless something else is there.
fn page_address() -> anyhow::Result<String> {
    let is_free = std::net::TcpListener::bind(("127.0.0.1", 8080)).is_ok();
    let port = if is_free { 8080 } else { free_port()? };
    Ok(format!("127.0.0.1:{port}"))
}

/// Waits for Ctrl-C, or to be told to end.
fn until_told_to_end() -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            told = tokio::signal::ctrl_c() => told?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// Runs the loop, hands over what came of it, and keeps everything running afterwards if it is to.
fn run(
    fixture: &Fixture,
    interval_ms: u64,
    keep: bool,
    done: impl FnOnce(Summary) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let start = |service: &str, args: &[&str]| {
        Running::start(service, fixture.command(service, args), true)
    };
    let finish = |service: &str, args: &[&str], patience| -> anyhow::Result<()> {
        let status = start(service, args)?.wait(patience)?;
        ensure!(status.success(), "{service} failed");
        Ok(())
    };
    let store = fixture.sqlite();
    finish("iris-admin", &["topics", "create"], PATIENCE)?;
    let mut sink = start("iris-feedback-sink", &["--store", &store])?;
    let listen = page_address()?;
    let mut page = start("iris-dashboard", &["--listen", &listen, "--store", &store])?;
    println!("{:>18} | the page is at http://{listen}", "demo");
    // As in the paper: one consumer for each partition.
    let partitions: Vec<String> = (0..fixture.topics.partitions)
        .map(|n| format!("--partition={n}"))
        .collect();
    let mut classifier = start(
        "iris-classifier",
        &partitions.iter().map(String::as_str).collect::<Vec<_>>(),
    )?;
    let file = dataset("iris.csv").display().to_string();
    let sending = Duration::from_millis(interval_ms.saturating_mul(150));
    finish(
        "iris-producer",
        &["--file", &file, "--interval-ms", &interval_ms.to_string()],
        PATIENCE.saturating_add(sending),
    )?;

    let records = fixture.records(&fixture.topics.input)?;
    let predictions = eventually("every record to be classified", PATIENCE, || {
        fixture
            .records(&fixture.topics.predictions)
            .ok()
            .filter(|predictions| predictions.len() >= records.len())
    })?;
    let feedback = fixture.records(&fixture.topics.feedback)?;
    let stored = eventually("all feedback to be stored", PATIENCE, || {
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
    if keep {
        println!("\nEverything runs on; the page is at http://{listen}. Ctrl-C stops it.");
        until_told_to_end()?;
    }
    for service in [&mut classifier, &mut sink, &mut page] {
        // Ctrl-C reaches the services, too: one may have ended already.
        if service.is_running() {
            service.signal(Signal::TERM)?;
        }
        let status = service.wait(PATIENCE)?;
        ensure!(status.success(), "a service did not end well");
    }
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
