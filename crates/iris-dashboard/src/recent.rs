//! The newest predictions, mispredictions and dead letters.

use std::collections::VecDeque;

use iris_contract::{Origin, PROVENANCE_HEADER, PredictionRecord};
use iris_core::Schema;
use iris_kafka::StoredRecord;
use serde::Serialize;
use utoipa::ToSchema;

/// The number of records of each kind that are kept.
pub const KEPT: usize = 300;

/// The number of characters of a dead letter's value that are shown.
const SHOWN_CHARACTERS: usize = 120;

/// A record of the topics of predictions or feedback.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PredictionRow {
    /// The partition of the prediction and of its input record.
    pub partition: i32,
    /// The offset of the prediction.
    pub offset: i64,
    /// When the record was created, in milliseconds since the epoch.
    pub created_ms: Option<i64>,
    /// The record's id.
    pub id: Option<String>,
    /// The features in the order of the settings; null where the record has no number.
    pub features: Vec<Option<f64>>,
    /// The predicted class.
    pub predicted: String,
    /// The record's label.
    pub actual: Option<String>,
    /// The model version that predicted.
    pub model_version: Option<String>,
    /// The offset of the input record.
    pub input_offset: Option<i64>,
    /// The votes of each class, in class order.
    pub votes: Vec<u32>,
}

impl PredictionRow {
    /// Reads a record; `None` if it is not a prediction.
    #[must_use]
    pub fn read(record: &StoredRecord, schema: &Schema) -> Option<Self> {
        let header = record.header(PROVENANCE_HEADER);
        let read = PredictionRecord::read(schema, record.value.as_deref(), header).ok()?;
        let provenance = read.provenance;
        Some(Self {
            partition: record.partition,
            offset: record.offset,
            created_ms: record.timestamp,
            id: read.id,
            features: read.features,
            predicted: read.predicted?,
            actual: read.label,
            model_version: provenance
                .as_ref()
                .map(|provenance| provenance.model_version.to_string()),
            input_offset: provenance.as_ref().map(|provenance| provenance.offset),
            votes: provenance.map_or_else(Vec::new, |provenance| provenance.votes),
        })
    }

    /// Returns whether the prediction equals the label; `None` without a label.
    #[must_use]
    pub fn is_right(&self) -> Option<bool> {
        self.actual.as_ref().map(|actual| *actual == self.predicted)
    }
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeadLetterRow {
    /// The partition of the dead letter and of its input record.
    pub partition: i32,
    /// The offset of the dead letter.
    pub offset: i64,
    /// When the record was created, in milliseconds since the epoch.
    pub created_ms: Option<i64>,
    /// The kind of error.
    pub reason: String,
    /// The error.
    pub message: String,
    /// The topic of the input record.
    pub topic: String,
    /// The offset of the input record.
    pub input_offset: i64,
    /// The number of times that the record has been processed.
    pub attempt: u32,
    /// The start of the value; bytes that are not UTF-8 are replaced.
    pub value: String,
}

impl DeadLetterRow {
    /// Reads a dead letter; `None` if headers are missing.
    #[must_use]
    pub fn read(record: &StoredRecord) -> Option<Self> {
        let origin = Origin::read(|name| record.header(name))?;
        let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
        let mut shown: String = value.chars().take(SHOWN_CHARACTERS).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Some(Self {
            partition: record.partition,
            offset: record.offset,
            created_ms: record.timestamp,
            reason: origin.reason,
            message: origin.message,
            topic: origin.topic,
            input_offset: origin.offset,
            attempt: origin.attempt,
            value: shown,
        })
    }
}

/// The newest records of a kind.
#[derive(Clone, Debug)]
pub struct Newest<T>(VecDeque<T>);

impl<T> Default for Newest<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Newest<T> {
    /// Adds records, oldest first. The oldest ones beyond [`KEPT`] are removed.
    pub fn add(&mut self, items: impl IntoIterator<Item = T>) {
        for item in items {
            self.0.push_front(item);
        }
        self.0.truncate(KEPT);
    }

    /// Returns all records, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T: Clone> Newest<T> {
    /// Returns up to `max` records, newest first.
    #[must_use]
    pub fn first(&self, max: usize) -> Vec<T> {
        self.iter().take(max).cloned().collect()
    }
}

/// Sorts records of several partitions by their time of creation.
pub fn sort_by_time(records: &mut [StoredRecord]) {
    records.sort_by_key(|record| (record.timestamp, record.partition, record.offset));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str, headers: &[(&str, &str)]) -> StoredRecord {
        StoredRecord {
            partition: 3,
            offset: 8,
            timestamp: Some(1_000),
            key: None,
            value: Some(value.into()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    #[test]
    fn a_prediction_is_read_with_its_provenance() {
        let value = r#"{"Id":71,"SepalLengthCm":5.9,"SepalWidthCm":"wide","PetalLengthCm":4.8,"PetalWidthCm":1.8,
            "Species":"Iris-versicolor","PredictedSpecies":"Iris-virginica"}"#;
        let header = (PROVENANCE_HEADER, "00-00c0ffee00c0ffee-3-4-0.2.3");
        let row = PredictionRow::read(&record(value, &[header]), &Schema::default()).unwrap();
        assert_eq!(row.id.as_deref(), Some("71"));
        assert_eq!(row.features, [Some(5.9), None, Some(4.8), Some(1.8)]);
        assert_eq!(row.is_right(), Some(false));
        assert_eq!(row.model_version.as_deref(), Some("00c0ffee00c0ffee"));
        assert_eq!((row.input_offset, row.votes), (Some(4), vec![0, 2, 3]));

        let unlabelled = record(r#"{"PredictedSpecies":"Iris-setosa"}"#, &[]);
        let row = PredictionRow::read(&unlabelled, &Schema::default()).unwrap();
        assert_eq!((row.is_right(), row.model_version), (None, None));
        for other in ["{}", "garbage", "[]"] {
            assert_eq!(
                PredictionRow::read(&record(other, &[]), &Schema::default()),
                None
            );
        }
    }

    #[test]
    fn a_dead_letter_is_read_with_its_reason_and_the_start_of_its_value() {
        let value = "é".repeat(200);
        let headers = [
            ("__iris.errors.topic", "input"),
            ("__iris.errors.partition", "3"),
            ("__iris.errors.offset", "17"),
            ("__iris.errors.message", "not_json: expected value: line 1"),
        ];
        let dead = DeadLetterRow::read(&record(&value, &headers)).unwrap();
        assert_eq!((dead.reason.as_str(), dead.input_offset), ("not_json", 17));
        assert_eq!(dead.message, "expected value: line 1");
        assert_eq!(dead.value.chars().count(), SHOWN_CHARACTERS + 1);
        assert_eq!(DeadLetterRow::read(&record(&value, &headers[1..])), None);
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_are_removed() {
        let mut newest = Newest::default();
        newest.add(0..KEPT);
        newest.add([KEPT]);
        assert_eq!(newest.iter().next(), Some(&KEPT));
        assert_eq!(
            (newest.iter().count(), newest.iter().last()),
            (KEPT, Some(&1))
        );
    }
}
