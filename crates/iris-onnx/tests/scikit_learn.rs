//! Models that scikit-learn has trained and skl2onnx has exported answer as scikit-learn does. `models.py` makes them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use iris_onnx::{Classifier, OnnxError};
use serde::Deserialize;

/// The largest difference of a probability: scikit-learn computes with 64-bit floats, the models with 32-bit ones.
const TOLERANCE: f64 = 1e-5;

/// The predictions of scikit-learn.
#[derive(Deserialize)]
struct Expected {
    classes: Vec<String>,
    predicted: Vec<String>,
    probabilities: Vec<Vec<f64>>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(name: &str) -> Vec<u8> {
    let path = root().join("target/onnx").join(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run `make onnx-models`", path.display()))
}

fn rows() -> Vec<Vec<f64>> {
    let mut reader = csv::Reader::from_path(root().join("data/iris.csv")).unwrap();
    let row = |row: Result<csv::StringRecord, _>| {
        let row = row.unwrap();
        let cells = row.iter().skip(1).take(4);
        cells.map(|cell| cell.parse().unwrap()).collect()
    };
    reader.records().map(row).collect()
}

#[test]
fn the_150_rows_are_answered_as_scikit_learn_does() {
    let expected: BTreeMap<String, Expected> =
        serde_json::from_slice(&read("expected.json")).unwrap();
    let names: Vec<&str> = expected.keys().map(String::as_str).collect();
    assert_eq!(names, ["boosted", "forest", "logistic", "scaled"]);
    let rows = rows();
    for (name, expected) in &expected {
        let classifier = Classifier::read(&read(&format!("{name}.onnx")), None).unwrap();
        assert_eq!(classifier.features(), 4, "{name}");
        assert_eq!(classifier.classes(), expected.classes, "{name}");
        assert_eq!(expected.predicted.len(), rows.len(), "{name}");
        let mut scores = Vec::new();
        let answers = expected.predicted.iter().zip(&expected.probabilities);
        for (row, (predicted, probabilities)) in rows.iter().zip(answers) {
            let class = classifier.predict(row, &mut scores).unwrap();
            assert_eq!(classifier.classes()[class], *predicted, "{name}: {row:?}");
            assert_eq!(scores.len(), probabilities.len(), "{name}");
            for (&score, probability) in scores.iter().zip(probabilities) {
                let difference = (f64::from(score) - probability).abs();
                assert!(difference < TOLERANCE, "{name}: {row:?}: {scores:?}");
            }
        }
    }
}

#[test]
fn classes_that_are_numbers_can_be_named() {
    let bytes = read("numbers.onnx");
    let numbers = Classifier::read(&bytes, None).unwrap();
    assert_eq!(numbers.classes(), ["0", "1", "2"]);
    let names = ["setosa", "versicolor", "virginica"].map(str::to_owned);
    let named = Classifier::read(&bytes, Some(&names)).unwrap();
    assert_eq!(named.classes(), names);
    let mut scores = Vec::new();
    for row in rows() {
        let class = numbers.predict(&row, &mut scores);
        assert_eq!(named.predict(&row, &mut scores), class);
    }
}

#[test]
fn models_that_do_not_fit_are_refused_by_name() {
    let refusal = |bytes: &[u8], names: Option<&[String]>| {
        let refused = Classifier::read(bytes, names).unwrap_err();
        refused.to_string()
    };
    assert_eq!(
        Classifier::read(&read("zipmap.onnx"), None).unwrap_err(),
        OnnxError::ZipMap
    );
    assert_eq!(
        refusal(&read("double.onnx"), None),
        "its input `X` is of 64-bit floats: allowed are 32-bit floats (FloatTensorType of skl2onnx)"
    );
    let names = ["a", "b"].map(str::to_owned);
    assert_eq!(
        refusal(&read("numbers.onnx"), Some(&names)),
        "it has 3 classes, and 2 are named: a, b"
    );
    let twice = ["a", "b", "a"].map(str::to_owned);
    assert_eq!(
        refusal(&read("numbers.onnx"), Some(&twice)),
        "two of its classes have the name `a`"
    );
    assert!(refusal(b"no model", None).starts_with("it is not an ONNX model: "));
    assert_eq!(
        refusal(b"", None),
        "it is not an ONNX model: it has no graph"
    );
    let forest = read("numbers.onnx");
    let truncated = (0..forest.len())
        .step_by(97)
        .map(|length| &forest[..length]);
    for bytes in truncated {
        assert!(Classifier::read(bytes, None).is_err(), "{}", bytes.len());
    }
}
