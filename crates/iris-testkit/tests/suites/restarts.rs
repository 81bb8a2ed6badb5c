//! Restarts and scaling under load: how long partitions wait, and that each record has exactly one outcome.
//!
//! `IRIS_ROLLING_RESTARTS` sets how often each process of the group is restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iris_kafka::{
    Headers, OutgoingRecord, Positions, Producer, Read, TopicEnds, TopicReader, now_ms,
};
use iris_testkit::ledger::{
    CommittedRecords, ExpectedOutcomes, FindingCounts, Ledger, Row, audit_summaries,
};
use iris_testkit::{Fixture, IgnoreDeliveries, Running, eventually, send};
use parking_lot::Mutex;

const TIMEOUT: Duration = Duration::from_secs(60);

const PARTITIONS: i32 = 5;

/// The time between two records of a partition.
const INTERVAL: Duration = Duration::from_millis(20);

/// The longest that a record may wait during a restart or a change of the number of processes.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A prediction that is this old when it is read shows that its partition is up to date.
const UP_TO_DATE: Duration = Duration::from_millis(500);

/// The time from each record to its prediction, observed from outside.
#[derive(Debug, Default)]
struct Observed {
    /// The latest of each partition.
    latest: BTreeMap<i32, Duration>,
    /// The longest since the last call of [`Load::longest`].
    longest: Duration,
    count: i64,
}

/// Records that keep arriving in each partition, and an observer of the predictions.
struct Load {
    stop: Arc<AtomicBool>,
    observed: Arc<Mutex<Observed>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(fixture: &Fixture, rows: &[Row]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let observed = Arc::new(Mutex::new(Observed::default()));
        let sender = {
            let (stop, kafka, topic) = (
                Arc::clone(&stop),
                fixture.kafka.clone(),
                fixture.topics.input.clone(),
            );
            let values: Vec<Vec<u8>> = rows.iter().map(|row| row.value.clone()).collect();
            thread::spawn(move || {
                let producer = Producer::start(&kafka, "iris-testkit", IgnoreDeliveries).unwrap();
                let started = Instant::now();
                for (number, value) in (0..).zip(values.iter().cycle()) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // The schedule does not depend on how long a send takes.
                    let due = INTERVAL * number / PARTITIONS.unsigned_abs();
                    thread::sleep((started + due).saturating_duration_since(Instant::now()));
                    send(&producer, || OutgoingRecord {
                        topic: &topic,
                        partition: Some((number % 5).cast_signed()),
                        timestamp: Some(now_ms()),
                        key: None,
                        value: Some(value),
                        headers: Headers::default(),
                    })
                    .unwrap();
                }
                assert_eq!(producer.wait(TIMEOUT), 0);
            })
        };
        let observer = {
            let (stop, observed) = (Arc::clone(&stop), Arc::clone(&observed));
            let (kafka, topic) = (fixture.kafka.clone(), fixture.topics.predictions.clone());
            thread::spawn(move || {
                let start: Positions = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
                let mut reader = TopicReader::resume(&kafka, &topic, &start, None).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if let Some(Read::Record(record)) =
                        reader.read(Duration::from_millis(50)).unwrap()
                    {
                        let age = now_ms() - record.timestamp().unwrap();
                        let age = Duration::from_millis(age.try_into().unwrap_or_default());
                        let mut observed = observed.lock();
                        observed.latest.insert(record.partition(), age);
                        observed.longest = observed.longest.max(age);
                        observed.count += 1;
                    }
                }
            })
        };
        Self {
            stop,
            observed,
            threads: vec![sender, observer],
        }
    }

    /// Waits until every partition has new predictions and is up to date.
    fn wait(&self, what: &str) {
        self.observed.lock().latest.clear();
        eventually(what, TIMEOUT, || {
            let latest = &self.observed.lock().latest;
            let all = latest.len() == PARTITIONS.unsigned_abs() as usize;
            (all && latest.values().all(|&age| age < UP_TO_DATE)).then_some(())
        })
        .unwrap();
    }

    /// Returns the longest wait of a record since the last call.
    fn longest(&self) -> Duration {
        std::mem::take(&mut self.observed.lock().longest)
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Whether a line of a log reports a part of a rebalance.
fn is_rebalance(line: &str) -> bool {
    line.contains("assigned partitions") || line.contains("revoked partitions")
}

/// Waits until no process has taken part in a rebalance for 2 s.
fn settle(processes: &[Running]) {
    let count = || {
        let lines = processes.iter().flat_map(Running::lines);
        lines.filter(|line| is_rebalance(line)).count()
    };
    let (mut known, mut since) = (count(), Instant::now());
    eventually("the group to settle", TIMEOUT, || {
        let now = count();
        if now != known {
            (known, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .unwrap();
}

/// Stops a process, which must end well.
#[track_caller]
fn stop(process: &mut Running) {
    let status = process.terminate(TIMEOUT).unwrap();
    assert!(status.success(), "{status}: {}", process.last_lines());
}

struct Group {
    fixture: Fixture,
    rows: Vec<Row>,
    load: Load,
}

impl Group {
    fn new() -> Self {
        let fixture = Fixture::new().unwrap();
        fixture.create_topics().unwrap();
        let log = "log = \"info,record=off,iris_kafka::consume::rebalance=debug\"";
        fixture
            .set(&format!("[telemetry]\n{log}\n[classifier]\nworkers = 1\n"))
            .unwrap();
        let rows = Row::iris().unwrap();
        let load = Load::start(&fixture, &rows);
        Self {
            fixture,
            rows,
            load,
        }
    }

    /// Starts a process with a stable name, or one without.
    fn start(&self, name: &str) -> Running {
        let mut command = self.fixture.command("iris-classifier", &[]);
        command.env("IRIS__CLASSIFIER__INSTANCE", name).env(
            "IRIS__CLASSIFIER__STATIC_MEMBERSHIP",
            (!name.is_empty()).to_string(),
        );
        Running::start("iris-classifier", command, false).unwrap()
    }

    /// Ends the load and all processes, and checks that each record has exactly one outcome.
    fn audit(self, processes: Vec<Running>) {
        let Self {
            fixture,
            rows,
            load,
        } = self;
        load.stop();
        let end = TopicEnds::open(&fixture.kafka, &fixture.topics.input)
            .unwrap()
            .offsets()
            .unwrap();
        let expected: i64 = end.values().sum();
        eventually("all records to be processed", TIMEOUT, || {
            let predictions = fixture.records(&fixture.topics.predictions).ok()?;
            (predictions.len() as i64 >= expected).then_some(())
        })
        .unwrap();
        for mut process in processes {
            stop(&mut process);
        }
        let read = |topic: &str| fixture.records(topic);
        let input = read(&fixture.topics.input).unwrap();
        let records = CommittedRecords::read(&fixture.topics, input, read).unwrap();
        let outcomes = ExpectedOutcomes::of_the_paper(&rows).unwrap();
        let mut findings = Ledger::new(&fixture.topics.input, outcomes).audit(&records, &end);
        findings.extend(audit_summaries(&records, &end));
        assert_eq!(findings.counts(), FindingCounts::default(), "{findings}");
        println!("{expected} records, each with exactly one outcome");
    }
}

#[test]
fn rolling_restarts_of_named_processes_pause_no_partition_for_long_and_cost_no_rebalance() {
    let rounds = std::env::var("IRIS_ROLLING_RESTARTS").map_or(3, |rounds| rounds.parse().unwrap());
    let group = Group::new();
    let mut processes: Vec<Running> = (0..3)
        .map(|number| group.start(&format!("pod-{number}")))
        .collect();
    group.load.wait("the group to start");
    settle(&processes);
    group.load.longest();
    let mut pauses = Vec::new();
    for _ in 0..rounds {
        for number in 0..processes.len() {
            let name = format!("pod-{number}");
            let others: Vec<usize> = processes.iter().map(|other| other.lines().len()).collect();
            stop(&mut processes[number]);
            processes[number] = group.start(&name);
            group.load.wait(&format!("{name} to continue"));
            pauses.push(group.load.longest());
            for (other, known) in others
                .into_iter()
                .enumerate()
                .filter(|(other, _)| *other != number)
            {
                let lines = processes[other].lines().split_off(known);
                assert!(!lines.iter().any(|line| is_rebalance(line)), "{lines:?}");
            }
        }
    }
    pauses.sort();
    let (median, longest) = (pauses[pauses.len() / 2], pauses[pauses.len() - 1]);
    println!(
        "{} restarts: longest wait of a record, median {median:?}, maximum {longest:?}",
        pauses.len()
    );
    assert!(longest < LONGEST_PAUSE, "{pauses:?}");
    group.audit(processes);
}

#[test]
fn scaling_from_one_to_five_and_back_pauses_no_partition_for_long() {
    let group = Group::new();
    let mut processes = vec![group.start("")];
    group.load.wait("the first process to start");
    group.load.longest();
    let mut pauses = Vec::new();
    for _ in 1..PARTITIONS {
        processes.push(group.start(""));
        processes
            .last()
            .unwrap()
            .line_with("assigned", TIMEOUT)
            .unwrap();
        group.load.wait("a larger group to continue");
        pauses.push(group.load.longest());
    }
    while processes.len() > 1 {
        let mut process = processes.pop().unwrap();
        stop(&mut process);
        group.load.wait("a smaller group to continue");
        pauses.push(group.load.longest());
    }
    println!("longest wait of a record after each step from 1 to 5 processes and back: {pauses:?}");
    assert!(
        pauses.iter().all(|&pause| pause < LONGEST_PAUSE),
        "{pauses:?}"
    );
    group.audit(processes);
}
