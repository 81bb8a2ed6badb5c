//! Restarts and scaling under load: how long partitions wait, and that each record has exactly one outcome.
//!
//! `IRIS_ROLLING_RESTARTS` sets how often each process of a group is restarted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use iris_feedback_store::{FeedbackReader, FeedbackRow};
use iris_kafka::{
    GroupOffsets, Headers, KafkaSettings, OutgoingRecord, Positions, Read, TopicEnds, TopicReader,
    now_ms,
};
use iris_testkit::ledger::{FindingCounts, Row};
use iris_testkit::{Fixture, Running, Sender, TIMEOUT, eventually, runtime};
use parking_lot::Mutex;

const PARTITIONS: i32 = 5;

/// The time between two records of a partition.
const INTERVAL: Duration = Duration::from_millis(20);

/// The longest that a record may wait during a restart or a change of the number of processes.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A prediction that is this old when it is read shows that its partition is up to date.
const UP_TO_DATE: Duration = Duration::from_millis(500);

/// How long records wait for their results, observed from outside.
#[derive(Debug, Default)]
struct Observed {
    /// The latest of each partition.
    latest: BTreeMap<i32, Duration>,
    /// The longest since the last call of [`Load::longest`].
    longest: Duration,
}

impl Observed {
    fn add(&mut self, partition: i32, wait: Duration) {
        self.latest.insert(partition, wait);
        self.longest = self.longest.max(wait);
    }
}

/// Records that keep arriving in each partition, and an observer of their results.
struct Load {
    stop: Arc<AtomicBool>,
    observed: Arc<Mutex<Observed>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Sends records to a topic; `observe` observes their results until the load stops.
    fn start(
        fixture: &Fixture,
        topic: &str,
        rows: &[Row],
        observe: impl FnOnce(&AtomicBool, &Mutex<Observed>) + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let observed = Arc::new(Mutex::new(Observed::default()));
        let sender = {
            let (stop, kafka, topic) = (Arc::clone(&stop), fixture.kafka.clone(), topic.to_owned());
            let values: Vec<Vec<u8>> = rows.iter().map(|row| row.value.clone()).collect();
            thread::spawn(move || keep_sending(&kafka, &topic, &values, &stop))
        };
        let observer = {
            let (stop, observed) = (Arc::clone(&stop), Arc::clone(&observed));
            thread::spawn(move || observe(&stop, &observed))
        };
        Self {
            stop,
            observed,
            threads: vec![sender, observer],
        }
    }

    /// Waits until every partition has new results and is up to date.
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

/// Sends a record to each partition again and again, at fixed times.
fn keep_sending(kafka: &KafkaSettings, topic: &str, values: &[Vec<u8>], stop: &AtomicBool) {
    let sender = Sender::start(kafka, "iris-testkit").unwrap();
    let started = Instant::now();
    for (number, value) in (0..).zip(values.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // The schedule does not depend on how long a send takes.
        let due = INTERVAL * number / PARTITIONS.unsigned_abs();
        thread::sleep((started + due).saturating_duration_since(Instant::now()));
        sender
            .send(|| OutgoingRecord {
                topic,
                partition: Some((number % 5).cast_signed()),
                timestamp: Some(now_ms()),
                key: None,
                value: Some(value),
                headers: Headers::default(),
            })
            .unwrap();
    }
    sender.finish(TIMEOUT).unwrap();
}

/// Observes the time from each record to its prediction.
fn observe_predictions(
    kafka: &KafkaSettings,
    topic: &str,
    stop: &AtomicBool,
    observed: &Mutex<Observed>,
) {
    let start: Positions = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let mut reader = TopicReader::resume(kafka, topic, &start, None).unwrap();
    while !stop.load(Ordering::Relaxed) {
        if let Some(Read::Record(record)) = reader.read(Duration::from_millis(50)).unwrap() {
            let age = now_ms() - record.timestamp().unwrap();
            let age = Duration::from_millis(age.try_into().unwrap_or_default());
            observed.lock().add(record.partition(), age);
        }
    }
}

/// Observes the time between the commits of a group in each partition.
fn observe_commits(offsets: &GroupOffsets, stop: &AtomicBool, observed: &Mutex<Observed>) {
    let mut committed: BTreeMap<i32, (i64, Instant)> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        for (partition, offset) in offsets.committed().unwrap_or_default().iter() {
            let (known, since) = committed
                .entry(partition)
                .or_insert_with(|| (offset, Instant::now()));
            if *known < offset {
                observed.lock().add(partition, since.elapsed());
                (*known, *since) = (offset, Instant::now());
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a line of a log reports a part of a rebalance.
fn is_rebalance(line: &str) -> bool {
    line.contains("assigned partitions") || line.contains("revoked partitions")
}

/// Waits until no process has taken part in a rebalance for 2 s, in which each has gone on with all its partitions.
fn settle(load: &Load, processes: &[Running]) {
    let count = || {
        let lines = processes.iter().flat_map(Running::lines);
        lines.filter(|line| is_rebalance(line)).count()
    };
    let (mut known, mut since) = (count(), Instant::now());
    eventually("the group to settle", TIMEOUT, || {
        // A process that waits for its store learns of a rebalance afterwards. The first results may be of what it waited for, the
        // second are of records that it has read since.
        load.wait("the group to go on");
        load.wait("the group to go on");
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
        let (kafka, predictions) = (fixture.kafka.clone(), fixture.topics.predictions.clone());
        let load = Load::start(
            &fixture,
            &fixture.topics.input,
            &rows,
            move |stop, observed| {
                observe_predictions(&kafka, &predictions, stop, observed);
            },
        );
        Self { fixture, load }
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
        let Self { fixture, load } = self;
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
        let (_, findings) = fixture.audit(&end).unwrap();
        assert_eq!(findings.counts(), FindingCounts::default(), "{findings}");
        println!("{expected} records, each with exactly one outcome");
    }
}

/// Starts three processes with names, and restarts each of them several times in turn. No partition may wait for long, and no
/// other process may take part in a rebalance.
fn restart_in_turn(load: &Load, start: impl Fn(&str) -> Running) -> Vec<Running> {
    let rounds = std::env::var("IRIS_ROLLING_RESTARTS").map_or(3, |rounds| rounds.parse().unwrap());
    let mut processes: Vec<Running> = (0..3)
        .map(|number| start(&format!("pod-{number}")))
        .collect();
    load.wait("the group to start");
    settle(load, &processes);
    load.longest();
    let mut pauses = Vec::new();
    for _ in 0..rounds {
        for number in 0..processes.len() {
            let name = format!("pod-{number}");
            let others: Vec<usize> = processes.iter().map(|other| other.lines().len()).collect();
            stop(&mut processes[number]);
            processes[number] = start(&name);
            let assigned = processes[number].line_with("assigned partitions", TIMEOUT);
            assigned.unwrap();
            load.wait(&format!("{name} to continue"));
            let pause = load.longest();
            if pause >= LONGEST_PAUSE {
                println!("{name} waited {pause:?}: {:#?}", processes[number].lines());
            }
            pauses.push(pause);
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
    processes
}

#[test]
fn rolling_restarts_of_named_processes_pause_no_partition_for_long_and_cost_no_rebalance() {
    let group = Group::new();
    let processes = restart_in_turn(&group.load, |name| group.start(name));
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

#[test]
fn rolling_restarts_of_named_sinks_pause_no_partition_for_long_and_each_record_has_one_row() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let log = "log = \"info,record=off,iris_kafka::consume::rebalance=debug\"";
    fixture.set(&format!("[telemetry]\n{log}\n")).unwrap();
    let store = fixture.postgres().unwrap();
    let feedback = &fixture.topics.feedback;
    let group = format!("{}-sink", fixture.name());
    let offsets = GroupOffsets::open(&fixture.kafka, &group, feedback).unwrap();
    let rows = Row::iris().unwrap();
    let load = Load::start(&fixture, feedback, &rows, move |stop, observed| {
        observe_commits(&offsets, stop, observed);
    });
    let processes = restart_in_turn(&load, |name| {
        let mut command = fixture.command("iris-feedback-sink", &["--store", &store]);
        command
            .env("IRIS__FEEDBACK_SINK__INSTANCE", name)
            .env("IRIS__FEEDBACK_SINK__STATIC_MEMBERSHIP", "true");
        Running::start("iris-feedback-sink", command, false).unwrap()
    });
    load.stop();
    let ends = TopicEnds::open(&fixture.kafka, feedback).unwrap();
    let mut expected: Vec<(i32, i64)> = ends
        .offsets()
        .unwrap()
        .iter()
        .flat_map(|(partition, end)| (0..end).map(move |offset| (partition, offset)))
        .collect();
    expected.sort_unstable();
    let stored = || -> Vec<(i32, i64)> {
        let rows: Vec<FeedbackRow> = runtime()
            .unwrap()
            .block_on(async {
                let reader = FeedbackReader::new(&store.as_str().into(), None).unwrap();
                reader.all().try_collect().await
            })
            .unwrap();
        let place =
            |row: &FeedbackRow| (row.source_partition.try_into().unwrap(), row.source_offset);
        let mut places: Vec<(i32, i64)> = rows.iter().map(place).collect();
        places.sort_unstable();
        places
    };
    let all = || (stored().len() >= expected.len()).then_some(());
    eventually("all rows", TIMEOUT, all).unwrap();
    for mut process in processes {
        stop(&mut process);
    }
    assert_eq!(stored(), expected);
    println!("{} records, each with exactly one row", expected.len());
}
