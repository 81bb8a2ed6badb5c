//! The demo of the learning loop.

use std::fs;
use std::process::Command;

use iris_testkit::binary;
use serde_json::{Value, json};

#[test]
fn the_loop_learns_mispredicted_rows_and_recovers_from_drift_and_from_reversed_labels() {
    let directory = tempfile::tempdir().unwrap();
    let ended = Command::new(binary("demo-learning"))
        .env("DEMO_DIR", directory.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ended.stdout);
    let problem = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{output}{problem}");
    let figures = fs::read(directory.path().join("learning.json")).unwrap();
    let figures: Value = serde_json::from_slice(&figures).unwrap();

    let of_rounds = |name: &str| -> Vec<Value> {
        let rounds = figures["rounds"].as_array().unwrap();
        rounds.iter().map(|round| round[name].clone()).collect()
    };
    let mispredicted = |ids: &Value| ids.as_array().unwrap().len();
    let of_rounds_mispredicted: Vec<usize> = of_rounds("mispredicted_ids")
        .iter()
        .map(mispredicted)
        .collect();
    assert_eq!(of_rounds_mispredicted, [4, 5, 3, 0], "{output}");
    assert_eq!(
        figures["rounds"][0]["mispredicted_ids"],
        json!([71, 73, 84, 107])
    );
    assert_eq!(of_rounds("holdout_accuracy"), [1.0; 4], "{output}");
    assert_eq!(figures["versions"], json!(4), "{output}");

    let rollback = &figures["rollback"];
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&rollback["seconds_until_served"]) < 2.0, "{output}");
    assert_eq!(
        rollback["round"]["mispredicted_ids"], figures["rounds"][2]["mispredicted_ids"],
        "{output}"
    );
    assert_eq!(
        rollback["round"]["model_version"], figures["rounds"][2]["model_version"],
        "{output}"
    );

    let drift = &figures["drift"];
    assert!(number(&drift["accuracy_before"]) > 0.95, "{output}");
    assert!(number(&drift["accuracy_fallen"]) < 0.85, "{output}");
    assert!(
        !drift["drift_events"].as_array().unwrap().is_empty(),
        "{output}"
    );
    assert!(number(&drift["records_to_recover"]) <= 600.0, "{output}");

    let reversal = &figures["reversal"];
    assert!(number(&reversal["accuracy_before"]) > 0.93, "{output}");
    assert!(number(&reversal["accuracy_reversed"]) < 0.3, "{output}");
    let alarms = reversal["drift_events"].as_array().unwrap();
    assert_eq!(alarms.len(), 1, "{output}");
    assert!(number(&reversal["records_to_alarm"]) <= 50.0, "{output}");
    assert!(
        number(&reversal["records_to_promotion"]) <= 300.0,
        "{output}"
    );
    assert!(number(&reversal["records_to_recover"]) <= 900.0, "{output}");
}
