//! A prediction: the input record's own bytes with one member appended, `Predicted` and the label's name.
//!
//! The record keeps its partition, timestamp, key and headers. Feedback has the same format: it is the prediction of a
//! record whose label differs from it. Feedback on a label that came late carries that label in place of the record's own.

use std::borrow::Cow;

use iris_core::Schema;

use crate::fields::{Field, Fields, json_string, member_text};
use crate::provenance::Provenance;
use crate::rejection::Rejection;

/// A record of the topics of predictions or feedback, read as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionRecord {
    /// The record's id; `None` if it has none.
    pub id: Option<String>,
    /// The features in the schema's order; `None` where the record has no number.
    pub features: Vec<Option<f64>>,
    /// The label; `None` if the record has none, or a blank one.
    pub label: Option<String>,
    /// The predicted class; `None` if the record is not a prediction.
    pub predicted: Option<String>,
    /// The origin of the prediction; `None` without a readable header.
    pub provenance: Option<Provenance>,
}

impl PredictionRecord {
    /// Reads nothing but the id from a record's value; `None` if it has none.
    ///
    /// # Errors
    /// [`Rejection`] if the value is not a JSON object.
    pub fn read_id<'a>(
        schema: &Schema,
        value: &'a [u8],
    ) -> Result<Option<Cow<'a, str>>, Rejection> {
        member_text(value, &schema.id)
    }

    /// Reads a record's value and its provenance header.
    ///
    /// # Errors
    /// [`Rejection`] if the value is not a JSON object.
    pub fn read(
        schema: &Schema,
        value: Option<&[u8]>,
        provenance: Option<&[u8]>,
    ) -> Result<Self, Rejection> {
        let fields = Fields::read(value.ok_or(Rejection::NoValue)?)?;
        let text = |name: &str| fields.text(name).map(Cow::into_owned);
        Ok(Self {
            id: text(&schema.id),
            features: schema
                .features
                .iter()
                .map(|name| fields.number(name))
                .collect(),
            label: fields.label(&schema.label).map(Cow::into_owned),
            predicted: text(&schema.predicted_field()),
            provenance: provenance.and_then(Provenance::read),
        })
    }
}

/// Writes the values of predictions under one schema and one list of classes.
#[derive(Clone, Debug)]
pub(crate) struct PredictionWriter {
    predicted_field: String,
    /// For each class its member, from the comma before it to the object's closing brace.
    tails: Vec<String>,
}

impl PredictionWriter {
    /// Prepares the member of each class.
    pub(crate) fn new(schema: &Schema, classes: &[String]) -> Self {
        let predicted_field = schema.predicted_field();
        let name = json_string(&predicted_field);
        let tails = classes
            .iter()
            .map(|class| format!(",{name}:{}}}", json_string(class)))
            .collect();
        Self {
            predicted_field,
            tails,
        }
    }

    /// Returns the name of the member that carries the prediction.
    pub(crate) fn predicted_field(&self) -> &str {
        &self.predicted_field
    }

    /// Writes the record's own members as they are, then the member of the class at position `class`, into `out`, which is
    /// cleared first.
    ///
    /// The bytes of the record are copied, not parsed and written again. Only a record that already carries a prediction
    /// is parsed, to remove the old one.
    pub(crate) fn write(
        &self,
        value: &[u8],
        has_prediction: bool,
        class: usize,
        out: &mut Vec<u8>,
    ) {
        out.clear();
        if has_prediction {
            self.write_other_members(value, out);
        } else {
            let end = value.iter().rposition(|&byte| byte == b'}').unwrap_or(0);
            out.extend_from_slice(value[..end].trim_ascii_end());
        }
        out.extend_from_slice(self.tails[class].as_bytes());
    }

    /// Writes an object, left open, of all members except an earlier prediction.
    fn write_other_members(&self, value: &[u8], out: &mut Vec<u8>) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let fields = Field::all(text).unwrap_or_default();
        let mut separator = b'{';
        for field in fields
            .iter()
            .filter(|field| field.name != self.predicted_field.as_str())
        {
            out.push(separator);
            out.extend_from_slice(field.written_name.get().as_bytes());
            out.push(b':');
            out.extend_from_slice(field.value.get().as_bytes());
            separator = b',';
        }
    }
}

/// Returns a prediction's value with `label` as its ground truth: in the place of its own label, or before the prediction.
/// A value that is not a JSON object is returned as it is.
#[must_use]
pub fn with_label(schema: &Schema, value: &str, label: &str) -> String {
    let Ok(fields) = Fields::read(value.as_bytes()) else {
        return value.to_owned();
    };
    let truth = format!("{}:{}", json_string(&schema.label), json_string(label));
    let predicted_field = schema.predicted_field();
    let mut members: Vec<String> = Vec::new();
    let mut has_label = false;
    for field in fields.iter() {
        if field.name == schema.label.as_str() {
            has_label = true;
            members.push(truth.clone());
        } else {
            if field.name == predicted_field.as_str() && !has_label {
                has_label = true;
                members.push(truth.clone());
            }
            members.push(format!(
                "{}:{}",
                field.written_name.get(),
                field.value.get()
            ));
        }
    }
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema {
            features: vec!["x".into(), "y".into()],
            ..Schema::default()
        }
    }

    fn read(value: &str) -> Result<PredictionRecord, Rejection> {
        let provenance = b"00-00c0ffee00c0ffee-4-12-0.2.3";
        PredictionRecord::read(&schema(), Some(value.as_bytes()), Some(provenance))
    }

    #[test]
    fn a_prediction_has_its_fields_and_its_origin() {
        let value = r#"{"Id":7,"x":1.5,"y":-2e1,"Species":null,"PredictedSpecies":"a"}"#;
        let record = read(value).unwrap();
        assert_eq!(record.id.as_deref(), Some("7"));
        assert_eq!(record.features, [Some(1.5), Some(-20.0)]);
        assert_eq!(record.label, None);
        assert_eq!(record.predicted.as_deref(), Some("a"));
        let provenance = record.provenance.unwrap();
        assert_eq!(
            (provenance.partition, provenance.offset, provenance.votes),
            (4, 12, vec![0, 2, 3])
        );
    }

    #[test]
    fn missing_and_unusable_fields_are_none() {
        let record = read(r#"{"Id":true,"x":"1.5","Species":["a"]}"#).unwrap();
        assert_eq!(record.id, None);
        assert_eq!(record.features, [None, None]);
        assert_eq!((record.label, record.predicted), (None, None));
        for header in [None, Some(&b"01-x"[..]), Some(b"\xff")] {
            let record = PredictionRecord::read(&schema(), Some(b"{}"), header).unwrap();
            assert_eq!(record.provenance, None);
        }
    }

    #[test]
    fn only_an_object_is_read() {
        assert_eq!(read("[1]"), Err(Rejection::NotAnObject("an array")));
        assert!(matches!(read("{"), Err(Rejection::NotJson(_))));
        for (value, rejection) in [(None, "no_value"), (Some(&b"\xff"[..]), "not_json")] {
            let error = PredictionRecord::read(&schema(), value, None).unwrap_err();
            assert_eq!(error.reason(), rejection);
        }
    }

    #[test]
    fn a_late_label_takes_the_place_of_the_records_own() {
        for (value, expected) in [
            (
                r#"{"Id":7,"x":1.50,"y":2,"PredictedSpecies":"a"}"#,
                r#"{"Id":7,"x":1.50,"y":2,"Species":"b","PredictedSpecies":"a"}"#,
            ),
            (
                r#"{"Species":"c","x":1.50,"y":2,"PredictedSpecies":"a"}"#,
                r#"{"Species":"b","x":1.50,"y":2,"PredictedSpecies":"a"}"#,
            ),
            ("garbage", "garbage"),
        ] {
            assert_eq!(with_label(&schema(), value, "b"), expected);
        }
    }
}
