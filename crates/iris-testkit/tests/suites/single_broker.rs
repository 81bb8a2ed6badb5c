//! A broker without others that stops or is killed while records are processed: each record has exactly one outcome.
//!
//! In Kafka 4.3.1 and 4.4.0, such a broker loses the markers of transactions, so that they neither commit nor abort.

use std::time::Duration;

use iris_kafka::TopicEnds;
use iris_testkit::ledger::FindingCounts;
use iris_testkit::{Fixture, Local, Running, TIMEOUT, eventually};
use rustix::process::Signal;

/// A broker that was killed can be used after this time. Open transactions expire before, after 15 s.
const SESSION: &str = "broker.session.timeout.ms=16000\n";

/// Transactions are long, so that one is open at each fault, and none is ending: if the broker has written only some markers of a
/// transaction, its outcomes differ.
const SETTINGS: &str = "[classifier]\ncommit_interval_ms = 3000\ncommit_linger_ms = 3000\n\
    [telemetry]\nlog = \"info,record=off\"\n";

/// How many predictions are committed between two faults.
const PREDICTIONS: i64 = 500;

/// How the broker ends.
type End = fn(&mut Local);

/// Waits until more predictions have been committed.
fn await_progress(fixture: &Fixture) {
    let ends = TopicEnds::open(&fixture.kafka, &fixture.topics.predictions).unwrap();
    let count = || -> Option<i64> { Some(ends.offsets().ok()?.values().sum()) };
    let mut first = None;
    eventually("more predictions", TIMEOUT, || {
        let now = count()?;
        let first = *first.get_or_insert(now);
        (now - first >= PREDICTIONS).then_some(())
    })
    .unwrap();
}

fn start_classifier(fixture: &Fixture) -> Running {
    fixture.start("iris-classifier", &[]).unwrap()
}

#[test]
fn each_record_has_one_outcome_although_the_only_broker_loses_the_ends_of_transactions() {
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = Local::start_kafka(directory.path(), SESSION).unwrap();
    let fixture = Fixture::for_broker(&format!("localhost:{}", kafka.port())).unwrap();
    fixture.create_topics().unwrap();
    fixture.set(SETTINGS).unwrap();
    let mut classifier = start_classifier(&fixture);
    let send = ["--rounds", "100000", "--interval-ms", "1"];
    let mut producer = fixture.start("iris-producer", &send).unwrap();
    let faults: [(End, bool); 4] = [
        (Local::kill, false),
        (Local::stop, false),
        (Local::kill, true),
        (Local::stop, true),
    ];
    for (end, with_classifier) in faults {
        await_progress(&fixture);
        end(&mut kafka);
        if with_classifier {
            classifier.signal(Signal::KILL).unwrap();
        }
        kafka.resume().unwrap();
        if with_classifier {
            classifier = start_classifier(&fixture);
        }
    }
    await_progress(&fixture);
    assert!(producer.terminate(TIMEOUT).unwrap().success());
    let end = fixture.await_processed().unwrap();
    assert!(
        classifier
            .terminate(Duration::from_secs(20))
            .unwrap()
            .success()
    );
    let (_, findings) = fixture.audit(&end).unwrap();
    assert_eq!(findings.counts(), FindingCounts::default(), "{findings}");
}
