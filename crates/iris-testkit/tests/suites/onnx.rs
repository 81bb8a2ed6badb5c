//! Imported models in the ONNX format: import, promotion, answers and rollback.

use std::path::{Path, PathBuf};

use iris_contract::{PROVENANCE_HEADER, Provenance};
use iris_core::ModelVersion;
use iris_kafka::StoredRecord;
use iris_testkit::{Ended, Fixture, TIMEOUT, eventually};
use serde_json::{Value, json};

/// Returns a file that `make onnx-models` has made.
fn file(name: &str) -> String {
    let directory: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/onnx");
    let path = directory.join(name);
    assert!(path.exists(), "{name} is missing: run `make onnx-models`");
    path.display().to_string()
}

fn run(fixture: &Fixture, args: &[&str]) -> Ended {
    let args = [&["models"], args, &["--json"]].concat();
    fixture.run("iris-admin", &args).unwrap()
}

fn admin(fixture: &Fixture, args: &[&str]) -> Value {
    let ended = run(fixture, args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn import(fixture: &Fixture, model: &str, check: &str) -> Ended {
    run(fixture, &["import", &file(model), "--check", &file(check)])
}

fn version(prediction: &StoredRecord) -> ModelVersion {
    let header = prediction.header(PROVENANCE_HEADER).unwrap();
    let provenance: Provenance = std::str::from_utf8(header).unwrap().parse().unwrap();
    provenance.model_version
}

#[test]
fn an_imported_model_is_promoted_answers_and_is_rolled_back() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let classifier = fixture.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    let first = admin(&fixture, &["list"])["champion"].clone();

    let imported = import(&fixture, "forest.onnx", "forest.csv");
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    let imported: Value = serde_json::from_str(&imported.stdout).unwrap();
    assert_eq!(imported["checked_rows"], 150);
    assert_eq!(imported["champion"], first);
    let classes = json!(["Iris-setosa", "Iris-versicolor", "Iris-virginica"]);
    assert_eq!(imported["classes"], classes);
    let forest = imported["version"].as_str().unwrap();
    let again = import(&fixture, "forest.onnx", "forest.csv");
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["version"], forest);

    let promoted = admin(&fixture, &["promote", forest]);
    assert_eq!(promoted["replaces"], first);
    let serving = format!("now serving model {forest}");
    classifier.line_with(&serving, TIMEOUT).unwrap();
    let mut producer = fixture
        .start("iris-producer", &["--interval-ms=0"])
        .unwrap();
    assert!(producer.wait(TIMEOUT).unwrap().success());
    let predictions = eventually("every record to be classified", TIMEOUT, || {
        let predictions = fixture.records(&fixture.topics.predictions).ok()?;
        (predictions.len() == 150).then_some(predictions)
    })
    .unwrap();
    let mut expected = csv::Reader::from_path(file("forest.csv")).unwrap();
    let mut expected: Vec<String> = expected
        .records()
        .map(|row| row.unwrap()[4].to_owned())
        .collect();
    let mut answers: Vec<String> = Vec::new();
    for prediction in &predictions {
        assert_eq!(version(prediction).to_string(), forest);
        let header = prediction.header(PROVENANCE_HEADER).unwrap();
        assert!(header.starts_with(b"01-"), "thousandths");
        let value: Value = serde_json::from_slice(prediction.value.as_ref().unwrap()).unwrap();
        answers.push(value["PredictedSpecies"].as_str().unwrap().to_owned());
    }
    answers.sort_unstable();
    expected.sort_unstable();
    assert_eq!(answers, expected);
    let answered = admin(&fixture, &["answered", "--partition=0", "--offset=7"]);
    assert_eq!(answered["model_version"], forest);
    assert_eq!(answered["is_same_when_replayed"], true);
    assert_eq!(admin(&fixture, &["show", forest])["kind"], "onnx");

    is_dead_lettered(&fixture, 1e39);

    let rolled_back = admin(&fixture, &["rollback"]);
    assert_eq!(rolled_back["version"], first);
    let serving = format!("now serving model {}", first.as_str().unwrap());
    classifier.line_with(&serving, TIMEOUT).unwrap();
}

/// Sends a record with a feature that the model cannot classify, and waits until it is a dead letter.
fn is_dead_lettered(fixture: &Fixture, petal_length: f64) {
    let record = json!({
        "Id": 151, "SepalLengthCm": 5.1, "SepalWidthCm": 3.5, "PetalLengthCm": petal_length, "PetalWidthCm": 0.2
    });
    let (value, headers) = (record.to_string(), iris_kafka::Headers::default());
    fixture
        .produce(
            &fixture.topics.input,
            0,
            None,
            &[Some(value.as_bytes())],
            &headers,
        )
        .unwrap();
    let letter = eventually("the record to be dead-lettered", TIMEOUT, || {
        fixture.records(&fixture.topics.dead_letters).ok()?.pop()
    })
    .unwrap();
    let message = letter.header("__iris.errors.message").unwrap();
    assert_eq!(
        String::from_utf8_lossy(message),
        "not_predicted: the model cannot classify it: feature 3 is 1e39, which is not a 32-bit float"
    );
    assert_eq!(letter.value.as_deref(), Some(value.as_bytes()));
}

#[test]
fn a_model_that_does_not_fit_or_predicts_otherwise_is_refused() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let refusal = |model, check| {
        let ended = import(&fixture, model, check);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        ended.stderr
    };
    let refused = refusal("three-features.onnx", "forest.csv");
    assert!(
        refused.contains("its number of features is 3, and that of the schema is 4: "),
        "{refused}"
    );
    let refused = refusal("zipmap.onnx", "forest.csv");
    assert!(refused.contains("ZipMap"), "{refused}");
    // Its classes are numbers.
    let refused = refusal("numbers.onnx", "forest.csv");
    assert!(
        refused.contains("predicts 150 of the 150 rows"),
        "{refused}"
    );
    assert!(
        refused.contains(
            "row 1, features [5.1, 3.5, 1.4, 0.2]: expected `Iris-setosa`, predicted `0`"
        ),
        "{refused}"
    );
    let names = "--classes=Iris-setosa,Iris-versicolor,Iris-virginica";
    let (model, check) = (file("numbers.onnx"), file("numbers.csv"));
    let named = admin(&fixture, &["import", &model, "--check", &check, names]);
    assert_eq!(named["champion"], named["version"], "there was no champion");
}
