//! Dead letters are sent back to their origin, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use iris_kafka::{Headers, StoredRecord, TopicEnds};
use iris_testkit::{Fixture, TIMEOUT, dataset, eventually};
use serde_json::Value;

/// The number of kills that the documentation names.
const LETTERS: usize = 1_000;

fn fixture() -> Fixture {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture
}

/// Returns settings under which no row of the iris dataset has the features.
fn wine() -> String {
    let path = dataset("wine.csv").display().to_string();
    format!(
        "[dataset]\npath = \"{path}\"\nid = \"Bottle\"\nlabel = \"Cultivar\"\nfeatures = [\"Alcohol\", \"Ash\"]\n\
         [telemetry]\nlog = \"info,record=off\"\n"
    )
}

/// Runs redrive. Returns its JSON report.
fn redrive(fixture: &Fixture, args: &[&str]) -> Value {
    let ended = fixture
        .run("iris-admin", &[&["redrive", "--json"], args].concat())
        .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn redriven(report: &Value) -> u64 {
    let reasons = report["redriven"].as_object().unwrap();
    reasons.values().map(|count| count.as_u64().unwrap()).sum()
}

fn classify(fixture: &Fixture) {
    let ended = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "2000"])
        .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn header(record: &StoredRecord, name: &str) -> String {
    String::from_utf8(record.header(name).unwrap_or_default().to_vec()).unwrap()
}

/// Appends dead letters of one partition, as the classifier writes them; each value is its number.
fn dead_letters(fixture: &Fixture, reason: &str, partition: i32, numbers: Range<usize>) {
    let headers = Headers::default()
        .set("traceparent", "00-0af7-01")
        .set("__iris.errors.topic", &fixture.topics.input)
        .set("__iris.errors.partition", &partition.to_string())
        .set("__iris.errors.offset", "7")
        .set("__iris.errors.message", &format!("{reason}: so it is"))
        .set("__iris.errors.attempt", "1");
    let values: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|n| Some(n.as_bytes())).collect();
    let topic = &fixture.topics.dead_letters;
    fixture
        .produce(topic, partition, Some(b"key"), &values, &headers)
        .unwrap();
}

#[test]
fn dead_letters_become_predictions_once_after_their_cause_is_fixed() {
    let mut fixture = fixture();
    fixture
        .set("[producer]\ninterval_ms = 0\nrounds = 7\nkey = \"Id\"\n")
        .unwrap();
    assert_eq!(fixture.run("iris-producer", &[]).unwrap().code, Some(0));
    // A classifier with the settings and the registry of another dataset dead-letters every record.
    let models = fixture.topics.models.clone();
    fixture.topics.models += "-wine";
    fixture.create_topics().unwrap();
    fixture.set(&wine()).unwrap();
    classify(&fixture);
    fixture.topics.models = models;
    let letters = fixture.records(&fixture.topics.dead_letters).unwrap();
    assert!(letters.len() >= LETTERS, "{}", letters.len());

    fixture.set("").unwrap();
    let dry = redrive(&fixture, &["--dry-run"]);
    assert_eq!(redriven(&dry), letters.len() as u64);
    assert_eq!(
        fixture.records(&fixture.topics.input).unwrap().len(),
        letters.len()
    );
    let first = redrive(&fixture, &[]);
    assert_eq!(
        first["redriven"],
        serde_json::json!({ "missing_feature": letters.len() })
    );
    let second = redrive(&fixture, &[]);
    assert_eq!(
        (redriven(&second), second["sent_before"].as_u64()),
        (0, Some(letters.len() as u64))
    );

    classify(&fixture);
    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    assert_eq!(predictions.len(), letters.len());
    let mut left: BTreeMap<(i32, Vec<u8>, Vec<u8>), usize> = BTreeMap::new();
    for letter in letters {
        let id = (letter.partition, letter.key.unwrap(), letter.value.unwrap());
        *left.entry(id).or_default() += 1;
    }
    for prediction in predictions {
        assert_eq!(header(&prediction, "__iris.errors.attempt"), "2");
        assert_eq!(prediction.header("__iris.errors.message"), None);
        let value = String::from_utf8(prediction.value.unwrap()).unwrap();
        let (before, _) = value.split_once(",\"PredictedSpecies\"").unwrap();
        let id = (
            prediction.partition,
            prediction.key.unwrap(),
            format!("{before}}}").into_bytes(),
        );
        let count = left.get_mut(&id).unwrap();
        *count -= 1;
        if *count == 0 {
            left.remove(&id);
        }
    }
    assert!(left.is_empty());
}

#[test]
fn only_selected_dead_letters_are_sent_back_and_the_others_later() {
    let mut fixture = fixture();
    dead_letters(&fixture, "not_json", 1, 0..50);
    dead_letters(&fixture, "no_value", 1, 50..90);
    dead_letters(&fixture, "no_value", 4, 90..150);
    // Not a dead letter, not of this pipeline, and without an existing partition.
    let elsewhere = Headers::default()
        .set("__iris.errors.topic", "payments")
        .set("__iris.errors.partition", "0")
        .set("__iris.errors.offset", "7")
        .set("__iris.errors.message", "not_json: x");
    let nowhere = elsewhere
        .clone()
        .set("__iris.errors.topic", &fixture.topics.input)
        .set("__iris.errors.partition", "77");
    for headers in [Headers::default(), elsewhere, nowhere] {
        fixture
            .produce(
                &fixture.topics.dead_letters,
                0,
                None,
                &[Some(b"stray")],
                &headers,
            )
            .unwrap();
    }
    let future = redrive(&fixture, &["--since", "2199-01-01T00:00:00Z"]);
    assert_eq!(
        (redriven(&future), future["not_selected"].as_u64()),
        (0, Some(150))
    );
    let some = redrive(
        &fixture,
        &[
            "--reason",
            "no_value",
            "--partition",
            "1",
            "--partition",
            "3",
        ],
    );
    assert_eq!(some["redriven"], serde_json::json!({ "no_value": 40 }));
    assert_eq!(some["skipped"], 3);
    let others = redrive(&fixture, &["--until", "2199-01-01T00:00:00Z"]);
    assert_eq!(
        others["redriven"],
        serde_json::json!({ "no_value": 60, "not_json": 50 })
    );
    assert_eq!(others["sent_before"], 40);
    let records = fixture.records(&fixture.topics.input).unwrap();
    assert_eq!(records.len(), 150);
    for record in &records {
        assert_eq!(record.key.as_deref(), Some(b"key".as_slice()));
        assert_eq!(header(record, "__iris.errors.attempt"), "2");
        assert_eq!(header(record, "traceparent"), "00-0af7-01");
        assert_eq!(record.headers.len(), 2);
    }

    // A record that fails again becomes another dead letter, of the second attempt.
    fixture.topics.models += "-wine";
    fixture.create_topics().unwrap();
    fixture.set(&wine()).unwrap();
    classify(&fixture);
    let letters = fixture.records(&fixture.topics.dead_letters).unwrap();
    let again = letters
        .iter()
        .filter(|letter| header(letter, "__iris.errors.attempt") == "2")
        .count();
    assert_eq!(again, 150);
}

#[test]
fn a_receipt_of_a_previous_topic_does_not_count() {
    let fixture = fixture();
    dead_letters(&fixture, "not_json", 1, 0..10);
    let topic = &fixture.topics.dead_letters;
    let receipt = br#"{"redriven":[[0,9]],"topic_id":"4Yy1GbkqTBqqG6KrqGAyeQ"}"#;
    let header = Headers::default().set("__iris.redrive.receipt", "00");
    let receipt = [Some(receipt.as_slice())];
    fixture.produce(topic, 1, None, &receipt, &header).unwrap();
    for (sent, before) in [(10, 0), (0, 10)] {
        let report = redrive(&fixture, &[]);
        let counts = (redriven(&report), report["sent_before"].as_u64());
        assert_eq!(counts, (sent, Some(before)), "{report}");
    }
}

#[test]
fn repeated_runs_that_are_killed_send_each_dead_letter_once() {
    const KILLS: usize = 20;
    /// The number of runs that must be killed after they have sent some dead letters and before they have sent all.
    const KILLS_AT_WORK: usize = 18;
    /// More dead letters than the killed runs send.
    const LETTERS: usize = 50_000;
    /// The most dead letters that a run sends before it is killed, beyond those that its predecessor may have left.
    const MAX_SENT: i64 = 1_000;
    /// The most offsets of an aborted transaction of a killed run: a batch, and a marker in each partition.
    const MAX_ABORTED_OFFSETS: i64 = 505;
    let fixture = fixture();
    let mut random = fixture.random().unwrap();
    for partition in 0..5 {
        let first = usize::try_from(partition).unwrap() * LETTERS / 5;
        dead_letters(&fixture, "not_json", partition, first..first + LETTERS / 5);
    }
    let ends = TopicEnds::open(&fixture.kafka, &fixture.topics.input).unwrap();
    let sent = || ends.offsets().unwrap().values().sum::<i64>();
    let mut kills_at_work = 0;
    for _ in 0..KILLS {
        let mut run = fixture.start("iris-admin", &["redrive"]).unwrap();
        let wanted = sent() + MAX_ABORTED_OFFSETS + random.i64(1..=MAX_SENT);
        let has_sent = || sent() >= wanted;
        eventually("the run to send letters", TIMEOUT, || {
            (has_sent() || !run.is_running()).then_some(())
        })
        .unwrap();
        kills_at_work += usize::from(has_sent() && run.is_running());
        drop(run);
    }
    let left = redriven(&redrive(&fixture, &[]));
    println!("{kills_at_work} of {KILLS} kills met a run at work, and {left} letters were left");
    assert!(left > 0, "only the first run had dead letters to send");
    assert!(kills_at_work >= KILLS_AT_WORK, "{kills_at_work}");
    assert_eq!(redriven(&redrive(&fixture, &[])), 0);
    let records = fixture.records(&fixture.topics.input).unwrap();
    let distinct: BTreeSet<&[u8]> = records
        .iter()
        .map(|record| record.value.as_deref().unwrap())
        .collect();
    assert_eq!((records.len(), distinct.len()), (LETTERS, LETTERS));
}
