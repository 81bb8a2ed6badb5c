//! The whole pipeline on a real broker, with the services' binaries.

use std::collections::BTreeMap;
use std::time::Duration;

use iris_contract::{PROVENANCE_HEADER, Provenance, TransactionSummary};
use iris_core::Confusion;
use iris_kafka::{Headers, StoredRecord};
use iris_testkit::{Ended, Fixture, TIMEOUT, dataset, eventually};
use serde_json::Value;

fn text(record: &StoredRecord) -> &str {
    std::str::from_utf8(record.value.as_deref().unwrap()).unwrap()
}

fn ids(records: &[StoredRecord], column: &str) -> Vec<String> {
    let mut ids: Vec<String> = records
        .iter()
        .map(|record| serde_json::from_str::<Value>(text(record)).unwrap()[column].to_string())
        .collect();
    ids.sort_by_key(|id| (id.len(), id.clone()));
    ids
}

#[track_caller]
fn assert_success(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
}

fn fixture() -> Fixture {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture
}

fn produce_iris(fixture: &Fixture) -> Ended {
    let file = dataset("iris.csv").display().to_string();
    let ended = fixture
        .run("iris-producer", &["--file", &file, "--interval-ms", "0"])
        .unwrap();
    assert_success(&ended);
    ended
}

#[test]
fn every_row_is_classified_once_and_every_misprediction_stored_once() {
    let fixture = fixture();
    let sent = produce_iris(&fixture);
    assert_eq!(sent.stderr.matches("Sent: {\"Id\":").count(), 150);
    assert!(sent.stderr.contains("150 of 150 in "), "{}", sent.stderr);

    let classified = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "2000"])
        .unwrap();
    assert_success(&classified);
    let words = "Predicted Species: Iris-virginica, True Species: Iris-versicolor";
    assert_eq!(
        classified.stderr.matches(words).count(),
        3,
        "{}",
        classified.stderr
    );
    assert_eq!(classified.stderr.matches("Feedback: {\"Id\":").count(), 4);
    assert!(
        classified
            .stderr
            .contains("150 predictions, 4 mispredicted, 0 dead letters; accuracy 0.9733")
    );

    let inputs = fixture.records(&fixture.topics.input).unwrap();
    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    let feedback = fixture.records(&fixture.topics.feedback).unwrap();
    assert_eq!((inputs.len(), predictions.len()), (150, 150));
    assert_eq!(ids(&feedback, "Id"), ["71", "73", "84", "107"]);
    assert!(
        fixture
            .records(&fixture.topics.dead_letters)
            .unwrap()
            .is_empty()
    );

    // In each partition, predictions are in input order, and each has its input's members and one more.
    let mut source: BTreeMap<(i32, i64), &StoredRecord> = BTreeMap::new();
    source.extend(
        inputs
            .iter()
            .map(|input| ((input.partition, input.offset), input)),
    );
    let mut last = BTreeMap::new();
    for prediction in predictions.iter() {
        let header = std::str::from_utf8(prediction.header(PROVENANCE_HEADER).unwrap()).unwrap();
        let provenance: Provenance = header.parse().unwrap();
        assert_eq!(provenance.model_version.to_string(), "e01454b61de2d075");
        assert_eq!(provenance.votes.iter().sum::<u32>(), 5);
        assert_eq!(prediction.partition, provenance.partition);
        let input = source
            .remove(&(provenance.partition, provenance.offset))
            .unwrap();
        assert!(text(prediction).starts_with(text(input).strip_suffix('}').unwrap()));
        assert_eq!(prediction.timestamp, input.timestamp);
        assert!(
            last.insert(provenance.partition, provenance.offset)
                .is_none_or(|before| before < provenance.offset)
        );
    }
    assert!(source.is_empty());

    // The transactions' summaries add up to the same.
    let mut confusion = Confusion::default();
    for record in fixture.records(&fixture.topics.summaries).unwrap() {
        let summary: TransactionSummary = serde_json::from_str(text(&record)).unwrap();
        assert_eq!(summary.group, fixture.classifier_group());
        confusion.add_all(&summary.evaluations);
    }
    let cells: Vec<_> = confusion.cells().collect();
    let expected = [
        ("Iris-setosa", "Iris-setosa", 50),
        ("Iris-versicolor", "Iris-versicolor", 47),
        ("Iris-versicolor", "Iris-virginica", 3),
        ("Iris-virginica", "Iris-versicolor", 1),
        ("Iris-virginica", "Iris-virginica", 49),
    ];
    assert_eq!(cells, expected);

    // A second run of either service finds no new records.
    let again = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "1000"])
        .unwrap();
    assert!(again.stderr.contains("0 records in"), "{}", again.stderr);
    let store = fixture.sqlite();
    for expected in ["4 feedback records stored", "0 feedback records stored"] {
        let mut sink = fixture
            .start("iris-feedback-sink", &["--store", &store])
            .unwrap();
        sink.line_with("storing", TIMEOUT).unwrap();
        eventually("four rows", TIMEOUT, || {
            (listed(&fixture, &store).len() == 4).then_some(())
        })
        .unwrap();
        assert!(sink.terminate(TIMEOUT).unwrap().success());
        sink.line_with(expected, TIMEOUT).unwrap();
    }
    assert_eq!(listed(&fixture, &store).len(), 4);
}

fn listed(fixture: &Fixture, store: &str) -> Vec<Value> {
    let list = fixture
        .run("iris-feedback-sink", &["list", "--json", "--store", store])
        .unwrap();
    serde_json::from_str(&list.stdout).unwrap_or_default()
}

#[test]
fn five_processes_as_in_the_paper_exit_by_themselves_with_the_same_feedback() {
    let fixture = fixture();
    produce_iris(&fixture);
    let mut processes: Vec<_> = (0..5)
        .map(|partition| {
            let args = [
                "--partition",
                &partition.to_string(),
                "--idle-timeout-ms",
                "3000",
            ];
            fixture.start("iris-classifier", &args).unwrap()
        })
        .collect();
    for (partition, process) in processes.iter_mut().enumerate() {
        assert!(process.wait(TIMEOUT).unwrap().success());
        let lines = process.lines().join("\n");
        assert_eq!(
            lines
                .matches(&format!("Partition: {partition}, Predicted Species: "))
                .count(),
            30,
            "{lines}"
        );
        assert!(lines.contains(&format!(
            "as group unique_group_for_demo2_partition_{partition},"
        )));
    }
    let mut feedback = fixture.records(&fixture.topics.feedback).unwrap();
    feedback.sort_by_key(|record| text(record).to_owned());
    let values: Vec<&str> = feedback.iter().map(text).collect();
    insta::assert_snapshot!(values.join("\n"));
}

#[test]
fn another_dataset_needs_other_settings_only() {
    let mut fixture = Fixture::new().unwrap();
    fixture.topics.partitions = 3;
    fixture.create_topics().unwrap();
    let path = dataset("wine.csv").display().to_string();
    fixture
        .set(&format!(
            "[dataset]\npath = \"{path}\"\nid = \"Bottle\"\nlabel = \"Cultivar\"\nfeatures = [\"Alcohol\", \
             \"MalicAcid\", \"Ash\", \"AlcalinityOfAsh\", \"Magnesium\", \"TotalPhenols\", \"Flavanoids\", \
             \"NonflavanoidPhenols\", \"Proanthocyanins\", \"ColorIntensity\", \"Hue\", \"OD280OD315\", \"Proline\"]\n\
             [producer]\ninterval_ms = 0\nkey = \"Bottle\"\n"
        ))
        .unwrap();
    assert_success(&fixture.run("iris-producer", &[]).unwrap());
    let classified = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "2000"])
        .unwrap();
    assert_success(&classified);
    assert!(
        classified
            .stderr
            .contains("178 predictions, 44 mispredicted"),
        "{}",
        classified.stderr
    );
    assert!(
        classified
            .stderr
            .contains("Predicted Cultivar: Barolo, True Cultivar: Barolo")
    );
    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    assert_eq!(predictions.len(), 178);
    for prediction in &predictions {
        let value: Value = serde_json::from_str(text(prediction)).unwrap();
        assert_eq!(
            value["Bottle"].as_str().unwrap().as_bytes(),
            prediction.key.as_deref().unwrap()
        );
        assert!(
            text(prediction).contains(",\"PredictedCultivar\":\"B")
                || text(prediction).contains("\"Grignolino\"}")
        );
    }
}

#[test]
fn records_that_cannot_be_classified_are_dead_lettered_unchanged_and_the_others_classified() {
    let fixture = fixture();
    let good = br#"{"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Species":"Iris-setosa"}"#;
    let with = |petal_width: &str| {
        format!(
            r#"{{"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":{petal_width}}}"#
        )
    };
    let garbage = vec![b'x'; 1_000_000];
    let unknown = String::from_utf8(good.to_vec())
        .unwrap()
        .replace("setosa", "germanica");
    let (text_feature, null, nan, beyond) =
        (with("\"wide\""), with("null"), with("NaN"), with("1e999"));
    let values: [Option<&[u8]>; 12] = [
        Some(good),
        Some(b"not json"),
        Some(b"[1, 2]"),
        Some(br#"{"SepalLengthCm":5.1}"#),
        Some(text_feature.as_bytes()),
        Some(null.as_bytes()),
        Some(nan.as_bytes()),
        Some(beyond.as_bytes()),
        Some(&garbage),
        None,
        Some(unknown.as_bytes()),
        Some(good),
    ];
    let headers = Headers::default().set(
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    fixture
        .produce(
            &fixture.topics.input,
            2,
            Some(b"a key \xff"),
            &values,
            &headers,
        )
        .unwrap();
    let classified = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "2000"])
        .unwrap();
    assert_success(&classified);
    assert!(
        classified
            .stderr
            .contains("3 predictions, 1 mispredicted, 9 dead letters"),
        "{}",
        classified.stderr
    );

    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    assert_eq!(predictions.len(), 3);
    assert_eq!(
        fixture.records(&fixture.topics.feedback).unwrap().len(),
        1,
        "an unknown label is feedback"
    );
    let dead_letters = fixture.records(&fixture.topics.dead_letters).unwrap();
    let mut messages = Vec::new();
    for (dead_letter, offset) in dead_letters.iter().zip(1..) {
        assert_eq!(dead_letter.value.as_deref(), values[offset]);
        assert_eq!(dead_letter.partition, 2);
        let header =
            |name: &str| String::from_utf8(dead_letter.header(name).unwrap().to_vec()).unwrap();
        assert_eq!(header("__iris.errors.topic"), fixture.topics.input);
        assert_eq!(header("__iris.errors.partition"), "2");
        assert_eq!(header("__iris.errors.offset"), offset.to_string());
        assert_eq!(header("__iris.errors.stage"), "classify");
        assert_eq!(header("__iris.errors.service"), "iris-classifier");
        assert_eq!(header("__iris.errors.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(header("__iris.errors.attempt"), "1");
        messages.push(header("__iris.errors.message"));
    }
    for record in predictions.iter().chain(&dead_letters) {
        assert_eq!(record.key.as_deref(), Some(b"a key \xff".as_slice()));
        assert!(record.header("traceparent").is_some());
    }
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn json_log_lines_have_the_record_in_fields() {
    let fixture = fixture();
    fixture.set("[telemetry]\nformat = \"json\"\n").unwrap();
    produce_iris(&fixture);
    let classified = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "2000"])
        .unwrap();
    let lines: Vec<Value> = classified
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let predictions: Vec<&Value> = lines
        .iter()
        .filter(|line| line.get("predicted").is_some())
        .collect();
    assert_eq!(predictions.len(), 150);
    let wrong = predictions
        .iter()
        .filter(|line| line["predicted"] != line["truth"])
        .count();
    assert_eq!(wrong, 4);
    assert!(predictions[0]["partition"].is_number());
}

#[test]
fn each_record_has_one_outcome_after_a_classifier_was_stopped_or_killed() {
    let fixture = fixture();
    fixture
        .set("[producer]\ninterval_ms = 0\nrounds = 200\n[telemetry]\nlog = \"info,record=off\"\n")
        .unwrap();
    assert_success(&fixture.run("iris-producer", &[]).unwrap());
    for signal in ["TERM", "KILL"] {
        let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
        let before = fixture.records(&fixture.topics.predictions).unwrap().len();
        eventually("some predictions", TIMEOUT, || {
            (fixture.records(&fixture.topics.predictions).unwrap().len() > before
                || before == 30_000)
                .then_some(())
        })
        .unwrap();
        if signal == "TERM" {
            assert!(
                classifier
                    .terminate(Duration::from_secs(10))
                    .unwrap()
                    .success()
            );
        } else {
            drop(classifier);
        }
    }
    assert_success(
        &fixture
            .run("iris-classifier", &["--idle-timeout-ms", "15000"])
            .unwrap(),
    );
    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    let mut sources: Vec<(i32, i64)> = predictions
        .iter()
        .map(|prediction| {
            let header =
                std::str::from_utf8(prediction.header(PROVENANCE_HEADER).unwrap()).unwrap();
            let provenance: Provenance = header.parse().unwrap();
            (provenance.partition, provenance.offset)
        })
        .collect();
    let in_order = sources.clone();
    sources.sort_unstable();
    assert_eq!(
        in_order, sources,
        "outcomes of a partition are not in input order"
    );
    sources.dedup();
    assert_eq!((sources.len(), predictions.len()), (30_000, 30_000));
    assert_eq!(
        fixture.records(&fixture.topics.feedback).unwrap().len(),
        800
    );
}

#[test]
fn a_record_whose_outcome_is_too_large_is_dead_lettered_and_the_others_classified() {
    let fixture = Fixture::new().unwrap();
    let mut specs = iris_admin::topic_specs(&fixture.topics);
    for spec in &mut specs {
        let bytes = if spec.name == fixture.topics.predictions {
            "2000"
        } else if spec.name == fixture.topics.dead_letters {
            "4000"
        } else {
            continue;
        };
        spec.config = vec![("max.message.bytes", bytes.to_owned())];
    }
    fixture.create(&specs).unwrap();
    // Random values, which cannot be compressed.
    let with_note = |length: usize| {
        let note: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(length)
            .collect();
        format!(
            r#"{{"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2,"Note":"{note}"}}"#
        )
    };
    let values = [3, 3_000, 5, 20_000, 7].map(with_note);
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
    let input = &fixture.topics.input;
    fixture
        .produce(input, 3, Some(b"key"), &values, &Headers::default())
        .unwrap();
    let classified = fixture
        .run("iris-classifier", &["--idle-timeout-ms", "4000"])
        .unwrap();
    assert_success(&classified);
    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    assert_eq!(predictions.len(), 3, "{}", classified.stderr);
    let dead_letters = fixture.records(&fixture.topics.dead_letters).unwrap();
    let kept: Vec<Option<&[u8]>> = dead_letters
        .iter()
        .map(|letter| letter.value.as_deref())
        .collect();
    assert_eq!(kept, [values[1], None]);
    for (letter, offset) in dead_letters.iter().zip([1, 3]) {
        assert_eq!(
            letter.header("__iris.errors.offset").unwrap(),
            offset.to_string().as_bytes()
        );
        let message = letter.header("__iris.errors.message").unwrap();
        assert!(message.starts_with(b"outcome_too_large: "));
    }
}
