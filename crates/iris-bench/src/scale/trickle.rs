//! Sends a trickle of records to many workers, each of which commits a transaction for each record.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iris_kafka::{Headers, OutgoingRecord, end_offsets};
use iris_testkit::{Fixture, Sender, binary};

use super::fleet::Fleet;
use super::full_load::{ABORTS, COMMITS, TRANSACTIONS, settings};
use super::machine::{BrokerProcesses, Moment, limit};
use super::results::Trickle;
use super::stage::{Programs, Stage};
use crate::testbed::{NAME, Testbed};

/// How long the workers are measured before the load.
const IDLE: Duration = Duration::from_secs(3);

/// The duration of the load that is not counted.
const WARM_UP: Duration = Duration::from_secs(3);

/// How often records are sent.
const TICK: Duration = Duration::from_millis(5);

/// How long to wait for the delivery of the last records.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);

/// The topic in which the coordinators keep the state of transactions.
const COORDINATOR_LOG: &str = "__transaction_state";

/// The program whose workers are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The classifier.
    Classifier,
    /// The program `scale-worker`: workers of the same library that write each record unchanged, and a summary.
    ScaleWorker,
}

impl Program {
    /// Returns its name in results.
    fn name(self) -> &'static str {
        match self {
            Self::Classifier => "iris-classifier",
            Self::ScaleWorker => "scale-worker",
        }
    }

    fn topics(self) -> Programs {
        match self {
            Self::Classifier => Programs::Classifiers,
            Self::ScaleWorker => Programs::ScaleWorker,
        }
    }

    fn start(self, fixture: &Fixture, processes: usize, workers: usize) -> anyhow::Result<Fleet> {
        match self {
            Self::Classifier => Fleet::classifiers(fixture, processes),
            Self::ScaleWorker => {
                let topics = &fixture.topics;
                let command = |process: usize| {
                    let mut command = Command::new(binary("scale-worker"));
                    command
                        .arg(&fixture.kafka.bootstrap_servers)
                        .arg(fixture.classifier_group())
                        .args([&topics.input, &topics.predictions, &topics.summaries])
                        .args([process.to_string(), workers.to_string()]);
                    command
                };
                let commands = (0..processes).map(command);
                Fleet::start("run", commands, fixture.directory())
            }
        }
    }
}

/// The workers and their load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The program whose workers they are.
    pub program: Program,
    /// The number of processes.
    pub processes: usize,
    /// The number of workers of each process.
    pub workers: usize,
    /// Records per second for each worker.
    pub rate: u64,
}

impl Load {
    /// Returns a result without figures, for workers that could not be measured.
    #[must_use]
    pub fn failed(self, why: &anyhow::Error) -> Trickle {
        let workers = self.processes * self.workers;
        Trickle {
            program: self.program.name().to_owned(),
            workers,
            processes: self.processes,
            offered: (self.rate * workers as u64) as f64,
            limit: format!("failed: {why:#}"),
            ..Trickle::default()
        }
    }
}

/// Measures workers with a partition of the input for each.
///
/// # Errors
/// If a step fails or takes too long.
pub fn run(
    testbed: &Testbed,
    brokers: &BrokerProcesses,
    load: Load,
    seconds: u64,
) -> anyhow::Result<Trickle> {
    let Load {
        program,
        processes,
        workers,
        rate,
    } = load;
    let total = processes * workers;
    let partitions = i32::try_from(total)?;
    let stage = Stage::set(testbed, partitions, program.topics(), &settings(workers))?;
    let started = Instant::now();
    let mut fleet = program.start(&stage.fixture, processes, workers)?;
    fleet.await_ready()?;
    let start_s = started.elapsed().as_secs_f64();
    thread::sleep(IDLE);
    let (cpu, moment) = (fleet.cpu_seconds(), Moment::now(brokers)?);
    thread::sleep(IDLE);
    let idle = Moment::now(brokers)?.since(moment);
    let idle_worker_cores = (fleet.cpu_seconds() - cpu) / idle.seconds;
    let stop = AtomicBool::new(false);
    let offered = rate * total as u64;
    let measured = thread::scope(|scope| {
        let sender = scope.spawn(|| send_evenly(testbed, &stage, offered, &stop));
        let measured = observe(testbed, brokers, &mut fleet, seconds);
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join();
        sent.map_err(|_| anyhow::anyhow!("the sender panicked"))??;
        measured
    })?;
    let resident_bytes = fleet.resident_bytes()?;
    fleet.terminate()?;
    stage.clear()?;
    let cores = thread::available_parallelism()?.get() as f64;
    let carried = measured.transactions_per_second;
    Ok(Trickle {
        program: program.name().to_owned(),
        workers: total,
        processes,
        offered: offered as f64,
        idle_worker_cores,
        idle_broker_cores: idle.broker_cores,
        resident_bytes,
        start_s,
        limit: limit(offered as f64, carried, measured.busy_cores, cores).to_owned(),
        ..measured
    })
}

/// Measures the workers for some seconds of the load. The other fields of the result are empty.
fn observe(
    testbed: &Testbed,
    brokers: &BrokerProcesses,
    fleet: &mut Fleet,
    seconds: u64,
) -> anyhow::Result<Trickle> {
    let log_records = || -> anyhow::Result<f64> {
        let ends = end_offsets(&testbed.kafka(), COORDINATOR_LOG)?;
        Ok(ends.values().sum::<i64>() as f64)
    };
    thread::sleep(WARM_UP);
    let log_before = log_records()?;
    let (metrics, cpu, moment) = (fleet.metrics()?, fleet.cpu_seconds(), Moment::now(brokers)?);
    thread::sleep(Duration::from_secs(seconds));
    let between = Moment::now(brokers)?.since(moment);
    let (later, later_cpu) = (fleet.metrics()?, fleet.cpu_seconds());
    let log_after = log_records()?;
    fleet.check()?;
    let count = |(name, label)| later.sum(name, label) - metrics.sum(name, label);
    let transactions = count(TRANSACTIONS);
    let commits = later.buckets(COMMITS).since(&metrics.buckets(COMMITS));
    let commit_ms = |share| commits.quantile(share).unwrap_or(0.0) * 1_000.0;
    Ok(Trickle {
        transactions_per_second: transactions / between.seconds,
        aborts_per_second: count(ABORTS) / between.seconds,
        commit_p50_ms: commit_ms(0.5),
        commit_p99_ms: commit_ms(0.99),
        broker_cores: between.broker_cores,
        worker_cores: (later_cpu - cpu) / between.seconds,
        busy_cores: between.busy_cores,
        log_records_per_transaction: (log_after - log_before) / transactions.max(1.0),
        ..Trickle::default()
    })
}

/// Sends `rate` records per second until `stop` is set, to all partitions in rotation.
fn send_evenly(
    testbed: &Testbed,
    stage: &Stage<'_>,
    rate: u64,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut kafka = testbed.kafka();
    kafka
        .librdkafka
        .insert("linger.ms".to_owned(), "1".to_owned());
    let sender = Sender::start(&kafka, NAME)?;
    let topic = &stage.fixture.topics.input;
    let values = testbed.values.iter().cycle();
    let mut turns = values.zip((0..stage.partitions).cycle());
    let began = Instant::now();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = began.elapsed().as_millis() * u128::from(rate) / 1_000;
        for (value, partition) in turns.by_ref().take(usize::try_from(due - sent)?) {
            sender.send(|| OutgoingRecord {
                topic,
                partition: Some(partition),
                timestamp: None,
                key: None,
                value: Some(value),
                headers: Headers::default(),
            })?;
        }
        sent = due;
        thread::sleep(TICK);
    }
    // A broker that is too busy has not taken all records; the measurement is over.
    let _ = sender.finish(DELIVERY_TIMEOUT);
    Ok(())
}
