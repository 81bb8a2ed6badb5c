//! Runs classifiers over input that becomes readable at once, when all of them are ready.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use iris_kafka::GroupOffsets;

use super::exposition::Exposition;
use super::fleet::Fleet;
use super::machine::BrokerProcesses;
use super::results::FullLoad;
use super::stage::{Programs, Stage};
use crate::testbed::Testbed;

/// How often to ask for the group's offsets.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long one run may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long processes are idle before their steady memory is read.
const IDLE: Duration = Duration::from_secs(2);

/// The metric of the commits' durations.
pub const COMMITS: &str = "iris_transaction_duration_seconds";

/// The metric of the transactions, and the label of those that were committed.
pub const TRANSACTIONS: (&str, &str) = ("iris_transactions_total", "outcome=\"committed\"");

/// As [`TRANSACTIONS`], for those that were aborted.
pub const ABORTS: (&str, &str) = ("iris_transactions_total", "outcome=\"aborted\"");

/// The size of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The number of classifier processes.
    pub processes: usize,
    /// The number of workers of each process.
    pub workers: usize,
    /// The number of partitions of the input topic.
    pub partitions: i32,
}

/// Runs classifiers with their default settings, except for the number of workers and that no line is logged per record.
///
/// # Errors
/// If a step fails or takes too long.
pub fn run(
    testbed: &Testbed,
    brokers: &BrokerProcesses,
    shape: Shape,
    records: u64,
) -> anyhow::Result<FullLoad> {
    let stage = Stage::set(
        testbed,
        shape.partitions,
        Programs::Classifiers,
        &settings(shape.workers),
    )?;
    let before = brokers.cpu_seconds();
    let held = stage.hold(records)?;
    let mut fleet = Fleet::classifiers(&stage.fixture, shape.processes)?;
    fleet.await_ready().with_context(|| format!("{shape:?}"))?;
    let started = (fleet.cpu_seconds(), brokers.cpu_seconds());
    held.release()?;
    let rate =
        follow(testbed, &stage, &mut fleet, records).with_context(|| format!("{shape:?}"))?;
    let ended = (fleet.cpu_seconds(), brokers.cpu_seconds());
    let peak_bytes = fleet.peak_bytes();
    thread::sleep(IDLE);
    let metrics = fleet.metrics()?;
    let steady_bytes = fleet.resident_bytes()?;
    fleet.terminate()?;
    let (name, label) = TRANSACTIONS;
    let transactions = metrics.sum(name, label);
    let written = records as f64 + metrics.sum("iris_mispredictions_total", "") + transactions;
    let markers = stage.markers(written)?;
    stage.clear()?;
    let millions = records as f64 / 1e6;
    Ok(FullLoad {
        brokers: testbed.brokers(),
        processes: shape.processes,
        workers: shape.workers,
        partitions: shape.partitions,
        records_per_second: rate,
        cpu_seconds_per_million: (ended.0 - started.0) / millions,
        broker_cpu_seconds_per_million: (ended.1 - started.1) / millions,
        input_cpu_seconds_per_million: (started.1 - before) / millions,
        transactions,
        // Each transaction also commits offsets, which takes a marker in their topic.
        markers_per_transaction: 1.0 + markers / transactions.max(1.0),
        commit_p50_ms: commit_ms(&metrics, 0.5),
        commit_p99_ms: commit_ms(&metrics, 0.99),
        peak_bytes,
        steady_bytes,
    })
}

/// Returns the settings of classifiers, as TOML.
#[must_use]
pub fn settings(workers: usize) -> String {
    format!("[classifier]\nworkers = {workers}\n\n[telemetry]\nlog = \"info,record=off\"\n")
}

/// Returns a quantile of the commits' durations, in milliseconds.
fn commit_ms(metrics: &Exposition, share: f64) -> f64 {
    let quantile = metrics.buckets(COMMITS).quantile(share);
    quantile.unwrap_or(0.0) * 1_000.0
}

/// Follows the group's committed offsets to the end of the input. Returns records per second, from the first commit to the last,
/// without the records of the first; if all were committed at once, those since the input can be read.
fn follow(
    testbed: &Testbed,
    stage: &Stage<'_>,
    fleet: &mut Fleet,
    records: u64,
) -> anyhow::Result<f64> {
    let fixture = &stage.fixture;
    let group = fixture.classifier_group();
    let offsets = GroupOffsets::open(&testbed.kafka(), &group, &fixture.topics.input)?;
    let released = Instant::now();
    let deadline = released + TIMEOUT;
    let mut first: Option<(Instant, u64)> = None;
    loop {
        let done = offsets.committed()?.values().sum::<i64>().unsigned_abs();
        let now = Instant::now();
        if done >= records {
            let (since, before) = first.unwrap_or((released, 0));
            return Ok((records - before) as f64 / (now - since).as_secs_f64());
        }
        if first.is_none() && done > 0 {
            first = Some((now, done));
        }
        fleet.check()?;
        if now >= deadline {
            bail!("{done} of {records} records were processed in {TIMEOUT:?}");
        }
        thread::sleep(POLL_INTERVAL);
    }
}
