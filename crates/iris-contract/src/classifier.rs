//! The classification of one input record, and the prediction that is written for it.

use std::borrow::Cow;
use std::sync::Arc;

use iris_core::{Buffers, Model, ModelVersion};

use crate::fields::without_byte_order_mark;
use crate::input;
use crate::prediction::PredictionWriter;
use crate::provenance::ProvenanceWriter;
use crate::rejection::Rejection;

/// Classifies records with one model. Cheap to clone: clones share the model.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Arc<Model>,
    prediction: PredictionWriter,
    provenance: ProvenanceWriter,
}

/// Buffers that are reused from record to record.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    features: Vec<f64>,
    buffers: Buffers,
    votes: Vec<u32>,
}

impl Scratch {
    /// Returns the votes of the latest classification, or the shares in thousandths, one number per class in the model's order.
    #[must_use]
    pub fn votes(&self) -> &[u32] {
        &self.votes
    }
}

/// The result of classifying a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification<'a> {
    value: &'a [u8],
    has_prediction: bool,
    /// The predicted class, as a position in the model's classes.
    pub class: usize,
    /// The ground truth, if the record has it.
    pub label: Option<Cow<'a, str>>,
    /// Whether there is a ground truth and it differs from the prediction.
    pub mispredicted: bool,
}

impl Classifier {
    /// Returns a classifier that serves `model`.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        let schema = model.training_set().schema();
        Self {
            prediction: PredictionWriter::new(schema, model.classes()),
            provenance: ProvenanceWriter::new(model.version(), model.kind().tally()),
            model,
        }
    }

    /// Returns the served model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns the version of the served model.
    #[must_use]
    pub fn model_version(&self) -> ModelVersion {
        self.model.version()
    }

    /// Returns the writer of the provenance headers of this model's predictions.
    #[must_use]
    pub fn provenance(&self) -> &ProvenanceWriter {
        &self.provenance
    }

    /// Returns the name of a class.
    ///
    /// # Panics
    /// If `class` is not a position in the model's classes.
    #[must_use]
    pub fn class_name(&self, class: usize) -> &str {
        &self.model.classes()[class]
    }

    /// Returns the class of a label as a position in the model's classes; `None` if the model does not know it.
    #[must_use]
    pub fn class_of(&self, label: &str) -> Option<usize> {
        self.model.classes().iter().position(|class| class == label)
    }

    /// Classifies one record. Total: any bytes are either classified or rejected with a reason.
    ///
    /// A record without a label, or with a null or blank one, is classified and not evaluated. A label that the model does not
    /// know makes a misprediction.
    ///
    /// # Errors
    /// [`Rejection`] if the record is not a JSON object with a finite number for every feature.
    pub fn classify<'a>(
        &self,
        value: Option<&'a [u8]>,
        scratch: &mut Scratch,
    ) -> Result<Classification<'a>, Rejection> {
        let value = without_byte_order_mark(value.ok_or(Rejection::NoValue)?);
        let schema = self.model.training_set().schema();
        scratch.features.resize(schema.features.len(), 0.0);
        let fields = input::read(
            schema,
            self.prediction.predicted_field(),
            value,
            &mut scratch.features,
        )?;
        let prediction =
            self.model
                .predict(&scratch.features, &mut scratch.buffers, &mut scratch.votes);
        if scratch.votes.is_empty() {
            return Err(Rejection::NotPredicted(
                scratch.buffers.failure().to_owned(),
            ));
        }
        let mispredicted = fields
            .label
            .as_ref()
            .is_some_and(|label| label != self.class_name(prediction.class));
        Ok(Classification {
            value,
            has_prediction: fields.has_prediction,
            class: prediction.class,
            label: fields.label,
            mispredicted,
        })
    }

    /// Writes a prediction's value into `out`, which is cleared first: the record's own members as they are, then the
    /// prediction.
    pub fn write_value(&self, classification: &Classification<'_>, out: &mut Vec<u8>) {
        let Classification {
            value,
            has_prediction,
            class,
            ..
        } = *classification;
        self.prediction.write(value, has_prediction, class, out);
    }
}

#[cfg(test)]
mod tests {
    use iris_core::{Schema, TrainingSet};
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;
    use crate::fields::{Field, json_string};
    use crate::property;

    fn classifier() -> Classifier {
        let schema = Schema {
            features: vec!["x".into(), "y".into()],
            ..Schema::default()
        };
        let rows: [(&[f64], &str); 3] = [
            (&[0.0, 0.0], "low"),
            (&[9.0, 9.0], "high"),
            (&[50.0, 0.0], "12"),
        ];
        Classifier::new(Arc::new(
            Model::fit(TrainingSet::new(schema, rows.into_iter()), 1).unwrap(),
        ))
    }

    /// Returns the prediction's value and whether it is a misprediction, or the reason for the rejection.
    fn outcome(value: &[u8]) -> Result<(String, bool), String> {
        let classifier = classifier();
        let classification = classifier
            .classify(Some(value), &mut Scratch::default())
            .map_err(|r| format!("{}: {r}", r.reason()))?;
        let mut out = Vec::new();
        classifier.write_value(&classification, &mut out);
        Ok((String::from_utf8(out).unwrap(), classification.mispredicted))
    }

    fn accepted(value: &str) -> (String, bool) {
        outcome(value.as_bytes()).unwrap()
    }

    fn rejected(value: &str) -> String {
        outcome(value.as_bytes()).unwrap_err()
    }

    #[test]
    fn the_prediction_is_appended_to_the_records_own_bytes() {
        let (value, mispredicted) = accepted(
            " { \"x\": 1.50, \"note\": [1, {\"a\": \"}\"}],\"y\":1e0, \"Species\" :\"low\" } \n",
        );
        assert_eq!(
            value,
            " { \"x\": 1.50, \"note\": [1, {\"a\": \"}\"}],\"y\":1e0, \"Species\" :\"low\",\"PredictedSpecies\":\"low\"}"
        );
        assert!(!mispredicted);
    }

    #[test]
    fn a_wrong_or_unknown_label_is_a_misprediction_and_no_label_is_none() {
        assert!(accepted(r#"{"x":1,"y":1,"Species":"high"}"#).1);
        assert!(accepted(r#"{"x":1,"y":1,"Species":"never seen"}"#).1);
        assert!(!accepted(r#"{"x":1,"y":1,"Species":null}"#).1);
        assert!(!accepted(r#"{"x":1,"y":1}"#).1);
        assert!(!accepted(r#"{"x":1,"y":1,"Species":" \t "}"#).1);
        assert!(accepted(r#"{"x":1,"y":1,"Species":" low"}"#).1);
    }

    #[test]
    fn a_label_may_be_a_number_or_escaped() {
        assert!(!accepted(r#"{"x":51,"y":1,"Species":12}"#).1);
        assert!(accepted(r#"{"x":51,"y":1,"Species":12.5}"#).1);
        assert!(accepted(r#"{"x":51,"y":1,"Species":12.0}"#).1);
        assert!(!accepted(r#"{"x":1,"y":1,"Species":"l\u006fw"}"#).1);
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let (value, _) = accepted("\u{feff}{\"x\":1,\"y\":1}");
        assert_eq!(value, r#"{"x":1,"y":1,"PredictedSpecies":"low"}"#);
    }

    #[test]
    fn an_earlier_prediction_is_replaced() {
        let (value, _) =
            accepted(r#"{"Predicted\u0053pecies":"high","x":1,"y":1,"m\u00f6re":"a\"b"}"#);
        assert_eq!(
            value,
            r#"{"x":1,"y":1,"m\u00f6re":"a\"b","PredictedSpecies":"low"}"#
        );
    }

    #[test]
    fn fields_may_come_in_any_order() {
        assert_eq!(
            accepted(r#"{"Species":"high","y":9,"x":9}"#).0,
            r#"{"Species":"high","y":9,"x":9,"PredictedSpecies":"high"}"#
        );
    }

    #[test]
    fn each_kind_of_bad_record_is_rejected_with_its_reason() {
        let classifier = classifier();
        let no_value = classifier
            .classify(None, &mut Scratch::default())
            .unwrap_err();
        assert_eq!(no_value.to_string(), "the record has no value");
        insta::assert_snapshot!(
            [
                "",
                "hello",
                "[1,2]",
                "\"text\"",
                "null",
                "17",
                "{}",
                r#"{"x":1,"y":1"#,
                r#"{"x":1,"y":1} trailing"#,
                r#"{"x":1}"#,
                r#"{"x":1,"y":"1.5"}"#,
                r#"{"x":1,"y":null}"#,
                r#"{"x":1,"y":true}"#,
                r#"{"x":1,"y":[1]}"#,
                r#"{"x":1,"y":{"v":1}}"#,
                r#"{"x":1,"y":NaN}"#,
                r#"{"x":1,"y":1e999}"#,
                r#"{"x":1,"y":-1e999}"#,
                r#"{"x":1,"x":2,"y":1}"#,
                r#"{"x":1,"y":1,"Species":"low","Species":"high"}"#,
                r#"{"x":1,"y":1,"Species":false}"#,
                r#"{"x":1,"y":1,"Species":["low"]}"#,
                r#"{"x":1,"y":1,"Species":"\ud800"}"#,
            ]
            .map(|value| format!("{value:<50} {}", rejected(value)))
            .join("\n")
        );
        assert_eq!(
            outcome(b"{\"x\":1,\"y\":1,\"note\":\"\xff\"}").unwrap_err(),
            "not_json: not JSON: invalid utf-8 sequence of 1 bytes from index 21: send UTF-8"
        );
    }

    #[test]
    fn a_megabyte_of_garbage_and_deep_nesting_are_rejected_or_skipped() {
        assert!(rejected(&"[".repeat(1 << 20)).starts_with("not_json"));
        assert!(rejected(&"\u{fffd}".repeat(1 << 18)).starts_with("not_json"));
        let nested = format!(
            r#"{{"x":1,"y":1,"deep":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(
            accepted(&nested)
                .0
                .ends_with(r#","PredictedSpecies":"low"}"#)
        );
    }

    /// Objects whose names, types and numbers are close to, but often not quite, a good record.
    fn nearly_records() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            Just("x"),
            Just("y"),
            Just("Species"),
            Just("PredictedSpecies"),
            Just("other")
        ];
        let value = prop_oneof![
            any::<f64>().prop_map(|v| v.to_string()),
            any::<i64>().prop_map(|v| v.to_string()),
            // Parsed once: as a plain `&str`, or as `any::<String>()`, it would be parsed for every case.
            string_regex("[0-9]{1,3}e[0-9]{1,3}").unwrap(),
            string_regex("\\PC*").unwrap().prop_map(|v| json_string(&v)),
            Just("null".to_owned()),
            Just("[{}]".to_owned()),
        ];
        proptest::collection::vec((name, value), 0..6).prop_map(|members| {
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        })
    }

    proptest! {
        #![proptest_config(property::config(10))]

        #[test]
        fn any_bytes_are_classified_or_rejected(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = outcome(&value);
        }

        #[test]
        fn an_accepted_record_keeps_its_own_members_before_the_prediction(value in nearly_records()) {
            if let Ok((written, _)) = outcome(value.as_bytes()) {
                let before = Field::all(&value).unwrap();
                let after = Field::all(&written).unwrap();
                let (prediction, rest) = after.split_last().unwrap();
                prop_assert_eq!(&prediction.name, "PredictedSpecies");
                let texts = |fields: &[Field<'_>]| -> Vec<(String, String)> {
                    let kept = fields.iter().filter(|field| field.name != "PredictedSpecies");
                    kept.map(|field| (field.name.to_string(), field.value.get().to_owned())).collect()
                };
                prop_assert_eq!(rest.len(), texts(rest).len());
                prop_assert_eq!(texts(&before), texts(rest));
            }
        }
    }
}
