//! Tests of the audit, with a pipeline of three records and with the paper's.

use std::sync::Arc;

use iris_contract::{Classifier, Scratch};
use iris_core::{Model, Schema, TrainingSet};

use super::super::brute_force::BruteForce;
use super::super::findings::FindingCounts;
use super::super::outcomes::PAPER_MODEL;
use super::super::records::record;
use super::super::row::Row;
use super::super::summaries::{audit_summaries, split_at_recreation};
use super::*;

const VERSION: &str = "0000000000000001";
const RIGHT: &str = r#"{"x":1,"Label":"a"}"#;
const MISPREDICTED: &str = r#"{"x":1,"Label":"b"}"#;

/// Returns a ledger that expects the prediction `a` for two values and a dead letter for a third.
fn ledger() -> Ledger {
    let mut outcomes = ExpectedOutcomes::default();
    for (value, is_mispredicted) in [(RIGHT, false), (MISPREDICTED, true)] {
        let prediction = ExpectedPrediction {
            value: predicted(value).into_bytes(),
            votes: "1.0".to_owned(),
            is_mispredicted,
        };
        outcomes.expect_prediction(VERSION, value.as_bytes(), prediction);
    }
    outcomes.expect_dead_letter(Some(b"garbage"), "not_json");
    Ledger::new("input", outcomes)
}

fn predicted(value: &str) -> String {
    value.replace('}', r#","PredictedLabel":"a"}"#)
}

fn outcome(offset: i64, source: i64, value: &str) -> StoredRecord {
    let provenance = format!("00-{VERSION}-0-{source}-1.0");
    StoredRecord {
        headers: vec![(PROVENANCE.to_owned(), provenance.into())],
        ..record(0, offset, value)
    }
}

fn dead_letter(offset: i64, source: i64, value: &str) -> StoredRecord {
    let source = source.to_string();
    let message = "not_json: it is not";
    let service = ["iris-classifier", "0.1.0", "1"];
    let values = ["input", "0", &source, "classify", message]
        .into_iter()
        .chain(service);
    let headers = ERRORS.into_iter().zip(values);
    StoredRecord {
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
        ..record(0, offset, value)
    }
}

/// Returns the records of a correct prediction, a misprediction and a dead letter.
fn records() -> CommittedRecords {
    let mispredicted = predicted(MISPREDICTED);
    CommittedRecords {
        input: vec![
            record(0, 0, RIGHT),
            record(0, 1, MISPREDICTED),
            record(0, 2, "garbage"),
        ],
        predictions: vec![
            outcome(0, 0, &predicted(RIGHT)),
            outcome(1, 1, &mispredicted),
        ],
        feedback: vec![outcome(0, 1, &mispredicted)],
        dead_letters: vec![dead_letter(0, 2, "garbage")],
        summaries: vec![record(0, 0, &summary(2)), record(0, 2, &summary(1))],
    }
}

/// Returns the summary of the transaction of the first two records, or of the last one.
fn summary(records: u64) -> String {
    let is_first = records == 2;
    serde_json::json!({
        "group": "g",
        "model_version": "0000000000000001",
        "partitions": {"0": {"records": records, "next_offset": if is_first { 2 } else { 3 }}},
        "predictions": if is_first { serde_json::json!({"a": 2}) } else { serde_json::json!({}) },
        "evaluations": if is_first { serde_json::json!({"a": {"a": 1}, "b": {"a": 1}}) } else { serde_json::json!({}) },
        "dead_letters": if is_first { serde_json::json!({}) } else { serde_json::json!({"not_json": 1}) },
        "latency_ms": {},
    })
    .to_string()
}

fn counts(change: impl FnOnce(&mut CommittedRecords), committed: i64) -> FindingCounts {
    let mut records = records();
    change(&mut records);
    ledger().audit(&records, &[(0, committed)].into()).counts()
}

#[test]
fn correct_records_have_no_findings() {
    assert_eq!(counts(|_| (), 3), FindingCounts::default());
}

#[test]
fn an_input_without_an_outcome_is_lost() {
    let expected = FindingCounts {
        lost: 1,
        ..FindingCounts::default()
    };
    assert_eq!(counts(|records| records.dead_letters.clear(), 3), expected);
    assert_eq!(
        counts(|records| drop(records.predictions.remove(0)), 3),
        expected
    );
}

#[test]
fn a_second_outcome_is_a_duplicate() {
    let again = |records: &mut CommittedRecords| {
        let again = StoredRecord {
            offset: 2,
            ..records.predictions[0].clone()
        };
        records.predictions.push(again);
    };
    let expected = FindingCounts {
        duplicated: 1,
        ..FindingCounts::default()
    };
    assert_eq!(counts(again, 3), expected);
    let both =
        |records: &mut CommittedRecords| records.dead_letters.insert(0, dead_letter(0, 0, "x"));
    assert_eq!(counts(both, 3), expected);
}

#[test]
fn outcomes_in_another_order_are_found() {
    let expected = FindingCounts {
        reordered: 1,
        ..FindingCounts::default()
    };
    assert_eq!(
        counts(|records| records.predictions.swap(0, 1), 3),
        expected
    );
}

#[test]
fn a_part_of_a_transaction_without_the_rest_is_torn() {
    let torn = |torn| FindingCounts {
        torn,
        ..FindingCounts::default()
    };
    assert_eq!(counts(|_| (), 2), torn(1), "an outcome without its offset");
    assert_eq!(
        counts(|records| records.feedback.clear(), 3),
        torn(1),
        "a misprediction without its feedback"
    );
    let expected = FindingCounts { lost: 1, ..torn(1) };
    assert_eq!(
        counts(|records| drop(records.predictions.remove(1)), 3),
        expected,
        "feedback without its prediction"
    );
}

#[test]
fn an_outcome_that_does_not_match_its_input_is_wrong() {
    let wrong = |wrong| FindingCounts {
        wrong,
        ..FindingCounts::default()
    };
    let other =
        |records: &mut CommittedRecords| records.predictions[0].value = Some(b"{}".to_vec());
    assert_eq!(counts(other, 3), wrong(1));
    let touched = |records: &mut CommittedRecords| records.dead_letters[0].value = None;
    assert_eq!(counts(touched, 3), wrong(1));
    let elsewhere = |records: &mut CommittedRecords| records.predictions[0].partition = 1;
    assert_eq!(counts(elsewhere, 3), wrong(1));
    let nowhere = |records: &mut CommittedRecords| records.predictions.push(outcome(2, 9, "{}"));
    assert_eq!(counts(nowhere, 3), wrong(1));
    let mute = |records: &mut CommittedRecords| records.feedback.push(record(0, 1, "{}"));
    assert_eq!(counts(mute, 3), wrong(1));
    let unknown = |records: &mut CommittedRecords| records.input[0].value = Some(b"{}".to_vec());
    assert_eq!(counts(unknown, 3), wrong(1), "it has no expected outcome");
}

#[test]
fn keys_timestamps_and_headers_are_compared() {
    let changes: [fn(&mut StoredRecord); 4] = [
        |record| record.key = Some(b"key".to_vec()),
        |record| record.timestamp = Some(1),
        |record| record.headers.push(("more".to_owned(), Vec::new())),
        |record| record.headers[0].0.push('x'),
    ];
    let wrong = FindingCounts {
        wrong: 1,
        ..FindingCounts::default()
    };
    for (number, change) in changes.into_iter().enumerate() {
        let outcomes: [fn(&mut CommittedRecords) -> &mut StoredRecord; 3] = [
            |records| &mut records.predictions[0],
            |records| &mut records.feedback[0],
            |records| &mut records.dead_letters[0],
        ];
        for outcome in outcomes {
            let found = counts(|records| change(outcome(records)), 3);
            // Without this header an outcome has no source, so its input is lost or its feedback missing.
            let is_lost = FindingCounts {
                lost: found.lost,
                torn: found.torn,
                ..wrong
            };
            assert_eq!(found, if number == 3 { is_lost } else { wrong }, "{number}");
        }
    }
    let other_votes = |records: &mut CommittedRecords| {
        records.predictions[0].headers[0].1 = format!("00-{VERSION}-0-0-0.1").into();
    };
    assert_eq!(counts(other_votes, 3), wrong);
    let other_model = |records: &mut CommittedRecords| {
        records.predictions[0].headers[0].1 = b"00-0000000000000002-0-0-1.0".to_vec();
    };
    assert_eq!(counts(other_model, 3), wrong);
}

#[test]
fn a_dead_letter_with_another_reason_or_origin_is_wrong() {
    for (header, value) in [(0, "other"), (3, "sink"), (4, "no_value: x"), (7, "2")] {
        let change = |records: &mut CommittedRecords| {
            records.dead_letters[0].headers[header].1 = value.into()
        };
        let expected = FindingCounts {
            wrong: 1,
            ..FindingCounts::default()
        };
        assert_eq!(counts(change, 3), expected, "{value}");
    }
}

#[test]
fn a_prediction_instead_of_a_dead_letter_is_wrong_and_the_reverse() {
    let expected = FindingCounts {
        wrong: 1,
        ..FindingCounts::default()
    };
    let classified = |records: &mut CommittedRecords| {
        records.dead_letters.clear();
        records.predictions.push(outcome(2, 2, "{}"));
    };
    assert_eq!(counts(classified, 3), expected);
    let rejected = |records: &mut CommittedRecords| {
        records.predictions.remove(0);
        records.dead_letters.insert(0, dead_letter(0, 0, RIGHT));
    };
    assert_eq!(counts(rejected, 3), expected);
}

#[test]
fn feedback_for_a_correct_prediction_is_wrong() {
    let more = |records: &mut CommittedRecords| {
        let right = records.predictions[0].clone();
        records.feedback.insert(0, right);
    };
    let expected = FindingCounts {
        wrong: 1,
        ..FindingCounts::default()
    };
    assert_eq!(counts(more, 3), expected);
}

/// Returns the records of a pipeline that classifies the 150 rows with this classifier under the version of the paper's
/// model.
fn records_of(classifier: &Classifier, rows: &[Row]) -> CommittedRecords {
    let mut records = CommittedRecords::default();
    let mut scratch = Scratch::default();
    for (offset, row) in (0..).zip(rows) {
        let decision = classifier.classify(Some(&row.value), &mut scratch).unwrap();
        let mut value = Vec::new();
        classifier.write_value(&decision, &mut value);
        let votes: Vec<String> = scratch.votes().iter().map(u32::to_string).collect();
        let provenance = format!("00-{PAPER_MODEL}-0-{offset}-{}", votes.join("."));
        let outcome = StoredRecord {
            value: Some(value),
            headers: vec![(PROVENANCE.to_owned(), provenance.into())],
            ..record(0, offset, "")
        };
        if decision.mispredicted {
            records.feedback.push(outcome.clone());
        }
        records.predictions.push(outcome);
        let input = StoredRecord {
            value: Some(row.value.clone()),
            ..record(0, offset, "")
        };
        records.input.push(input);
    }
    records
}

/// Returns the paper's classifier with changed training rows or another number of neighbours.
fn classifier(neighbors: usize, change: impl FnOnce(&mut Vec<([f64; 4], String)>)) -> Classifier {
    let mut rows = BruteForce::of_the_paper().unwrap().training_rows();
    change(&mut rows);
    let rows = rows
        .iter()
        .map(|(features, label)| (&features[..], label.as_str()));
    let model = Model::fit(TrainingSet::new(Schema::default(), rows), neighbors).unwrap();
    Classifier::new(Arc::new(model))
}

#[test]
fn a_wrong_classifier_is_detected() {
    let rows = Row::iris().unwrap();
    let ledger = Ledger::new("input", ExpectedOutcomes::of_the_paper(&rows).unwrap());
    let end = [(0, 150)].into();
    let audit =
        |classifier: &Classifier| ledger.audit(&records_of(classifier, &rows), &end).counts();
    assert_eq!(audit(&classifier(5, |_| ())), FindingCounts::default());
    let two_labels_swapped = classifier(5, |rows| {
        let other = rows.iter().position(|row| row.1 != rows[0].1).unwrap();
        let label = rows[0].1.clone();
        rows[0].1 = std::mem::replace(&mut rows[other].1, label);
    });
    assert!(audit(&two_labels_swapped).wrong > 0);
    assert!(audit(&classifier(4, |_| ())).wrong > 0);
}

#[test]
fn summaries_are_compared_with_the_records() {
    let counts = |change: fn(&mut CommittedRecords), committed| {
        let mut records = records();
        change(&mut records);
        audit_summaries(&records, &[(0, committed)].into()).counts()
    };
    let expected = |duplicated, torn, wrong| FindingCounts {
        duplicated,
        torn,
        wrong,
        ..FindingCounts::default()
    };
    assert_eq!(counts(|_| (), 3), FindingCounts::default());
    // The number of dead letters, of records and the offset of the partition.
    assert_eq!(
        counts(|records| drop(records.summaries.pop()), 3),
        expected(0, 3, 0)
    );
    let again =
        |records: &mut CommittedRecords| records.summaries.push(records.summaries[1].clone());
    assert_eq!(counts(again, 3), expected(1, 2, 0));
    assert_eq!(
        counts(|records| records.feedback.clear(), 3),
        expected(0, 1, 0)
    );
    // The summary of the second transaction is in another partition of the topic.
    let apart = |records: &mut CommittedRecords| {
        records.summaries.swap(0, 1);
        records.summaries[0].partition = 3;
    };
    assert_eq!(counts(apart, 3), FindingCounts::default());
    let mute = |records: &mut CommittedRecords| records.summaries.push(record(0, 4, "{}"));
    assert_eq!(counts(mute, 3), expected(0, 0, 1));
}

/// Returns the findings, and the number of records that were deleted unread, if the partition was truncated to `until`.
fn truncated(
    change: impl FnOnce(&mut CommittedRecords),
    committed: i64,
    until: i64,
) -> (FindingCounts, u64) {
    let mut records = records();
    change(&mut records);
    let mut truncations = Truncations::default();
    truncations.add(0, until);
    let committed = [(0, committed)].into();
    let (findings, losses) = ledger().audit_truncated(&records, &committed, &truncations);
    (findings.counts(), losses.records())
}

#[test]
fn a_record_that_is_deleted_unread_needs_no_outcome_and_any_other_does() {
    let none = FindingCounts::default();
    let lost = |lost| FindingCounts { lost, ..none };
    let without_first = |records: &mut CommittedRecords| drop(records.predictions.remove(0));
    let without_all = |records: &mut CommittedRecords| {
        records.predictions.clear();
        records.feedback.clear();
        records.dead_letters.clear();
    };
    assert_eq!(truncated(|_| (), 3, 3), (none, 0), "all were read before");
    assert_eq!(truncated(without_first, 3, 1), (none, 1));
    assert_eq!(
        truncated(without_first, 3, 3),
        (lost(1), 0),
        "a record that is deleted, but was skipped before that"
    );
    assert_eq!(truncated(without_all, 3, 3), (none, 3));
    assert_eq!(truncated(without_all, 3, 2), (lost(3), 0));
    assert_eq!(
        truncated(without_all, 0, 3),
        (none, 0),
        "the group has not passed them yet"
    );
}

#[test]
fn a_record_that_is_deleted_after_its_outcome_was_committed_has_exactly_one() {
    let again = |records: &mut CommittedRecords| {
        let again = StoredRecord {
            offset: 2,
            ..records.predictions[0].clone()
        };
        records.predictions.push(again);
    };
    let (found, losses) = truncated(again, 3, 3);
    assert_eq!((found.duplicated, losses), (1, 0));
}

#[test]
fn summaries_are_split_where_offsets_start_again() {
    let at = |next: i64| {
        let text = summary(2).replace("\"next_offset\":2", &format!("\"next_offset\":{next}"));
        record(0, next, &text)
    };
    let (first, second) = split_at_recreation(vec![at(5), at(9), at(2), at(7)]);
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_eq!(split_at_recreation(vec![at(5), at(9)]).1, []);
    // The transactions of one input partition, with their summaries in two partitions.
    let at = |partition, next, timestamp| StoredRecord {
        partition,
        timestamp: Some(timestamp),
        ..at(next)
    };
    let summaries = vec![at(0, 5, 10), at(0, 2, 30), at(1, 9, 20), at(1, 7, 40)];
    let (first, second) = split_at_recreation(summaries);
    assert_eq!((first.len(), second.len()), (2, 2));
}

#[test]
fn summaries_have_no_records_that_were_deleted_unread() {
    let mut records = records();
    records.input.push(record(0, 3, RIGHT));
    assert!(audit_summaries(&records, &[(0, 4)].into()).counts().torn > 0);
    records.input.pop();
    assert_eq!(
        audit_summaries(&records, &[(0, 4)].into()),
        Findings::default()
    );
}
