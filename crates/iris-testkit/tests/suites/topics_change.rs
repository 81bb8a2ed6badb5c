//! Topics that are recreated, grown, truncated or deleted while services read them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use iris_admin::topic_specs;
use iris_feedback_store::{FeedbackReader, FeedbackRow};
use iris_kafka::{
    GroupOffsets, Headers, OutgoingRecord, StoredRecord, TopicEnds, TransactionalProducer,
};
use iris_testkit::{Fixture, Running, TIMEOUT, eventually, free_port, get, runtime};
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

/// How long a service may take to notice a change.
const NOTICED: Duration = Duration::from_secs(20);

/// A record that the served model predicts as setosa, with an id and a label.
fn flower(id: usize, label: &str) -> String {
    format!(
        r#"{{"Id":{id},"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"{label}"}}"#
    )
}

/// Appends records with these ids to a partition of the input topic. Their label is wrong, so that each becomes feedback.
fn send(fixture: &Fixture, partition: i32, ids: std::ops::Range<usize>) {
    let values: Vec<String> = ids.map(|id| flower(id, "Iris-virginica")).collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
    let topic = &fixture.topics.input;
    fixture
        .produce(topic, partition, None, &values, &Headers::default())
        .unwrap();
}

/// Creates the topics, and a settings file with a free port for a service's metrics.
fn fixture(settings: &str) -> (Fixture, u16) {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let port = fixture.set_with_endpoint(settings).unwrap();
    (fixture, port)
}

/// Deletes a topic and creates it again at once.
fn recreate(fixture: &Fixture, topic: &str) {
    fixture.delete(topic).unwrap();
    create(fixture, topic);
}

fn create(fixture: &Fixture, topic: &str) {
    let mut specs = topic_specs(&fixture.topics);
    specs.retain(|spec| spec.name == topic);
    fixture.create(&specs).unwrap();
}

fn ids(records: &[StoredRecord]) -> Vec<u64> {
    let id = |record: &StoredRecord| {
        let value: serde_json::Value =
            serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        value["Id"].as_u64().unwrap()
    };
    let mut ids: Vec<u64> = records.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

/// Waits until a topic has a number of records. Returns their ids after a pause, so that duplicates are noticed.
fn settled(fixture: &Fixture, topic: &str, count: usize) -> Vec<u64> {
    eventually(&format!("{count} records"), TIMEOUT, || {
        (fixture.records(topic).ok()?.len() >= count).then_some(())
    })
    .unwrap();
    thread::sleep(Duration::from_secs(4));
    ids(&fixture.records(topic).unwrap())
}

fn range(ids: std::ops::Range<u64>) -> Vec<u64> {
    ids.collect()
}

/// Waits until a path of the service's port shows a text.
fn await_text(port: u16, path: &str, text: &str) {
    eventually(text, NOTICED, || {
        get(port, path).filter(|(_, body)| body.contains(text))
    })
    .unwrap_or_else(|_| panic!("{text} in {:?}", get(port, path)));
}

/// Waits until the service is ready.
fn await_ready(port: u16) {
    let ready = || get(port, "/readyz").filter(|(status, _)| *status == 200);
    eventually("to be ready", TIMEOUT, ready).unwrap();
}

#[test]
fn every_record_of_a_recreated_input_topic_has_one_outcome() {
    let (fixture, _) = fixture("[classifier]\nworkers = 4\n");
    let (input, predictions) = (&fixture.topics.input, &fixture.topics.predictions);
    send(&fixture, 0, 0..20);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    assert_eq!(settled(&fixture, predictions, 20), range(0..20));
    // More records than before, so that the old position exists in the new topic.
    recreate(&fixture, input);
    send(&fixture, 0, 20..50);
    assert_eq!(settled(&fixture, predictions, 50), range(0..50));
    classifier
        .line_with("was deleted and recreated", TIMEOUT)
        .unwrap();
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
    let lines = classifier.lines();
    let logged = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(logged("was deleted and recreated"), 1, "{lines:?}");
    assert_eq!(logged("the transaction failed"), 0, "{lines:?}");
    // Fewer records than before, and while no classifier runs.
    recreate(&fixture, input);
    send(&fixture, 0, 50..60);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    assert_eq!(settled(&fixture, predictions, 60), range(0..60));
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
}

#[test]
fn records_that_are_deleted_before_they_are_read_are_counted_and_logged_once() {
    let (fixture, port) = fixture("");
    let (input, predictions) = (&fixture.topics.input, &fixture.topics.predictions);
    send(&fixture, 0, 0..20);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    assert_eq!(settled(&fixture, predictions, 20), range(0..20));
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
    send(&fixture, 0, 20..40);
    fixture.delete_records(input, &[(0, 30)].into()).unwrap();
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    await_text(port, "/metrics", &lost(input, 0, 10));
    let line = "10 records were deleted before they were read, at offsets 20 to 29";
    classifier.line_with(line, TIMEOUT).unwrap();
    let expected: Vec<u64> = (0..20).chain(30..40).collect();
    assert_eq!(settled(&fixture, predictions, 30), expected);

    // All that is left is deleted while the service is frozen.
    classifier.signal(Signal::STOP).unwrap();
    // The broker answers a fetch within 500 ms; after that, the process has none to which new records could be added.
    thread::sleep(Duration::from_secs(1));
    send(&fixture, 0, 40..50);
    send(&fixture, 1, 50..60);
    fixture
        .delete_records(input, &[(0, 45), (1, 10)].into())
        .unwrap();
    send(&fixture, 0, 60..61);
    classifier.signal(Signal::CONT).unwrap();
    await_text(port, "/metrics", &lost(input, 0, 15));
    let expected: Vec<u64> = (0..20).chain(30..40).chain(45..50).chain(60..61).collect();
    assert_eq!(settled(&fixture, predictions, 36), expected);
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
    let lines = classifier.lines();
    let logged = lines
        .iter()
        .filter(|line| line.contains("were deleted before"));
    assert_eq!(logged.count(), 2, "{lines:?}");
}

#[test]
fn records_that_are_deleted_before_a_marker_are_counted_while_another_partition_is_read() {
    let (fixture, port) = fixture("[classifier]\nworkers = 1\n");
    let (input, predictions) = (&fixture.topics.input, &fixture.topics.predictions);
    send(&fixture, 0, 0..10);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    assert_eq!(settled(&fixture, predictions, 10), range(0..10));
    let id = format!("{}-upstream", fixture.name());
    let mut upstream = TransactionalProducer::new(&fixture.kafka, "iris-testkit", &id).unwrap();
    let never = CancellationToken::new();
    assert!(upstream.prepare(&never, &mut |_| ()).unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                send(&fixture, 1, 0..1);
            }
        });
        let mut start = 10;
        for round in 1..=5 {
            classifier.signal(Signal::STOP).unwrap();
            thread::sleep(Duration::from_secs(1));
            upstream.begin().unwrap();
            for number in 0..10 {
                let value = flower(number, "Iris-virginica");
                let record = OutgoingRecord {
                    topic: input,
                    partition: Some(0),
                    timestamp: None,
                    key: None,
                    value: Some(value.as_bytes()),
                    headers: Headers::default(),
                };
                upstream.send(record).unwrap();
            }
            upstream.commit().unwrap();
            // The marker of the transaction is kept.
            fixture
                .delete_records(input, &[(0, start + 10)].into())
                .unwrap();
            classifier.signal(Signal::CONT).unwrap();
            await_text(port, "/metrics", &lost(input, 0, 10 * round));
            start += 11;
            // Behind the marker, which would count as a record of the next round.
            let group = fixture.classifier_group();
            let offsets = GroupOffsets::open(&fixture.kafka, &group, input).unwrap();
            eventually("the end to be committed", TIMEOUT, || {
                (offsets.committed().ok()?.get(0) == Some(start)).then_some(())
            })
            .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
}

/// Returns the metric of the records that were lost in a partition.
fn lost(topic: &str, partition: i32, records: u64) -> String {
    format!("iris_records_lost_total{{topic=\"{topic}\",partition=\"{partition}\"}} {records}\n")
}

#[test]
fn added_partitions_are_read_and_one_without_a_counterpart_is_reported_and_stops_no_other() {
    let (fixture, port) = fixture("[classifier]\nworkers = 4\n");
    let (input, predictions) = (&fixture.topics.input, &fixture.topics.predictions);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    await_ready(port);
    fixture.add_partitions(input, 6).unwrap();
    send(&fixture, 5, 0..10);
    let problem = format!("has 5 partitions and `{input}` has 6");
    await_text(port, "/readyz", &problem);
    send(&fixture, 0, 10..20);
    assert_eq!(settled(&fixture, predictions, 10), range(10..20));
    for topic in [
        &fixture.topics.feedback,
        &fixture.topics.dead_letters,
        predictions,
    ] {
        fixture.add_partitions(topic, 6).unwrap();
    }
    assert_eq!(settled(&fixture, predictions, 20), range(0..20));
    await_ready(port);
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
    let lines = classifier.lines();
    for topic in [
        &fixture.topics.feedback,
        &fixture.topics.dead_letters,
        predictions,
    ] {
        for start in ["ERROR ", "INFO resolved: "] {
            let text = format!("{start}topic `{topic}` {problem}");
            let logged = lines.iter().filter(|line| line.contains(&text));
            assert_eq!(logged.count(), 1, "{lines:?}");
        }
    }
}

#[test]
fn a_deleted_topic_is_reported_and_read_from_its_beginning_when_it_is_back() {
    let (fixture, port) = fixture("");
    let (input, predictions) = (&fixture.topics.input, &fixture.topics.predictions);
    send(&fixture, 0, 0..20);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    assert_eq!(settled(&fixture, predictions, 20), range(0..20));
    fixture.delete(input).unwrap();
    await_text(
        port,
        "/readyz",
        &format!("topic `{input}` does not exist any more"),
    );
    create(&fixture, input);
    send(&fixture, 0, 20..30);
    assert_eq!(settled(&fixture, predictions, 30), range(0..30));
    await_ready(port);
    fixture.delete(input).unwrap();
    await_text(
        port,
        "/readyz",
        &format!("topic `{input}` does not exist any more"),
    );
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
}

/// The number of rows in a store, and the different sources that they have.
fn rows(store: &str) -> (usize, usize) {
    let reader = FeedbackReader::new(&store.into(), None).unwrap();
    let rows = runtime().unwrap().block_on(reader.newest(1_000)).unwrap();
    let source = |row: &FeedbackRow| {
        let topic = row.source_topic.clone();
        (topic, row.source_partition, row.source_offset)
    };
    let sources: BTreeSet<(String, i64, i64)> = rows.iter().map(source).collect();
    (rows.len(), sources.len())
}

fn await_rows(store: &str, count: usize) {
    let found = || (rows(store).0 >= count).then_some(());
    eventually(&format!("{count} rows"), TIMEOUT, found).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(rows(store), (count, count));
}

/// Appends feedback records to a partition of the feedback topic.
fn send_feedback(fixture: &Fixture, partition: i32, ids: std::ops::Range<usize>) {
    let values: Vec<String> = ids.map(|id| flower(id, "Iris-virginica")).collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
    let topic = &fixture.topics.feedback;
    fixture
        .produce(topic, partition, None, &values, &Headers::default())
        .unwrap();
}

#[test]
fn the_sink_stores_every_record_of_a_recreated_grown_or_truncated_topic_once() {
    let (fixture, port) = fixture("");
    let (feedback, store) = (&fixture.topics.feedback, fixture.sqlite());
    let start = || {
        fixture
            .start("iris-feedback-sink", &["--store", &store])
            .unwrap()
    };
    let mut sink = start();
    send_feedback(&fixture, 0, 0..20);
    await_rows(&store, 20);
    recreate(&fixture, feedback);
    send_feedback(&fixture, 0, 20..50);
    await_rows(&store, 50);
    sink.line_with("was deleted and recreated", TIMEOUT)
        .unwrap();

    fixture.add_partitions(feedback, 6).unwrap();
    send_feedback(&fixture, 5, 50..60);
    await_rows(&store, 60);
    assert!(sink.terminate(TIMEOUT).unwrap().success());

    send_feedback(&fixture, 0, 60..70);
    fixture.delete_records(feedback, &[(0, 34)].into()).unwrap();
    let mut sink = start();
    await_text(port, "/metrics", &lost(feedback, 0, 4));
    await_rows(&store, 66);
    assert!(sink.terminate(TIMEOUT).unwrap().success());

    recreate(&fixture, feedback);
    send_feedback(&fixture, 0, 70..75);
    let mut sink = start();
    await_rows(&store, 71);
    fixture.delete(feedback).unwrap();
    await_text(
        port,
        "/readyz",
        &format!("topic `{feedback}` does not exist any more"),
    );
    assert!(sink.terminate(TIMEOUT).unwrap().success());
}

#[test]
fn the_trainer_reads_every_record_of_a_recreated_grown_or_truncated_topic_once() {
    let (fixture, port) = fixture("");
    let topics = &fixture.topics;
    let read = |count: u64| {
        await_text(
            port,
            "/metrics",
            &format!("iris_trainer_records_read_total{{kind=\"prediction\"}} {count}\n"),
        );
    };
    let classify = |partition, ids: std::ops::Range<usize>, count| {
        send(&fixture, partition, ids);
        let mut command = fixture.command("iris-classifier", &[]);
        command.env("IRIS__TELEMETRY__HTTP_ADDR", "");
        let mut classifier = Running::start("iris-classifier", command, false).unwrap();
        settled(&fixture, &topics.predictions, count);
        assert!(classifier.terminate(TIMEOUT).unwrap().success());
    };
    classify(0, 0..20, 20);
    let mut trainer = fixture.start("iris-trainer", &[]).unwrap();
    read(20);
    recreate(&fixture, &topics.predictions);
    classify(0, 20..50, 30);
    read(50);
    trainer
        .line_with("was deleted and recreated", TIMEOUT)
        .unwrap();

    fixture.add_partitions(&topics.predictions, 6).unwrap();
    let problem = format!(
        "topic `{}` has 5 partitions and `{}` has 6",
        topics.feedback, topics.predictions
    );
    await_text(port, "/readyz", &problem);
    for topic in [&topics.feedback, &topics.dead_letters, &topics.input] {
        fixture.add_partitions(topic, 6).unwrap();
    }
    classify(5, 50..60, 40);
    read(60);
    await_ready(port);
    assert!(trainer.terminate(TIMEOUT).unwrap().success());

    classify(0, 60..70, 50);
    fixture
        .delete_records(&topics.predictions, &[(0, 35)].into())
        .unwrap();
    let mut trainer = fixture.start("iris-trainer", &[]).unwrap();
    trainer
        .line_with("records were deleted before they were read", TIMEOUT)
        .unwrap();
    let metric = format!(
        "iris_records_lost_total{{topic=\"{}\",partition=\"0\"}} ",
        topics.predictions
    );
    await_text(port, "/metrics", &metric);
    assert!(trainer.terminate(TIMEOUT).unwrap().success());
}

#[test]
fn the_page_shows_the_records_of_a_recreated_or_grown_topic_and_counts_lost_ones() {
    let (fixture, port) = fixture("");
    let topics = &fixture.topics;
    let page = free_port().unwrap();
    let address = format!("127.0.0.1:{page}");
    let store = fixture.sqlite();
    let mut dashboard = fixture
        .start("iris-dashboard", &["--listen", &address, "--store", &store])
        .unwrap();
    await_ready(port);
    let mut command = fixture.command("iris-classifier", &[]);
    command.env("IRIS__TELEMETRY__HTTP_ADDR", "");
    let mut classifier = Running::start("iris-classifier", command, false).unwrap();
    let shown = |count: u64| await_text(page, "/api/v1/figures", &format!("\"records\":{count},"));
    send(&fixture, 0, 0..20);
    shown(20);
    recreate(&fixture, &topics.summaries);
    recreate(&fixture, &topics.predictions);
    send(&fixture, 0, 20..50);
    shown(50);
    await_text(page, "/api/v1/predictions", "\"49\"");

    for topic in [
        &topics.feedback,
        &topics.dead_letters,
        &topics.predictions,
        &topics.input,
    ] {
        fixture.add_partitions(topic, 6).unwrap();
    }
    send(&fixture, 5, 50..60);
    shown(60);
    await_text(page, "/api/v1/predictions", "\"59\"");
    await_text(page, "/api/v1/partitions", "\"partition\":5,");

    dashboard.signal(Signal::STOP).unwrap();
    send(&fixture, 0, 60..70);
    settled(&fixture, &topics.predictions, 50);
    let ends = TopicEnds::open(&fixture.kafka, &topics.summaries).unwrap();
    fixture
        .delete_records(&topics.summaries, &ends.offsets().unwrap())
        .unwrap();
    dashboard.signal(Signal::CONT).unwrap();
    let metric = format!(
        "iris_records_lost_total{{topic=\"{}\",partition=\"0\"}} ",
        topics.summaries
    );
    await_text(port, "/metrics", &metric);
    dashboard
        .line_with("were deleted before they were read", TIMEOUT)
        .unwrap();
    assert!(dashboard.terminate(TIMEOUT).unwrap().success());
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
}
