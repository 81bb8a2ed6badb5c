//! A partition that ends with a transaction marker or with aborted records has no lag once it is read: for Kafka's tools, on the
//! page, and after restarts and rebalances.

use std::collections::BTreeMap;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use iris_kafka::{
    Fault, GroupOffsets, Headers, KafkaSettings, OutgoingRecord, Positions, TopicEnds,
    TransactionalProducer,
};
use iris_testkit::{Fixture, GroupLag, Running, TIMEOUT, eventually, free_port, get};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// How long after the last outcome there may be a lag.
const SETTLED: Duration = Duration::from_secs(5);

/// How long a lag of 0 is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// A record that the served model predicts as setosa, with a wrong label, so that it becomes feedback.
fn flower(id: usize) -> String {
    format!(
        r#"{{"Id":{id},"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris-virginica"}}"#
    )
}

/// How a transaction of the test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
}

/// A pipeline, its page, and a producer of transactions in its input topic.
struct Pipeline {
    fixture: Fixture,
    /// A client that sees the ends of partitions as Kafka's tools do.
    ends_settings: KafkaSettings,
    page: u16,
    _dashboard: Running,
    upstream: TransactionalProducer,
    /// The ids that are to be predicted.
    sent: Vec<usize>,
}

impl Pipeline {
    fn new() -> Self {
        let fixture = Fixture::new().unwrap();
        fixture.create_topics().unwrap();
        let mut ends_settings = fixture.kafka.clone();
        let isolation = ("isolation.level".to_owned(), "read_uncommitted".to_owned());
        ends_settings.librdkafka.extend([isolation]);
        let id = format!("{}-upstream", fixture.name());
        let upstream = TransactionalProducer::new(&fixture.kafka, "iris-testkit", &id).unwrap();
        let page = free_port().unwrap();
        let listen = format!("127.0.0.1:{page}");
        let store = fixture.sqlite();
        let args = ["--listen", &listen, "--store", &store];
        Self {
            _dashboard: fixture.start("iris-dashboard", &args).unwrap(),
            fixture,
            ends_settings,
            page,
            upstream,
            sent: Vec::new(),
        }
    }

    fn classifier(&self) -> Running {
        self.fixture.start("iris-classifier", &[]).unwrap()
    }

    fn sink(&self) -> Running {
        let store = self.fixture.sqlite();
        let args = ["--store", store.as_str()];
        self.fixture.start("iris-feedback-sink", &args).unwrap()
    }

    fn ends(&self, topic: &str) -> Positions {
        let ends = TopicEnds::open(&self.ends_settings, topic).unwrap();
        // A topic that was just created may have no leaders yet.
        eventually("the ends", TIMEOUT, || ends.offsets().ok()).unwrap()
    }

    /// Appends records without a transaction.
    fn send(&mut self, partition: i32, ids: Range<usize>) {
        let values: Vec<String> = ids.clone().map(flower).collect();
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_bytes())).collect();
        let topic = &self.fixture.topics.input;
        let headers = Headers::default();
        self.fixture
            .produce(topic, partition, None, &values, &headers)
            .unwrap();
        self.sent.extend(ids);
    }

    /// Appends records to partitions in one transaction.
    fn transact(&mut self, partitions: &[i32], ids: Range<usize>, end: End) {
        let stop = CancellationToken::new();
        assert!(self.upstream.prepare(&stop, &mut |_| ()).unwrap());
        let topic = self.fixture.topics.input.clone();
        let before: i64 = self.ends(&topic).values().sum();
        self.upstream.begin().unwrap();
        for (id, &partition) in ids.clone().zip(partitions.iter().cycle()) {
            let value = flower(id);
            let record = OutgoingRecord {
                topic: &topic,
                partition: Some(partition),
                timestamp: None,
                key: None,
                value: Some(value.as_bytes()),
                headers: Headers::default(),
            };
            self.upstream.send(record).unwrap();
        }
        match end {
            End::Commit => {
                self.upstream.commit().unwrap();
                self.sent.extend(ids);
            }
            End::Abort => {
                // An abort drops the records that have not been appended.
                let appended = before + i64::try_from(ids.len()).unwrap();
                eventually("the records to be appended", TIMEOUT, || {
                    let ends: i64 = self.ends(&topic).values().sum();
                    (ends >= appended).then_some(())
                })
                .unwrap();
                let fault = Fault::Abortable("by a test".to_owned());
                self.upstream.abort(&fault);
            }
        }
    }

    /// Returns the lag of each partition as Kafka's tools compute it.
    fn lags(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let offsets = GroupOffsets::open(&self.fixture.kafka, group, topic).unwrap();
        let committed = || offsets.committed().ok();
        let committed = eventually("the committed offsets", TIMEOUT, committed).unwrap();
        let lag = |(partition, end)| (partition, end - committed.get(partition).unwrap_or(0));
        self.ends(topic).iter().map(lag).collect()
    }

    /// Returns all that has a lag: partitions of both groups, and partitions of the page.
    fn behind(&self) -> Vec<String> {
        let (name, topics) = (self.fixture.name(), &self.fixture.topics);
        let groups = [
            (self.fixture.classifier_group(), &topics.input),
            (format!("{name}-sink"), &topics.feedback),
        ];
        let mut behind = Vec::new();
        for (group, topic) in groups {
            for (partition, lag) in self.lags(&group, topic) {
                if lag != 0 {
                    behind.push(format!("{group}: partition {partition} has lag {lag}"));
                }
            }
        }
        let ends = self.ends(&topics.input);
        let (_, body) = get(self.page, "/api/v1/partitions").unwrap();
        let shown: Vec<Value> = serde_json::from_str(&body).unwrap();
        if shown.len() != ends.len() {
            behind.push(format!("the page shows {} partitions", shown.len()));
        }
        for partition in shown {
            let number = partition["partition"].as_i64().unwrap();
            let end = ends.get(i32::try_from(number).unwrap()).unwrap();
            let is_right = if end == 0 {
                partition["state"] == "empty"
            } else {
                partition["state"] == "caught_up"
                    && partition["lag"] == 0
                    && partition["end_offset"] == end
            };
            if !is_right {
                behind.push(format!("the page, end {end}: {partition}"));
            }
        }
        behind
    }

    /// Waits until every record has one prediction. Then there is no lag in time, and it stays so.
    #[track_caller]
    fn check(&self, step: &str) {
        let predictions = &self.fixture.topics.predictions;
        let ids = || -> Vec<usize> {
            let records = self.fixture.records(predictions).unwrap();
            let id = |record: &iris_kafka::StoredRecord| {
                let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
                usize::try_from(value["Id"].as_u64()?).ok()
            };
            let mut ids: Vec<usize> = records.iter().filter_map(id).collect();
            ids.sort_unstable();
            ids
        };
        let mut expected = self.sent.clone();
        expected.sort_unstable();
        let all = || (ids().len() >= expected.len()).then_some(());
        eventually("all predictions", TIMEOUT, all).unwrap();
        self.await_no_lag(step);
        assert_eq!(ids(), expected, "{step}");
    }

    /// Waits until every record has one prediction. Then Kafka's own tool shows no lag for any group in time.
    #[track_caller]
    fn check_with_tool(&self, step: &str) {
        self.check(step);
        let (kafka, topics) = (&self.fixture.kafka, &self.fixture.topics);
        let lags = GroupLag::await_none(kafka, self.fixture.name(), SETTLED).unwrap();
        let behind: Vec<&GroupLag> = lags.iter().filter(|lag| !lag.is_none()).collect();
        assert!(behind.is_empty(), "{step}: {behind:?}");
        for topic in [&topics.input, &topics.feedback] {
            let mut found: Vec<i32> = lags
                .iter()
                .filter(|lag| lag.topic == *topic)
                .map(|lag| lag.partition)
                .collect();
            found.sort_unstable();
            assert_eq!(found, [0, 1, 2, 3, 4], "{step}: {lags:?}");
        }
    }

    /// Waits until there is no lag, and watches that it stays so.
    #[track_caller]
    fn await_no_lag(&self, step: &str) {
        let began = Instant::now();
        let is_settled = eventually("no lag", SETTLED, || self.behind().is_empty().then_some(()));
        assert!(is_settled.is_ok(), "{step}: {:?}", self.behind());
        println!("{step}: no lag after {} ms", began.elapsed().as_millis());
        let watched = Instant::now();
        while watched.elapsed() < WATCHED {
            assert_eq!(self.behind(), [] as [String; 0], "{step}");
            thread::sleep(Duration::from_millis(250));
        }
    }
}

#[test]
fn partitions_that_end_with_markers_or_aborted_records_have_no_lag() {
    let mut pipeline = Pipeline::new();
    let (mut classifier, mut sink) = (pipeline.classifier(), pipeline.sink());
    pipeline.send(0, 0..20);
    pipeline.check_with_tool("records without a transaction");
    pipeline.transact(&[0, 1], 20..30, End::Commit);
    pipeline.check("a transaction");
    pipeline.transact(&[1], 30..35, End::Abort);
    pipeline.check("an aborted transaction after a committed one");
    pipeline.transact(&[2], 40..45, End::Abort);
    pipeline.check_with_tool("an aborted transaction and nothing else");
    for round in 0..3 {
        let first = 100 + round * 10;
        pipeline.transact(&[0, 2], first..first + 4, End::Abort);
        pipeline.transact(&[0, 1], first..first + 4, End::Commit);
        pipeline.transact(&[0], first + 4..first + 6, End::Abort);
    }
    pipeline.check("transactions of both kinds");

    assert!(classifier.terminate(TIMEOUT).unwrap().success());
    assert!(sink.terminate(TIMEOUT).unwrap().success());
    pipeline.transact(&[3], 200..205, End::Abort);
    pipeline.transact(&[1, 4], 210..216, End::Commit);
    (classifier, sink) = (pipeline.classifier(), pipeline.sink());
    pipeline.check("transactions while no service ran");

    assert!(classifier.terminate(TIMEOUT).unwrap().success());
    assert!(sink.terminate(TIMEOUT).unwrap().success());
    (classifier, sink) = (pipeline.classifier(), pipeline.sink());
    pipeline.send(3, 220..223);
    pipeline.check("a restart and records");
    drop((classifier, sink));
}

#[test]
fn redriven_dead_letters_leave_no_lag() {
    let mut pipeline = Pipeline::new();
    let (_classifier, _sink) = (pipeline.classifier(), pipeline.sink());
    pipeline.send(0, 0..5);
    let topics = &pipeline.fixture.topics;
    let values: [Option<&[u8]>; 2] = [Some(b"not JSON"), None];
    let letters = |count: usize| {
        eventually("dead letters", TIMEOUT, || {
            let letters = pipeline.fixture.records(&topics.dead_letters).ok()?;
            let is_letter =
                |record: &&iris_kafka::StoredRecord| record.header("__iris.errors.topic").is_some();
            (letters.iter().filter(is_letter).count() >= count).then_some(())
        })
        .unwrap();
    };
    for partition in [0, 2] {
        pipeline
            .fixture
            .produce(&topics.input, partition, None, &values, &Headers::default())
            .unwrap();
    }
    letters(4);
    let redriven = pipeline.fixture.run("iris-admin", &["redrive"]).unwrap();
    assert_eq!(redriven.code, Some(0), "{}", redriven.stderr);
    letters(8);
    pipeline.check_with_tool("a redrive");
}

#[test]
fn a_rebalance_leaves_no_lag_and_redelivers_nothing() {
    let mut pipeline = Pipeline::new();
    let workers = "[classifier]\nworkers = 2\n";
    pipeline.fixture.set(workers).unwrap();
    let (mut first, _sink) = (pipeline.classifier(), pipeline.sink());
    pipeline.transact(&[0, 1, 2, 3], 0..20, End::Commit);
    pipeline.check("one member");
    let mut next = 20;
    let second = pipeline.classifier();
    let joined = Instant::now();
    while joined.elapsed() < Duration::from_secs(8) {
        pipeline.transact(&[0, 1, 2], next..next + 6, End::Commit);
        pipeline.transact(&[1, 4], next + 6..next + 8, End::Abort);
        next += 8;
    }
    pipeline.check("a second member");
    pipeline.transact(&[0, 3, 4], next..next + 6, End::Abort);
    assert!(first.terminate(TIMEOUT).unwrap().success());
    pipeline.transact(&[2, 3], next + 6..next + 10, End::Commit);
    pipeline.transact(&[0, 1, 2, 3, 4], next + 10..next + 15, End::Abort);
    pipeline.check_with_tool("the first member has left");
    drop(second);
}
