//! The summaries of transactions, by partition: a worker that stops in a transaction delays only its own figures on the page, and a
//! topic of summaries with one partition is given more without losing a count.
//!
//! `IRIS_FROZEN_SECONDS` sets how long the worker is frozen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iris_admin::topic_specs;
use iris_contract::TransactionSummary;
use iris_kafka::{Headers, KafkaSettings, OutgoingRecord, TopicEnds};
use iris_testkit::ledger::{FindingCounts, Row};
use iris_testkit::{
    Cluster, CommitFault, Fixture, Running, Sender, TIMEOUT, eventually, free_port, get,
};
use rustix::process::Signal;
use serde_json::Value;

/// How long the worker is frozen by default, and how long until it is replaced.
const FROZEN: Duration = Duration::from_secs(20);
const REPLACED_AFTER: Duration = Duration::from_secs(6);

/// By how much the figures of the other workers may be later than usual, and a limit for single readings on a busy machine.
const DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(4);

/// How long it is watched how late the figures usually are.
const WATCHED: Duration = Duration::from_secs(5);

/// The time between two readings of the page.
const READ_INTERVAL: Duration = Duration::from_millis(200);

/// Returns how long the worker is frozen.
fn frozen_for() -> Duration {
    let seconds = std::env::var("IRIS_FROZEN_SECONDS").map(|seconds| seconds.parse().unwrap());
    seconds.map_or(FROZEN, Duration::from_secs)
}

/// Returns settings with which the workers keep their partitions, and their transactions, while one is frozen.
fn settings() -> String {
    // A partition of the worker that is replaced waits until then.
    let longest = (frozen_for() + Duration::from_secs(20)).as_millis();
    format!(
        "[kafka.librdkafka]\n\"session.timeout.ms\" = {longest}\n\"transaction.timeout.ms\" = {}\n\
         [classifier]\nworkers = 1\n",
        2 * longest
    )
}

/// The time between two rounds of records, one to each partition.
const SEND_INTERVAL: Duration = Duration::from_millis(50);

fn json(port: u16, path: &str) -> Option<Value> {
    let (code, body) = get(port, path)?;
    (code == 200).then(|| serde_json::from_str(&body).unwrap())
}

/// Starts a dashboard. Returns it with the port of its page.
fn dashboard(fixture: &Fixture) -> (Running, u16) {
    let port = free_port().unwrap();
    let (listen, store) = (format!("127.0.0.1:{port}"), fixture.sqlite());
    let args = ["--listen", &listen, "--store", &store];
    let dashboard = fixture.start("iris-dashboard", &args).unwrap();
    dashboard.line_with("the page is at", TIMEOUT).unwrap();
    (dashboard, port)
}

/// Starts a classifier with a name, over a connection.
fn classifier(fixture: &Fixture, name: &str, kafka: &KafkaSettings) -> Running {
    let mut command = fixture.command("iris-classifier", &[]);
    command
        .env("IRIS__CLASSIFIER__INSTANCE", name)
        .env("IRIS__KAFKA__BOOTSTRAP_SERVERS", &kafka.bootstrap_servers);
    Running::start("iris-classifier", command, false).unwrap()
}

fn summaries(fixture: &Fixture) -> Vec<TransactionSummary> {
    let records = fixture.records(&fixture.topics.summaries).unwrap();
    let mut timed: Vec<(Option<i64>, TransactionSummary)> = records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap();
            (record.timestamp, serde_json::from_slice(value).unwrap())
        })
        .collect();
    timed.sort_by_key(|(timestamp, _)| *timestamp);
    timed.into_iter().map(|(_, summary)| summary).collect()
}

/// Returns the worker that was the last to commit records of each input partition.
fn owners(fixture: &Fixture) -> BTreeMap<i32, String> {
    let mut owners = BTreeMap::new();
    for summary in summaries(fixture) {
        let worker = summary.worker.unwrap();
        owners.extend(
            summary
                .partitions
                .into_keys()
                .map(|partition| (partition, worker.clone())),
        );
    }
    owners
}

/// Sends a record to each partition again and again. Returns the time at which each round was sent.
struct Stream {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
    rounds: Arc<parking_lot::Mutex<Vec<Instant>>>,
}

impl Stream {
    fn start(fixture: &Fixture) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let rounds = Arc::<parking_lot::Mutex<Vec<Instant>>>::default();
        let sender = Sender::start(&fixture.kafka, "test").unwrap();
        let (topic, partitions) = (fixture.topics.input.clone(), fixture.topics.partitions);
        let (stopped, sent) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = thread::spawn(move || {
            let rows = Row::iris().unwrap();
            let mut records = 0;
            for row in rows.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                for partition in 0..partitions {
                    sender
                        .send(|| OutgoingRecord {
                            topic: &topic,
                            partition: Some(partition),
                            timestamp: None,
                            key: None,
                            value: Some(&row.value),
                            headers: Headers::default(),
                        })
                        .unwrap();
                    records += 1;
                }
                sent.lock().push(Instant::now());
                thread::sleep(SEND_INTERVAL);
            }
            sender.finish(TIMEOUT).unwrap();
            records
        });
        Self {
            stop,
            thread,
            rounds,
        }
    }

    /// Returns for how long the first record of a partition that is not among the `shown` first ones has been due.
    fn delay(&self, shown: usize) -> Duration {
        let rounds = self.rounds.lock();
        rounds.get(shown).map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Returns for each watched partition for how long the first record that the page does not show has been due.
    fn delays(&self, port: u16, is_watched: impl Fn(i32) -> bool) -> Vec<Duration> {
        let partitions = json(port, "/api/v1/partitions").unwrap();
        let mut delays = Vec::new();
        for partition in partitions.as_array().unwrap() {
            let number = i32::try_from(partition["partition"].as_i64().unwrap()).unwrap();
            if is_watched(number) {
                let shown = usize::try_from(partition["records"].as_u64().unwrap()).unwrap();
                delays.push(self.delay(shown));
            }
        }
        delays
    }

    /// Stops, and returns the number of records.
    fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Waits until the page shows a number of records and nothing is late.
fn await_total(port: u16, total: u64) {
    eventually("the page to show all records", TIMEOUT, || {
        let figures = json(port, "/api/v1/figures")?;
        let status = json(port, "/api/v1/status")?;
        assert!(figures["records"].as_u64()? <= total, "{figures}");
        let is_all = figures["records"] == total && status["late"].as_array()?.is_empty();
        is_all.then_some(())
    })
    .unwrap_or_else(|error| {
        panic!(
            "{error}: {total} were sent, {:?}",
            json(port, "/api/v1/figures")
        )
    });
}

/// Returns all figures of the page, without the time until which they are known.
fn totals(port: u16) -> Value {
    let mut figures = json(port, "/api/v1/figures").unwrap();
    figures["known_until_ms"].take();
    figures
}

/// Compares all topics with the input.
fn audit(fixture: &Fixture) -> u64 {
    let ends = TopicEnds::open(&fixture.kafka, &fixture.topics.input).unwrap();
    let (records, findings) = fixture.audit(&ends.offsets().unwrap()).unwrap();
    assert_eq!(findings.counts(), FindingCounts::default(), "{findings}");
    records.input.len() as u64
}

/// Freezes a classifier in a transaction that has written its summary.
fn freeze_in_a_commit(cluster: &Cluster, frozen: &Running) {
    let faults = cluster.commit_faults();
    let (before, _) = faults.counts();
    faults.arrange(CommitFault::Delay(Duration::from_secs(600)));
    eventually("a commit that is held", TIMEOUT, || {
        (faults.counts().0 > before).then_some(())
    })
    .unwrap();
    frozen.signal(Signal::STOP).unwrap();
}

/// How late figures were.
#[derive(Clone, Copy, Debug)]
struct Delays {
    /// Of 95 of 100 readings.
    most: Duration,
    longest: Duration,
}

impl Delays {
    fn of(mut readings: Vec<Duration>) -> Self {
        readings.sort_unstable();
        Self {
            most: readings[readings.len() * 95 / 100],
            longest: *readings.last().unwrap(),
        }
    }
}

/// Returns how late the figures of all workers are while none is frozen.
fn usual_delays(port: u16, stream: &Stream) -> Delays {
    let (started, mut delays) = (Instant::now(), Vec::new());
    while started.elapsed() < WATCHED {
        delays.extend(stream.delays(port, |_| true));
        thread::sleep(READ_INTERVAL);
    }
    Delays::of(delays)
}

/// Watches the page while a worker is frozen: the figures of other workers go on, and the page names the frozen one.
fn watch(
    port: u16,
    stream: &Stream,
    usual: Delays,
    worker: &str,
    frozen: &BTreeSet<i32>,
    duration: Duration,
) {
    let started = Instant::now();
    let (mut delays, mut named) = (Vec::new(), None);
    while started.elapsed() < duration {
        delays.extend(stream.delays(port, |partition| !frozen.contains(&partition)));
        let status = json(port, "/api/v1/status").unwrap();
        let is_it = |late: &&Value| late["worker"] == worker && late["cause"] == "open_transaction";
        if let Some(late) = status["late"].as_array().unwrap().iter().find(is_it) {
            let all: BTreeSet<i64> = frozen
                .iter()
                .map(|&partition| i64::from(partition))
                .collect();
            for partition in late["partitions"].as_array().unwrap() {
                assert!(all.contains(&partition.as_i64().unwrap()), "{status}");
            }
            let detail = status["status"]["detail"].as_str().unwrap();
            assert!(
                detail.contains(&format!("{worker} is late since ")),
                "{status}"
            );
            named.get_or_insert_with(|| started.elapsed());
        }
        // Nothing but the late worker is a problem.
        assert_eq!(status["problems"], serde_json::json!([]), "{status}");
        thread::sleep(READ_INTERVAL);
    }
    let delays = Delays::of(delays);
    println!(
        "the figures of the others: usually {usual:?} late, now {delays:?}; the page named {worker} after {named:?}"
    );
    assert!(delays.most <= usual.most + DELAY && delays.longest <= usual.longest + LONGEST_DELAY);
    assert!(named.is_some(), "the page does not name {worker}");
}

#[test]
fn a_frozen_worker_delays_only_its_own_figures_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start_one(directory.path()).unwrap();
    let (inside, outside) = (cluster.inside(), cluster.outside());
    let mut fixture = Fixture::for_broker(&inside.bootstrap_servers).unwrap();
    fixture.topics.partitions = 6;
    fixture.set(&settings()).unwrap();
    fixture.create_topics().unwrap();
    let (mut page, port) = dashboard(&fixture);
    // Only the commits of the first one pass the proxy.
    let mut frozen = classifier(&fixture, "a", &outside);
    let mut others = ["b", "c"].map(|name| classifier(&fixture, name, &inside));
    let stream = Stream::start(&fixture);
    let mut previous = BTreeMap::new();
    let owners = eventually("each worker to have partitions", TIMEOUT, || {
        thread::sleep(Duration::from_secs(3));
        let owners = owners(&fixture);
        let workers: BTreeSet<&String> = owners.values().collect();
        let is_settled = workers.len() == 3 && owners.len() == 6 && owners == previous;
        previous.clone_from(&owners);
        is_settled.then_some(owners)
    })
    .unwrap();
    let worker = "a worker 0";
    let own: BTreeSet<i32> = owners
        .iter()
        .filter(|(_, owner)| *owner == worker)
        .map(|(&partition, _)| partition)
        .collect();

    let usual = usual_delays(port, &stream);
    freeze_in_a_commit(&cluster, &frozen);
    watch(port, &stream, usual, worker, &own, frozen_for());
    frozen.signal(Signal::CONT).unwrap();
    eventually("the thawed worker to catch up", TIMEOUT, || {
        let status = json(port, "/api/v1/status")?;
        status["late"].as_array()?.is_empty().then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}: {}", frozen.last_lines()));

    freeze_in_a_commit(&cluster, &frozen);
    watch(port, &stream, usual, worker, &own, REPLACED_AFTER);
    let mut replacement = classifier(&fixture, "a", &inside);
    let total = stream.finish();
    await_total(port, total);
    frozen.signal(Signal::KILL).unwrap();
    frozen.wait(TIMEOUT).unwrap();
    assert_eq!(audit(&fixture), total);
    for process in others.iter_mut().chain([&mut replacement, &mut page]) {
        assert!(process.terminate(TIMEOUT).unwrap().success());
    }
    // A page that reads the summaries from their beginning has the same figures.
    let (_page, port) = dashboard(&fixture);
    await_total(port, total);
}

/// Appends the rows of the dataset to a partition. Returns their number.
fn send_rows(fixture: &Fixture, partition: i32) -> u64 {
    let rows = Row::iris().unwrap();
    let values: Vec<Option<&[u8]>> = rows.iter().map(|row| Some(row.value.as_slice())).collect();
    let (topic, headers) = (&fixture.topics.input, Headers::default());
    fixture
        .produce(topic, partition, None, &values, &headers)
        .unwrap();
    rows.len() as u64
}

/// Returns the partitions of the topic of summaries that have records.
fn used(fixture: &Fixture) -> BTreeSet<i32> {
    let records = fixture.records(&fixture.topics.summaries).unwrap();
    records.iter().map(|record| record.partition).collect()
}

#[test]
fn a_topic_of_one_partition_is_given_more_while_it_is_used_and_no_count_is_lost() {
    let fixture = Fixture::new().unwrap();
    let mut specs = topic_specs(&fixture.topics);
    let topic = &fixture.topics.summaries;
    for spec in &mut specs {
        if spec.name == *topic {
            spec.partitions = 1;
        }
    }
    fixture.create(&specs).unwrap();
    let (mut page, port) = dashboard(&fixture);
    let mut running = classifier(&fixture, "a", &fixture.kafka);
    let mut total = 0;
    for partition in 0..5 {
        total += send_rows(&fixture, partition);
    }
    await_total(port, total);
    assert_eq!(used(&fixture), [0].into());
    running.line_with("has 1 partitions and", TIMEOUT).unwrap();

    let change = |args: &[&str]| {
        let ended = fixture.run("iris-admin", args).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let line = ended
            .stdout
            .lines()
            .find(|line| line.starts_with(topic.as_str()));
        line.unwrap().replace(topic.as_str(), "TOPIC")
    };
    assert_eq!(
        change(&["topics", "create", "--dry-run"]),
        "TOPIC: 4 partitions would be added, 5 partitions; all records are kept"
    );
    assert_eq!(used(&fixture), [0].into());
    let before = totals(port);
    assert_eq!(
        change(&["topics", "create"]),
        "TOPIC: 4 partitions added, 5 partitions; all records are kept"
    );
    assert_eq!(
        change(&["topics", "create"]),
        "TOPIC: unchanged, 5 partitions"
    );
    // The page that runs, and one that reads all partitions from their beginning.
    let (_other, other) = dashboard(&fixture);
    await_total(other, total);
    assert_eq!(before["records"], total);
    assert_eq!(totals(other), before);
    assert_eq!(totals(port), before);

    eventually("summaries in other partitions", TIMEOUT, || {
        total += send_rows(&fixture, 3);
        thread::sleep(Duration::from_secs(1));
        (used(&fixture) == [0, 3].into()).then_some(())
    })
    .unwrap();
    await_total(port, total);

    // The input has more partitions than the topic of summaries.
    let topics = &fixture.topics;
    for topic in [
        &topics.feedback,
        &topics.dead_letters,
        &topics.predictions,
        &topics.input,
    ] {
        fixture.add_partitions(topic, 7).unwrap();
    }
    total += send_rows(&fixture, 6);
    await_total(port, total);
    assert!(used(&fixture).contains(&1));
    assert_eq!(audit(&fixture), total);
    for process in [&mut page, &mut running] {
        assert!(process.terminate(TIMEOUT).unwrap().success());
    }
    let (_page, port) = dashboard(&fixture);
    await_total(port, total);
}

#[test]
fn a_linger_bounds_the_number_of_summaries_and_loses_no_count() {
    const LINGER_MS: i64 = 400;
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let settings = format!(
        "[classifier]\nworkers = 1\ncommit_interval_ms = {LINGER_MS}\ncommit_linger_ms = {LINGER_MS}\n"
    );
    fixture.set(&settings).unwrap();
    let _classifier = classifier(&fixture, "lingering", &fixture.kafka);
    let stream = Stream::start(&fixture);
    eventually("several transactions", TIMEOUT, || {
        (summaries(&fixture).len() >= 5).then_some(())
    })
    .unwrap();
    let sent = stream.finish();
    eventually("all records to be classified", TIMEOUT, || {
        let counted = summaries(&fixture);
        let counted = counted.iter().map(TransactionSummary::records);
        (counted.sum::<u64>() == sent).then_some(())
    })
    .unwrap();
    let records = fixture.records(&fixture.topics.summaries).unwrap();
    let mut times: Vec<i64> = records
        .iter()
        .filter_map(|record| record.timestamp)
        .collect();
    times.sort_unstable();
    assert!(times.len() > 2, "{times:?}");
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= LINGER_MS, "{times:?}");
    }
    assert_eq!(audit(&fixture), sent);
}
