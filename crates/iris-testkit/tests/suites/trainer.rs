//! The trainer: late labels, labels that it cannot use, too many records, and its takeover by a second trainer.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use iris_contract::loop_figures::FIGURES_KEY;
use iris_contract::registry::Action;
use iris_contract::{LoopFigures, PROVENANCE_HEADER};
use iris_core::{Dataset, ModelVersion, Schema};
use iris_kafka::{Headers, NewestRecord, OutgoingRecord};
use iris_registry::Grounds;
use iris_registry::Registry;
use iris_registry::RegistryTopic;
use iris_testkit::{Fixture, Sender, TIMEOUT, dataset, eventually, get};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(super) fn registry_topic(fixture: &Fixture) -> RegistryTopic {
    RegistryTopic::new(&fixture.kafka, &fixture.topics.models, "iris-testkit")
}

pub(super) fn registry(fixture: &Fixture) -> Registry {
    registry_topic(fixture).read().unwrap()
}

pub(super) fn iris() -> Dataset {
    let csv = fs::read(dataset("iris.csv")).unwrap();
    Dataset::parse(&csv, &Schema::default()).unwrap()
}

/// Sends flowers with these ids, noisy copies of the dataset's, and waits for their predictions. The share `poisoned` of
/// them has a wrong label.
pub(super) fn classify(fixture: &Fixture, ids: Range<usize>, poisoned: f64) {
    let (rows, schema) = (iris(), Schema::default());
    let classes = ["Iris-setosa", "Iris-versicolor", "Iris-virginica"];
    let mut random = fastrand::Rng::with_seed(11);
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let count = ids.end;
    for id in ids {
        let row = random.usize(..rows.len());
        let mut record = json!({ &schema.id: id });
        for (feature, value) in schema.features.iter().zip(rows.features(row)) {
            record[feature] = json!(value + 0.6 * (random.f64() - 0.5));
        }
        let is_poisoned = random.f64() < poisoned;
        let wrong = random.usize(..3);
        let label = if is_poisoned {
            classes[wrong]
        } else {
            rows.label(row).unwrap_or_default()
        };
        record[&schema.label] = json!(label);
        let partition = i32::try_from(id % 5).unwrap();
        values
            .entry(partition)
            .or_default()
            .push(record.to_string());
    }
    for (partition, values) in &values {
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_bytes())).collect();
        let topic = &fixture.topics.input;
        fixture
            .produce(topic, *partition, None, &values, &Headers::default())
            .unwrap();
    }
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    eventually("every record to be classified", TIMEOUT, || {
        let predictions = fixture.records(&fixture.topics.predictions).ok()?;
        (predictions.len() == count).then_some(())
    })
    .unwrap();
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
}

/// Switches the fixture to another registry, trainer's state and feedback, with the same predictions and first champion.
pub(super) fn use_other_registry(fixture: &mut Fixture, settings: &str) {
    let champion = {
        let known = registry(fixture);
        let champion = known.decisions().next().unwrap().decision.version;
        registry_topic(fixture).load(&known, champion).unwrap()
    };
    for name in [
        &mut fixture.topics.models,
        &mut fixture.topics.trainer_state,
        &mut fixture.topics.feedback,
    ] {
        name.push_str("-beside");
    }
    fixture.set(settings).unwrap();
    fixture.create_topics().unwrap();
    registry_topic(fixture)
        .update(&CancellationToken::new(), &mut |registry| {
            Ok(registry.offer(&champion, Grounds::default()))
        })
        .unwrap();
}

/// Returns the latest figures of the learning loop.
pub(super) fn loop_figures(fixture: &Fixture) -> LoopFigures {
    let topic = &fixture.topics.trainer_state;
    let mut newest = NewestRecord::open(&fixture.kafka, topic, FIGURES_KEY).unwrap();
    let record = newest.look().unwrap().unwrap();
    LoopFigures::read(&record.value.unwrap()).unwrap()
}

/// Returns the decisions and their models.
pub(super) fn decisions(fixture: &Fixture) -> Vec<(Action, ModelVersion)> {
    registry(fixture)
        .decisions()
        .map(|recorded| (recorded.decision.action, recorded.decision.version))
        .collect()
}

pub(super) fn learn_all(fixture: &Fixture) {
    let ended = fixture.run("iris-trainer", &["--once"]).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn a_late_label_becomes_feedback_once_and_is_learned() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture
        .set("[trainer]\nlearn = \"errors\"\nholdout_ratio = 0\n")
        .unwrap();
    let schema = Schema::default();
    let flower = json!({
        &schema.id: "late", "SepalLengthCm": 5.1, "SepalWidthCm": 3.5, "PetalLengthCm": 1.4, "PetalWidthCm": 0.2
    })
    .to_string();
    let label = |value: Option<Value>| {
        let value = value.map(|value| value.to_string());
        let values = [value.as_ref().map(String::as_bytes)];
        let (topic, headers) = (&fixture.topics.labels, Headers::default());
        fixture
            .produce(topic, 1, Some(b"late"), &values, &headers)
            .unwrap();
    };
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    let values = [Some(flower.as_bytes())];
    fixture
        .produce(
            &fixture.topics.input,
            3,
            Some(b"k"),
            &values,
            &Headers::default(),
        )
        .unwrap();
    let prediction = eventually("the flower to be classified", TIMEOUT, || {
        fixture.records(&fixture.topics.predictions).ok()?.pop()
    })
    .unwrap();
    assert!(classifier.terminate(TIMEOUT).unwrap().success());

    let mut trainer = fixture.start("iris-trainer", &[]).unwrap();
    trainer.line_with("learning from ", TIMEOUT).unwrap();
    label(Some(json!("not an object")));
    label(Some(json!({ &schema.label: "Iris-virginica" })));
    let feedback = eventually("feedback", TIMEOUT, || {
        fixture.records(&fixture.topics.feedback).ok()?.pop()
    })
    .unwrap();
    let skipped = trainer.line_with("skipped ", TIMEOUT).unwrap();
    assert!(
        skipped.contains(&format!(
            "partition 1 of topic `{}`, offset 0",
            fixture.topics.labels
        )),
        "{skipped}"
    );
    assert_eq!(feedback.partition, 3);
    assert_eq!(feedback.key, prediction.key);
    assert_eq!(feedback.timestamp, prediction.timestamp);
    assert_eq!(
        feedback.header(PROVENANCE_HEADER),
        prediction.header(PROVENANCE_HEADER)
    );
    let value: Value = serde_json::from_slice(feedback.value.as_ref().unwrap()).unwrap();
    assert_eq!(value[&schema.label], "Iris-virginica");
    assert_eq!(value["PredictedSpecies"], "Iris-setosa");

    // After a kill, the same label arrives again.
    trainer.signal(Signal::KILL).unwrap();
    let _ = trainer.wait(TIMEOUT);
    label(Some(json!({ &schema.label: "Iris-virginica" })));
    learn_all(&fixture);
    assert_eq!(fixture.records(&fixture.topics.feedback).unwrap().len(), 1);
    let learned: Vec<Action> = decisions(&fixture)
        .iter()
        .map(|(action, _)| *action)
        .collect();
    assert_eq!(learned, [Action::Adopted, Action::Promoted]);

    // The label is withdrawn after it was learned: the model without it is the first one again.
    label(None);
    learn_all(&fixture);
    let decisions = decisions(&fixture);
    assert_eq!(decisions.len(), 3, "{decisions:?}");
    assert_eq!(decisions[2].1, decisions[0].1);
}

#[test]
fn the_first_of_two_trainers_exits_when_the_second_takes_over() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture
        .set("[trainer]\ncheckpoint_interval_ms = 50\nretrain_after_rows = 5\n")
        .unwrap();
    classify(&fixture, 0..200, 0.3);
    let mut first = fixture.start("iris-trainer", &[]).unwrap();
    first.line_with("learning from ", TIMEOUT).unwrap();
    let mut second = fixture.start("iris-trainer", &[]).unwrap();
    second.line_with("learning from ", TIMEOUT).unwrap();
    // The first trainer notices when it writes.
    classify(&fixture, 200..400, 0.3);
    let ended = first.wait(TIMEOUT).unwrap();
    assert_eq!(ended.code(), Some(3));
    assert!(
        first
            .lines()
            .iter()
            .any(|line| line.contains("another trainer has taken over")),
        "{:#?}",
        first.lines()
    );
    assert!(second.terminate(TIMEOUT).unwrap().success());
}

#[test]
fn a_trainer_that_is_too_slow_catches_up_by_a_sample_and_counts_what_it_leaves_out() {
    const RECORDS: usize = 10_000;
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    classify(&fixture, 0..RECORDS, 0.0);
    // A challenger is trained after each record.
    let settings = "[trainer]\nmax_lag_ms = 200\nretrain_after_rows = 1\n";
    let port = fixture.set_with_endpoint(settings).unwrap();
    let mut trainer = fixture.start("iris-trainer", &[]).unwrap();
    let sampling = "the stream is faster than the trainer: learning from one in 2 ids";
    trainer.line_with(sampling, TIMEOUT).unwrap();
    let all = "learning from all records again";
    trainer.line_with(all, TIMEOUT).unwrap();
    let count = |metrics: &str, name: &str| -> usize {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |count| count.trim().parse().unwrap())
    };
    let (read, left_out) = eventually("every record to be read", TIMEOUT, || {
        let (_, metrics) = get(port, "/metrics")?;
        let read = count(
            &metrics,
            "iris_trainer_records_read_total{kind=\"prediction\"}",
        );
        let left_out = count(
            &metrics,
            "iris_trainer_records_left_out_total{kind=\"prediction\"}",
        );
        (read == RECORDS && metrics.contains("iris_trainer_sample_ratio 1.0"))
            .then_some((read, left_out))
    })
    .unwrap();
    assert!(trainer.terminate(TIMEOUT).unwrap().success());
    assert!(left_out > RECORDS / 10, "{left_out}");
    let learned = loop_figures(&fixture).total.scores.records;
    assert_eq!(learned, u64::try_from(read - left_out).unwrap());
}

const MINUTE: i64 = 60_000;

/// The number of flowers whose labels come late.
const FLOWERS: i64 = 60;

/// A record: topic, partition, timestamp in milliseconds, key and value.
type Timed<'a> = (&'a str, i32, i64, Vec<u8>, Value);

/// Returns the time in milliseconds since the epoch.
fn now() -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    i64::try_from(now).unwrap()
}

/// Writes records with timestamps of their own, in their order.
fn produce_timed(fixture: &Fixture, records: &[Timed<'_>]) {
    let sender = Sender::start(&fixture.kafka, "iris-testkit").unwrap();
    for (topic, partition, timestamp, key, value) in records {
        let value = value.to_string();
        sender
            .send(|| OutgoingRecord {
                topic,
                partition: Some(*partition),
                timestamp: Some(*timestamp),
                key: Some(key),
                value: Some(value.as_bytes()),
                headers: Headers::default(),
            })
            .unwrap();
    }
    sender.finish(TIMEOUT).unwrap();
}

/// Sends a flower every second, one of them with a timestamp 55 minutes ahead, and waits for their predictions.
fn classify_with_one_ahead(fixture: &Fixture, start: i64) {
    let flower = |id: i64| {
        let petal = 1.0 + 0.01 * f64::from(i32::try_from(id).unwrap());
        json!({
            "Id": id, "SepalLengthCm": 5.1, "SepalWidthCm": 3.5, "PetalLengthCm": petal, "PetalWidthCm": 0.2
        })
    };
    let topic = fixture.topics.input.as_str();
    let mut records: Vec<Timed<'_>> = (0..FLOWERS)
        .map(|id| {
            let partition = i32::try_from(id % 3).unwrap();
            (
                topic,
                partition,
                start + id * 1_000,
                id.to_string().into_bytes(),
                flower(id),
            )
        })
        .collect();
    let ahead = (
        topic,
        0,
        start + 55 * MINUTE,
        b"ahead".to_vec(),
        flower(1_000),
    );
    records.insert(20, ahead.clone());
    records.push(ahead);
    produce_timed(fixture, &records);
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    eventually("every flower to be classified", TIMEOUT, || {
        let predictions = fixture.records(&fixture.topics.predictions).ok()?;
        (predictions.len() == records.len()).then_some(())
    })
    .unwrap();
    assert!(classifier.terminate(TIMEOUT).unwrap().success());
}

/// Returns the values of the feedback, sorted.
fn feedback(fixture: &Fixture) -> Vec<String> {
    let records = fixture.records(&fixture.topics.feedback).unwrap();
    let value = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
    let mut values: Vec<String> = records
        .iter()
        .map(|record| value(record.value.as_ref().unwrap()))
        .collect();
    values.sort();
    values
}

#[test]
fn a_record_that_is_55_minutes_ahead_does_not_make_other_labels_late() {
    let settings = "[trainer]\njoin_window_ms = 1800000\nretrain_after_rows = 7\nholdout_ratio = 0\ncheckpoint_interval_ms = 20\n";
    let mut fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture.set(settings).unwrap();
    let start = now() - 40 * MINUTE;
    classify_with_one_ahead(&fixture, start);
    // The trainer reads the record that is ahead before the labels come, 20 minutes after their records.
    learn_all(&fixture);
    let topic = fixture.topics.labels.as_str();
    let label = json!({ "Species": "Iris-virginica" });
    let labels: Vec<Timed<'_>> = (0..FLOWERS)
        .map(|id| {
            let time = start + 20 * MINUTE + id * 1_000;
            (topic, 1, time, id.to_string().into_bytes(), label.clone())
        })
        .collect();
    produce_timed(&fixture, &labels);
    learn_all(&fixture);
    let learned = (decisions(&fixture), feedback(&fixture));
    let mispredicted = usize::try_from(FLOWERS).unwrap();
    assert_eq!(learned.1.len(), mispredicted, "{:#?}", learned.1);
    assert!(learned.0.len() > 5, "{:#?}", learned.0);

    // A trainer that reads everything at once makes the same decisions.
    use_other_registry(&mut fixture, settings);
    learn_all(&fixture);
    assert_eq!((decisions(&fixture), feedback(&fixture)), learned);

    // So does one that is killed.
    use_other_registry(&mut fixture, settings);
    let mut random = fastrand::Rng::with_seed(5);
    for kill in 0..8 {
        let mut trainer = fixture.start("iris-trainer", &["--once"]).unwrap();
        let line = ["learning from ", "trained challenger "][kill % 2];
        // It may have learned everything before it is killed.
        let _ = trainer.line_with(line, Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(random.u64(..20)));
        trainer.signal(Signal::KILL).unwrap();
        let _ = trainer.wait(TIMEOUT);
    }
    learn_all(&fixture);
    assert_eq!((decisions(&fixture), feedback(&fixture)), learned);
}

#[test]
fn label_keys_of_another_serialiser_and_labels_without_a_record_are_logged_once_per_kind() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture.set("[trainer]\nmax_join_records = 10\n").unwrap();
    let topic = fixture.topics.labels.as_str();
    let keys = |number: i32| {
        [
            number.to_be_bytes().to_vec(),
            i64::from(number).to_be_bytes().to_vec(),
            format!("\"{number}\"").into_bytes(),
            format!("{{\"Id\":{number}}}").into_bytes(),
            format!("{number}\u{1b}").into_bytes(),
        ]
    };
    let label = json!({ "Species": "Iris-setosa" });
    let labels = (0..20).flat_map(keys);
    let labels: Vec<Timed<'_>> = labels
        .map(|key| (topic, 2, now(), key, label.clone()))
        .collect();
    produce_timed(&fixture, &labels);
    classify(&fixture, 0..1, 0.0);
    let ended = fixture.run("iris-trainer", &["--once"]).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let place = |offset: u32| format!("partition 2 of topic `{topic}`, offset {offset}: ");
    for line in [
        format!(
            "{}the key is 4 bytes that are not text: probably a 4-byte integer",
            place(0)
        ),
        format!(
            "{}the key is 8 bytes that are not text: probably an 8-byte number",
            place(1)
        ),
        format!(
            "{}a JSON string with its quotes: produce it with a string serialiser",
            place(2)
        ),
        format!("{}a JSON object: send the id alone", place(3)),
    ] {
        let lines = ended.stderr.lines().filter(|found| found.contains(&line));
        assert_eq!(lines.count(), 1, "{line}\n{}", ended.stderr);
    }
    // Each kind has one line, and one more at the end if there have been more records.
    let lines = |text: &str| {
        ended
            .stderr
            .lines()
            .filter(|line| line.contains(text))
            .count()
    };
    let expired = "labels that expired before a prediction with their id came: ";
    for (text, kinds) in [("skipped ", 2), ("are probably not ids", 2), (expired, 1)] {
        assert!(
            (kinds..=2 * kinds).contains(&lines(text)),
            "{}",
            ended.stderr
        );
    }
    assert!(
        ended.stderr.contains("the first: id `\"0\"` ("),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}
