//! The decision about one record, and the bytes that announce it.

use std::borrow::Cow;
use std::sync::Arc;

use crate::model::{Model, ModelVersion};
use crate::neighbors::Neighbors;
use crate::provenance::ProvenanceWriter;
use crate::record::{self, Field, Rejection};

/// Decides about records with one model. Cheap to clone; workers share the model.
#[derive(Clone, Debug)]
pub struct Classifier {
    model: Arc<Model>,
    predicted_field: String,
    provenance: ProvenanceWriter,
    /// For each class the member that announces it, from its comma to the object's closing brace.
    tails: Vec<String>,
}

/// Room to work in, reused from record to record.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    features: Vec<f64>,
    neighbors: Neighbors,
    votes: Vec<u32>,
}

impl Scratch {
    /// The votes of the latest decision, one number for each class in the classes' order.
    #[must_use]
    pub fn votes(&self) -> &[u32] {
        &self.votes
    }
}

/// What was decided about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    value: &'a [u8],
    has_prediction: bool,
    /// The predicted class, as a position in the model's classes.
    pub class: usize,
    /// The ground truth, where the record has it.
    pub label: Option<Cow<'a, str>>,
    /// Whether there is a ground truth and the prediction is another class.
    pub mispredicted: bool,
}

impl Classifier {
    /// A classifier that serves `model`.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        let predicted_field = model.training_set().schema().predicted_field();
        let name = json_string(&predicted_field);
        let tails = model
            .classes()
            .iter()
            .map(|class| format!(",{name}:{}}}", json_string(class)))
            .collect();
        Self {
            provenance: ProvenanceWriter::new(model.version()),
            model,
            predicted_field,
            tails,
        }
    }

    /// The model that is served.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The version of the model that is served.
    #[must_use]
    pub fn model_version(&self) -> ModelVersion {
        self.model.version()
    }

    /// Writes the provenance of this model's predictions.
    #[must_use]
    pub fn provenance(&self) -> &ProvenanceWriter {
        &self.provenance
    }

    /// The name of a predicted class.
    ///
    /// # Panics
    /// If `class` is not a position in the model's classes.
    #[must_use]
    pub fn class_name(&self, class: usize) -> &str {
        &self.model.classes()[class]
    }

    /// The class of a label, as a position in the model's classes; `None` if the model does not know it.
    #[must_use]
    pub fn class_of(&self, label: &str) -> Option<usize> {
        self.model.classes().iter().position(|class| class == label)
    }

    /// Decides about one record. Total: any bytes are either classified or rejected with a reason.
    ///
    /// A record without a label, or with a null one, is classified and compared with nothing. A label that the model
    /// has never seen is a misprediction like any other.
    ///
    /// # Errors
    /// [`Rejection`] if the record is not a JSON object with a finite number for every feature.
    pub fn decide<'a>(
        &self,
        value: Option<&'a [u8]>,
        scratch: &mut Scratch,
    ) -> Result<Decision<'a>, Rejection> {
        let value = value.ok_or(Rejection::NoValue)?;
        let schema = self.model.training_set().schema();
        scratch.features.resize(schema.features.len(), 0.0);
        let fields = record::read(schema, &self.predicted_field, value, &mut scratch.features)?;
        let prediction = self.model.predict(
            &scratch.features,
            &mut scratch.neighbors,
            &mut scratch.votes,
        );
        let mispredicted = fields
            .label
            .as_ref()
            .is_some_and(|label| label != self.class_name(prediction.class));
        Ok(Decision {
            value,
            has_prediction: fields.has_prediction,
            class: prediction.class,
            label: fields.label,
            mispredicted,
        })
    }

    /// Writes the value that announces a decision: the record's own members as they stand, then the prediction.
    ///
    /// The bytes of the record are copied, not parsed and written anew. Only a record that already carries a
    /// prediction is taken apart, to leave the old one out.
    pub fn write_value(&self, decision: &Decision<'_>, out: &mut Vec<u8>) {
        out.clear();
        let tail = self.tails[decision.class].as_bytes();
        if decision.has_prediction {
            self.write_other_members(decision.value, out);
        } else {
            let end = decision
                .value
                .iter()
                .rposition(|&byte| byte == b'}')
                .unwrap_or(0);
            out.extend_from_slice(decision.value[..end].trim_ascii_end());
        }
        out.extend_from_slice(tail);
    }

    /// Writes an object, left open, of all members but an earlier prediction.
    fn write_other_members(&self, value: &[u8], out: &mut Vec<u8>) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let fields = Field::all(text).unwrap_or_default();
        let mut separator = b'{';
        for field in fields
            .iter()
            .filter(|field| field.name != self.predicted_field.as_str())
        {
            out.push(separator);
            out.extend_from_slice(json_string(&field.name).as_bytes());
            out.push(b':');
            out.extend_from_slice(field.value.get().as_bytes());
            separator = b',';
        }
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::TrainingSet;
    use crate::property;
    use crate::schema::Schema;

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

    /// The announced value, and whether the record was a misprediction; or the reason for its rejection.
    fn outcome(value: &[u8]) -> Result<(String, bool), String> {
        let classifier = classifier();
        let decision = classifier
            .decide(Some(value), &mut Scratch::default())
            .map_err(|r| format!("{}: {r}", r.reason()))?;
        let mut out = Vec::new();
        classifier.write_value(&decision, &mut out);
        Ok((String::from_utf8(out).unwrap(), decision.mispredicted))
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
    }

    #[test]
    fn a_label_may_be_a_number_or_escaped() {
        assert!(!accepted(r#"{"x":51,"y":1,"Species":12}"#).1);
        assert!(accepted(r#"{"x":51,"y":1,"Species":12.5}"#).1);
        assert!(!accepted(r#"{"x":1,"y":1,"Species":"l\u006fw"}"#).1);
    }

    #[test]
    fn an_earlier_prediction_is_replaced() {
        let (value, _) = accepted(r#"{"PredictedSpecies":"high","x":1,"y":1,"z":"a\"b"}"#);
        assert_eq!(
            value,
            r#"{"x":1,"y":1,"z":"a\"b","PredictedSpecies":"low"}"#
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
            .decide(None, &mut Scratch::default())
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
            "not_json: not_json: invalid utf-8 sequence of 1 bytes from index 21".replacen(
                "not_json: not_json",
                "not_json: not JSON",
                1
            )
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
            "[0-9]{1,3}e[0-9]{1,3}",
            any::<String>().prop_map(|v| json_string(&v)),
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
        fn any_bytes_are_decided_about(value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = outcome(&value);
        }

        #[test]
        fn whatever_is_accepted_is_announced_as_its_own_members_and_then_the_prediction(value in nearly_records()) {
            if let Ok((announced, _)) = outcome(value.as_bytes()) {
                let before = Field::all(&value).unwrap();
                let after = Field::all(&announced).unwrap();
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
