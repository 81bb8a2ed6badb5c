//! Turns a record of the feedback topic into a row. Every record has one: a record that cannot be read is stored with the
//! problem.

use std::borrow::Cow;

use iris_contract::PredictionRecord;
use iris_core::Schema;
use iris_feedback_store::FeedbackRow;

/// A record of the feedback topic.
#[derive(Clone, Copy, Debug)]
pub struct FeedbackRecord<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When the record was created, in milliseconds since the epoch.
    pub created_ms: Option<i64>,
    /// The value of the provenance header.
    pub provenance: Option<&'a [u8]>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// Returns the row of a record, with the fields that can be read.
#[must_use]
pub fn row(schema: &Schema, record: FeedbackRecord<'_>) -> FeedbackRow {
    let text = record
        .value
        .map_or(Cow::Borrowed(""), String::from_utf8_lossy);
    let mut row = FeedbackRow {
        source_topic: record.topic.to_owned(),
        source_partition: record.partition.into(),
        source_offset: record.offset,
        created_ms: record.created_ms,
        value: storable(&text),
        ..FeedbackRow::default()
    };
    match PredictionRecord::read(schema, record.value, record.provenance) {
        Err(rejection) => row.problem = Some(rejection.to_string()),
        Ok(prediction) => fill(&mut row, schema, prediction),
    }
    row
}

/// Fills in the fields of a prediction.
fn fill(row: &mut FeedbackRow, schema: &Schema, prediction: PredictionRecord) {
    let storable = |text: Option<String>| text.map(|text| storable(&text));
    row.record_id = storable(prediction.id);
    row.label = storable(prediction.label);
    row.predicted = storable(prediction.predicted);
    if row.predicted.is_none() {
        let field = schema.predicted_field();
        row.problem = Some(format!("the field `{field}` is missing"));
    }
    if let Some(provenance) = prediction.provenance {
        row.votes = Some(provenance.votes_text());
        row.model_version = Some(provenance.model_version.to_string());
        row.input_partition = Some(provenance.partition.into());
        row.input_offset = Some(provenance.offset);
    }
}

/// Returns a text without NUL characters, which PostgreSQL cannot store.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: FeedbackRecord<'static> = FeedbackRecord {
        topic: "feedback",
        partition: 3,
        offset: 17,
        created_ms: Some(1_000),
        provenance: None,
        value: None,
    };

    fn row_of(value: Option<&[u8]>) -> FeedbackRow {
        let record = FeedbackRecord { value, ..RECORD };
        row(&Schema::default(), record)
    }

    #[test]
    fn a_feedback_record_becomes_a_row_with_its_provenance() {
        let header = b"00-e01454b61de2d075-4-14-0.2.3";
        let value = br#"{"Id":73,"Species":"Iris-versicolor","PredictedSpecies":"Iris-virginica"}"#;
        let record = FeedbackRecord {
            provenance: Some(header),
            value: Some(value),
            ..RECORD
        };
        let some = |text: &str| Some(text.to_owned());
        let expected = FeedbackRow {
            source_topic: "feedback".to_owned(),
            source_partition: 3,
            source_offset: 17,
            created_ms: Some(1_000),
            record_id: some("73"),
            label: some("Iris-versicolor"),
            predicted: some("Iris-virginica"),
            model_version: some("e01454b61de2d075"),
            input_partition: Some(4),
            input_offset: Some(14),
            votes: some("0.2.3"),
            value: String::from_utf8(value.to_vec()).unwrap(),
            problem: None,
        };
        assert_eq!(row(&Schema::default(), record), expected);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_a_row_with_the_problem() {
        assert_eq!(
            row_of(Some(b"{}")).problem.as_deref(),
            Some("the field `PredictedSpecies` is missing")
        );
        assert_eq!(
            row_of(Some(b"[1]")).problem.as_deref(),
            Some("not a JSON object but an array")
        );
        assert!(row_of(Some(b"\xff\x00")).problem.is_some());
        assert_eq!(row_of(Some(b"\xff\x00")).value, "\u{fffd}\u{fffd}");
        assert_eq!(
            row_of(None).problem.as_deref(),
            Some("the record has no value")
        );
    }

    #[test]
    fn nul_characters_are_replaced_even_if_escaped() {
        let value = br#"{"Id":"a\u0000b","PredictedSpecies":"x","Species":null}"#;
        let row = row_of(Some(value));
        assert_eq!(row.record_id.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(row.label, None);
    }
}
