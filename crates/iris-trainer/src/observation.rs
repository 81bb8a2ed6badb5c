//! What the trainer reads: predictions, and labels that come by themselves.

use iris_core::{Field, ModelVersion, Schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The place of a prediction in the topic of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A prediction as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// Where it is.
    pub place: Place,
    /// When the record that it is about was created, in milliseconds since the epoch.
    pub timestamp: i64,
    /// The record's key.
    pub key: Option<String>,
    /// The record and what was predicted, as JSON.
    pub value: String,
    /// The provenance header, where there is one.
    pub provenance: Option<String>,
}

/// A prediction, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// As it was read.
    pub announced: Announced,
    /// The record's id, by which labels find it; empty if it has none.
    pub id: String,
    /// The version that predicted, where the prediction says it.
    pub version: Option<ModelVersion>,
    /// The features, in the schema's order.
    pub features: Vec<f64>,
    /// The predicted class.
    pub predicted: String,
    /// The ground truth that came with the record.
    pub own_label: Option<String>,
}

/// What a record of the topic of labels says: the ground truth of the record with this id, or that what was said of it is
/// withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The record's id.
    pub id: String,
    /// Its class; `None` withdraws it.
    pub label: Option<String>,
}

/// Why a record means nothing to the trainer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not a JSON object.
    #[error("{0}")]
    NotAnObject(String),
    /// A field is missing, or is not what it has to be.
    #[error("the field `{0}` is missing or not of its type")]
    Field(String),
    /// A label has no key, so that nobody knows whose it is.
    #[error("it has no key: a label's key is the id of the record that it is about")]
    NoKey,
}

/// A member's text: a string unescaped, a number as it is written; `None` for anything else.
fn text(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(value.get()).ok(),
        Some(b'-' | b'0'..=b'9') => Some(value.get().to_owned()),
        _ => None,
    }
}

struct Members<'a>(Vec<Field<'a>>);

impl<'a> Members<'a> {
    fn of(json: &'a str) -> Result<Self, Unusable> {
        Field::all(json)
            .map(Self)
            .map_err(|rejection| Unusable::NotAnObject(rejection.to_string()))
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let field = self.0.iter().rfind(|field| field.name == name)?;
        Some(field.value)
    }

    fn text(&self, name: &str) -> Option<String> {
        text(self.get(name)?)
    }
}

impl Prediction {
    /// Understands a prediction.
    ///
    /// # Errors
    /// [`Unusable`] if it lacks what a prediction has.
    pub fn read(schema: &Schema, announced: Announced) -> Result<Self, Unusable> {
        let members = Members::of(&announced.value)?;
        let number = |name: &String| {
            let value = members.get(name)?;
            serde_json::from_str(value.get()).ok()
        };
        let features = schema
            .features
            .iter()
            .map(|name| number(name).ok_or_else(|| Unusable::Field(name.clone())))
            .collect::<Result<_, _>>()?;
        let predicted_field = schema.predicted_field();
        let predicted = members
            .text(&predicted_field)
            .ok_or(Unusable::Field(predicted_field))?;
        let (id, own_label) = (members.text(&schema.id), members.text(&schema.label));
        let provenance = announced.provenance.as_deref();
        let version = provenance
            .and_then(|text| text.parse::<iris_core::Provenance>().ok())
            .map(|provenance| provenance.model_version);
        Ok(Self {
            id: id.unwrap_or_default(),
            version,
            features,
            predicted,
            own_label,
            announced,
        })
    }

    /// The prediction as it was announced, but with another ground truth, as feedback has it.
    #[must_use]
    pub fn announced_with(&self, schema: &Schema, label: &str) -> Announced {
        Announced {
            value: self.value_with_label(schema, label),
            ..self.announced.clone()
        }
    }

    fn value_with_label(&self, schema: &Schema, label: &str) -> String {
        let Ok(Members(fields)) = Members::of(&self.announced.value) else {
            return self.announced.value.clone();
        };
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let (name, truth) = (json(&schema.label), json(label));
        let predicted_field = schema.predicted_field();
        let mut members: Vec<String> = Vec::new();
        let mut has_label = false;
        for field in &fields {
            if field.name == schema.label.as_str() {
                has_label = true;
                members.push(format!("{name}:{truth}"));
            } else {
                if field.name == predicted_field.as_str() && !has_label {
                    has_label = true;
                    members.push(format!("{name}:{truth}"));
                }
                members.push(format!("{}:{}", json(&field.name), field.value.get()));
            }
        }
        format!("{{{}}}", members.join(","))
    }
}

impl Said {
    /// Understands a record of the topic of labels.
    ///
    /// # Errors
    /// [`Unusable`] if it has no key, or a value that is not an object with a label.
    pub fn read(
        schema: &Schema,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Self, Unusable> {
        let id = key
            .and_then(|key| std::str::from_utf8(key).ok())
            .filter(|key| !key.is_empty())
            .ok_or(Unusable::NoKey)?
            .to_owned();
        let Some(value) = value else {
            return Ok(Self { id, label: None });
        };
        let json =
            std::str::from_utf8(value).map_err(|error| Unusable::NotAnObject(error.to_string()))?;
        let label = Members::of(json)?.text(&schema.label);
        let label = label.ok_or_else(|| Unusable::Field(schema.label.clone()))?;
        Ok(Self {
            id,
            label: Some(label),
        })
    }
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

    fn announced(value: &str) -> Announced {
        Announced {
            place: Place {
                partition: 1,
                offset: 2,
            },
            timestamp: 3,
            key: None,
            value: value.to_owned(),
            provenance: Some("00-00c0ffee00c0ffee-4-12-0.2.3".to_owned()),
        }
    }

    #[test]
    fn a_prediction_is_understood() {
        let value = r#"{"Id":7,"x":1.5,"y":-2e1,"Species":null,"PredictedSpecies":"a"}"#;
        let prediction = Prediction::read(&schema(), announced(value)).unwrap();
        assert_eq!(prediction.id, "7");
        assert_eq!(prediction.features, [1.5, -20.0]);
        assert_eq!(prediction.predicted, "a");
        assert_eq!(prediction.own_label, None);
        assert_eq!(prediction.version, "00c0ffee00c0ffee".parse().ok());
    }

    #[test]
    fn feedback_has_the_label_that_came_late() {
        let late = |value: &str| {
            let prediction = Prediction::read(&schema(), announced(value)).unwrap();
            prediction.value_with_label(&schema(), "b")
        };
        assert_eq!(
            late(r#"{"Id":7,"x":1.50,"y":2,"PredictedSpecies":"a"}"#),
            r#"{"Id":7,"x":1.50,"y":2,"Species":"b","PredictedSpecies":"a"}"#
        );
        assert_eq!(
            late(r#"{"Species":"c","x":1.50,"y":2,"PredictedSpecies":"a"}"#),
            r#"{"Species":"b","x":1.50,"y":2,"PredictedSpecies":"a"}"#
        );
    }

    #[test]
    fn labels_say_withdraw_or_are_refused() {
        let read = |key: &str, value: Option<&str>| {
            Said::read(&schema(), Some(key.as_bytes()), value.map(str::as_bytes))
        };
        let label = |label: Option<&str>| {
            Ok(Said {
                id: "7".into(),
                label: label.map(str::to_owned),
            })
        };
        assert_eq!(read("7", Some(r#"{"Species":"a"}"#)), label(Some("a")));
        assert_eq!(read("7", None), label(None));
        assert_eq!(read("", None), Err(Unusable::NoKey));
        assert_eq!(Said::read(&schema(), None, None), Err(Unusable::NoKey));
        for value in ["{}", r#"{"Species":null}"#, r#"{"Species":["a"]}"#] {
            assert_eq!(
                read("7", Some(value)),
                Err(Unusable::Field("Species".into()))
            );
        }
        assert!(matches!(
            read("7", Some("a")),
            Err(Unusable::NotAnObject(_))
        ));
    }
}
