//! Records whose outcome a topic refuses: each one is dead-lettered, and the others are not held up.

use std::collections::BTreeSet;

use iris_kafka::{
    Delivery, DeliveryListener, Headers, OutgoingRecord, Producer, StoredRecord, now_ms,
};
use iris_testkit::{Fixture, TIMEOUT};
use serde_json::Value;

/// The partition of all records.
const PARTITION: i32 = 3;

/// The setting that refuses timestamps in the future, and the one that accepts all.
const MAX_AHEAD: &str = "message.timestamp.after.max.ms";

/// Creates the fixture's topics, some of them with a setting.
fn fixture(settings: &[(&str, &'static str, &str)]) -> Fixture {
    let fixture = Fixture::new().unwrap();
    let names = fixture.topics.names();
    let mut specs = iris_admin::topic_specs(&fixture.topics);
    for &(key, setting, value) in settings {
        let (_, name) = names.iter().find(|(found, _)| *found == key).unwrap();
        let spec = specs.iter_mut().find(|spec| spec.name == *name).unwrap();
        spec.config.retain(|(found, _)| *found != setting);
        spec.config.push((setting, value.to_owned()));
    }
    fixture.create(&specs).unwrap();
    fixture
}

struct AllDelivered;

impl DeliveryListener for AllDelivered {
    fn delivered(&self, delivery: Delivery<'_>) {
        assert!(delivery.outcome.is_ok(), "{delivery:?}");
    }
}

/// Appends records to the input, each with a timestamp, a value and a header.
fn produce(fixture: &Fixture, records: &[(Option<i64>, String, String)]) {
    let producer = Producer::start(&fixture.kafka, "iris-testkit", AllDelivered).unwrap();
    for (timestamp, value, header) in records {
        let record = OutgoingRecord {
            topic: &fixture.topics.input,
            partition: Some(PARTITION),
            timestamp: *timestamp,
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::default().set("own", header),
        };
        assert!(producer.try_send(record).unwrap());
    }
    assert_eq!(producer.wait(TIMEOUT), 0);
}

fn setosa() -> String {
    r#"{"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2}"#.to_owned()
}

/// Returns text that compression does not make small.
fn random_text(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(length)
        .collect()
}

/// Classifies the input. Returns the predictions and the dead letters.
fn classify(fixture: &Fixture) -> (Vec<StoredRecord>, Vec<StoredRecord>) {
    let ended = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "3000"])
        .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let records = |topic: &str| fixture.records(topic).unwrap();
    let (predictions, letters) = (
        records(&fixture.topics.predictions),
        records(&fixture.topics.dead_letters),
    );
    println!("{}", ended.stderr);
    (predictions, letters)
}

fn header(record: &StoredRecord, name: &str) -> String {
    String::from_utf8(record.header(name).unwrap_or_default().to_vec()).unwrap()
}

/// Asserts that each of the first `records` offsets has exactly one outcome.
fn assert_one_outcome_each(predictions: &[StoredRecord], letters: &[StoredRecord], records: usize) {
    let provenance = predictions.iter().map(|record| {
        let provenance = header(record, "iris-provenance");
        provenance.split('-').nth(3).unwrap().to_owned()
    });
    let dead = letters
        .iter()
        .map(|letter| header(letter, "__iris.errors.offset"));
    let offsets: Vec<String> = provenance.chain(dead).collect();
    let distinct: BTreeSet<&String> = offsets.iter().collect();
    assert_eq!(
        (offsets.len(), distinct.len()),
        (records, records),
        "{offsets:?}"
    );
}

#[test]
fn a_record_with_a_timestamp_that_no_output_topic_accepts_is_dead_lettered_with_the_current_time() {
    let all = i64::MAX.to_string();
    let hour = "3600000";
    let fixture = fixture(&[
        ("input", MAX_AHEAD, &all),
        ("predictions", MAX_AHEAD, hour),
        ("feedback", MAX_AHEAD, hour),
        ("dead_letters", MAX_AHEAD, hour),
    ]);
    let now = now_ms();
    let records: Vec<(Option<i64>, String, String)> = (0..20)
        .map(|n| {
            // Microseconds instead of milliseconds; one of the two is malformed as well.
            let timestamp = if [7, 12].contains(&n) {
                now * 1_000
            } else {
                now
            };
            let value = if n == 12 { "{".to_owned() } else { setosa() };
            (Some(timestamp), value, "x".to_owned())
        })
        .collect();
    produce(&fixture, &records);
    let (predictions, letters) = classify(&fixture);
    assert_eq!(predictions.len(), 18);
    assert_one_outcome_each(&predictions, &letters, 20);
    for (letter, (topic, value)) in letters.iter().zip([
        (&fixture.topics.predictions, setosa()),
        (&fixture.topics.dead_letters, "{".to_owned()),
    ]) {
        let message = header(letter, "__iris.errors.message");
        let start = format!("outcome_rejected: topic `{topic}` refused the outcome");
        assert!(message.starts_with(&start), "{message}");
        let dropped = format!("refused it: timestamp {}", now * 1_000);
        assert!(
            message.contains("InvalidTimestamp") && message.ends_with(&dropped),
            "{message}"
        );
        assert_eq!(letter.value.as_deref(), Some(value.as_bytes()));
        assert_eq!(header(letter, "own"), "x");
        assert!(letter.timestamp.unwrap() < now + 600_000);
    }
}

#[test]
fn a_dead_letter_that_is_too_large_loses_the_parts_that_make_it_so() {
    let fixture = fixture(&[("dead_letters", "max.message.bytes", "800")]);
    let large = random_text(2_000);
    let record = |value: &str, header: &str| (None, value.to_owned(), header.to_owned());
    produce(
        &fixture,
        &[
            record(&setosa(), "x"),
            record("{", &large),
            record(&setosa(), &large),
            record(&large, "x"),
            record("{", "x"),
        ],
    );
    let (predictions, letters) = classify(&fixture);
    assert_eq!(predictions.len(), 2);
    assert_one_outcome_each(&predictions, &letters, 5);
    let kept: Vec<(bool, String)> = letters
        .iter()
        .map(|letter| (letter.value.is_some(), header(letter, "own")))
        .collect();
    let expected = [(false, ""), (false, "x"), (true, "x")];
    assert_eq!(
        kept,
        expected.map(|(value, header)| (value, header.to_owned()))
    );
    let messages: Vec<String> = letters
        .iter()
        .map(|letter| header(letter, "__iris.errors.message"))
        .collect();
    assert!(
        messages[0].ends_with("refused it: value, headers"),
        "{messages:?}"
    );
    assert!(messages[1].ends_with("refused it: value"), "{messages:?}");
    assert!(
        messages[0].starts_with("outcome_too_large: "),
        "{messages:?}"
    );
    assert!(messages[2].starts_with("not_json: "), "{messages:?}");

    // Those without their value stay: a record without a value would be sent.
    let ended = fixture.run("iris-admin", &["redrive", "--json"]).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["redriven"], serde_json::json!({ "not_json": 1 }));
    assert_eq!(report["without_value"], 2);
    for offset in [1, 3] {
        let again = format!(
            "send the record at offset {offset} of partition {PARTITION} of `{}` again: skipped",
            fixture.topics.input
        );
        assert!(ended.stderr.contains(&again), "{}", ended.stderr);
    }
    let records = fixture.records(&fixture.topics.input).unwrap();
    assert!(records.iter().all(|record| record.value.is_some()));
    assert_eq!(records.len(), 6);
}

#[test]
fn compacted_topics_of_outcomes_are_refused_at_start_by_name_setting_and_command() {
    for key in ["predictions", "feedback", "dead_letters", "summaries"] {
        let fixture = fixture(&[(key, "cleanup.policy", "compact")]);
        let names = fixture.topics.names();
        let (_, topic) = names.iter().find(|(found, _)| *found == key).unwrap();
        let ended = fixture
            .run("iris-classifier", &["--idle-timeout-ms", "1000"])
            .unwrap();
        assert_eq!(ended.code, Some(1), "{key}: {}", ended.stderr);
        for text in [
            format!("cannot write topic `{topic}`: its cleanup.policy is `compact`"),
            format!("--entity-name {topic} --add-config cleanup.policy=delete`"),
        ] {
            assert!(ended.stderr.contains(&text), "{key}: {}", ended.stderr);
        }
    }
    let fixture = fixture(&[("input", "cleanup.policy", "compact")]);
    let keyless = fixture.run("iris-producer", &[]).unwrap();
    assert_eq!(keyless.code, Some(1), "{}", keyless.stderr);
    fixture
        .set("[producer]\nkey = \"Id\"\ninterval_ms = 0\n")
        .unwrap();
    let keyed = fixture.run("iris-producer", &[]).unwrap();
    assert_eq!(keyed.code, Some(0), "{}", keyed.stderr);
}

#[test]
fn a_dead_letter_that_its_destination_refuses_is_skipped_and_the_rest_is_sent_back() {
    let fixture = fixture(&[("input", "max.message.bytes", "2000")]);
    let headers = Headers::default()
        .set("__iris.errors.topic", &fixture.topics.input)
        .set("__iris.errors.partition", "3")
        .set("__iris.errors.offset", "7")
        .set("__iris.errors.message", "not_json: x")
        .set("__iris.errors.attempt", "1");
    let large = random_text(3_000);
    let values = ["a", "b", &large, "c"].map(|value| Some(value.as_bytes()));
    let topic = &fixture.topics.dead_letters;
    fixture.produce(topic, 1, None, &values, &headers).unwrap();
    for (redriven, sent_before) in [(3, 0), (0, 3)] {
        let ended = fixture.run("iris-admin", &["redrive", "--json"]).unwrap();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(
            report["redriven"]["not_json"].as_u64().unwrap_or(0),
            redriven
        );
        assert_eq!(report["sent_before"], sent_before);
        assert_eq!(report["refused"], 1);
        let line = format!(
            "partition 1, offset 2 is refused by its destination `{}`: MessageSizeTooLarge",
            fixture.topics.input
        );
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    }
    let records = fixture.records(&fixture.topics.input).unwrap();
    let values: Vec<&[u8]> = records
        .iter()
        .map(|r| r.value.as_deref().unwrap())
        .collect();
    assert_eq!(values, [b"a", b"b", b"c"]);
}

#[test]
fn a_classifier_that_cannot_process_its_input_fails_instead_of_ending_as_idle() {
    // Even the summary of one record is too large. The record is not to blame, so it is not dead-lettered.
    let fixture = fixture(&[("summaries", "max.message.bytes", "100")]);
    produce(&fixture, &[(None, setosa(), "x".to_owned())]);
    let ended = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "1000"])
        .unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("and not all records are processed: "),
        "{}",
        ended.stderr
    );
    for topic in [&fixture.topics.predictions, &fixture.topics.dead_letters] {
        assert_eq!(fixture.records(topic).unwrap(), []);
    }
}
