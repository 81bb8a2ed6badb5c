//! A record of the feedback topic as a row. Total: a record that cannot be read is a row that says so.

use std::borrow::Cow;

use iris_contract::PredictionRecord;
use iris_core::Schema;
use serde::Serialize;

/// One row of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Feedback {
    /// The topic that the record was read from.
    pub source_topic: String,
    /// Its partition.
    pub source_partition: i64,
    /// Its offset.
    pub source_offset: i64,
    /// When it was created, in milliseconds since the epoch.
    pub created_ms: Option<i64>,
    /// The id of the row that was classified.
    pub record_id: Option<String>,
    /// The ground truth.
    pub label: Option<String>,
    /// The prediction.
    pub predicted: Option<String>,
    /// The model that predicted.
    pub model_version: Option<String>,
    /// The partition of the input topic.
    pub input_partition: Option<i64>,
    /// The offset in that partition.
    pub input_offset: Option<i64>,
    /// The votes in class order, joined by dots.
    pub votes: Option<String>,
    /// The record's value.
    pub value: String,
    /// What kept the value from being read, if anything did.
    pub problem: Option<String>,
}

/// Where a record was read from, and what came with its value.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// When the record was created, in milliseconds since the epoch.
    pub created_ms: Option<i64>,
    /// The provenance header's value.
    pub provenance: Option<&'a [u8]>,
}

impl Feedback {
    /// Reads a record as far as it can be read.
    #[must_use]
    pub fn read(schema: &Schema, source: Source<'_>, value: Option<&[u8]>) -> Self {
        let text = value.map_or(Cow::Borrowed(""), String::from_utf8_lossy);
        let mut row = Self {
            source_topic: source.topic.to_owned(),
            source_partition: source.partition.into(),
            source_offset: source.offset,
            created_ms: source.created_ms,
            value: storable(&text),
            ..Self::default()
        };
        match PredictionRecord::read(schema, value, source.provenance) {
            Err(rejection) => row.problem = Some(rejection.to_string()),
            Ok(record) => row.fill(schema, record),
        }
        row
    }

    fn fill(&mut self, schema: &Schema, record: PredictionRecord) {
        let storable = |text: Option<String>| text.map(|text| storable(&text));
        self.record_id = storable(record.id);
        self.label = storable(record.label);
        self.predicted = storable(record.predicted);
        if self.predicted.is_none() {
            let field = schema.predicted_field();
            self.problem = Some(format!("the field `{field}` is missing"));
        }
        if let Some(provenance) = record.provenance {
            self.votes = Some(provenance.votes_text());
            self.model_version = Some(provenance.model_version.to_string());
            self.input_partition = Some(provenance.partition.into());
            self.input_offset = Some(provenance.offset);
        }
    }
}

/// PostgreSQL's text cannot hold the character zero.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source<'static> = Source {
        topic: "feedback",
        partition: 3,
        offset: 17,
        created_ms: Some(1_000),
        provenance: None,
    };

    fn read(value: &[u8]) -> Feedback {
        Feedback::read(&Schema::default(), SOURCE, Some(value))
    }

    #[test]
    fn a_feedback_record_becomes_a_row_with_its_provenance() {
        let header = b"00-e01454b61de2d075-4-14-0.2.3";
        let source = Source {
            provenance: Some(header),
            ..SOURCE
        };
        let value = br#"{"Id":73,"Species":"Iris-versicolor","PredictedSpecies":"Iris-virginica"}"#;
        let row = Feedback::read(&Schema::default(), source, Some(value));
        let some = |text: &str| Some(text.to_owned());
        let expected = Feedback {
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
        assert_eq!(row, expected);
    }

    #[test]
    fn whatever_cannot_be_read_is_a_row_that_says_so() {
        assert_eq!(
            read(b"{}").problem.as_deref(),
            Some("the field `PredictedSpecies` is missing")
        );
        assert_eq!(
            read(b"[1]").problem.as_deref(),
            Some("not a JSON object but an array")
        );
        assert!(read(b"\xff\x00").problem.is_some());
        assert_eq!(read(b"\xff\x00").value, "\u{fffd}\u{fffd}");
        assert_eq!(
            Feedback::read(&Schema::default(), SOURCE, None)
                .problem
                .as_deref(),
            Some("the record has no value")
        );
    }

    #[test]
    fn the_character_zero_is_replaced_also_where_it_was_escaped() {
        let row = read(br#"{"Id":"a\u0000b","PredictedSpecies":"x","Species":null}"#);
        assert_eq!(row.record_id.as_deref(), Some("a\u{fffd}b"));
        assert_eq!(row.label, None);
    }
}
