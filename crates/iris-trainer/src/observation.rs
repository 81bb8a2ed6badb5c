//! A prediction as the trainer reads it, and keeps it until its label is known.

use iris_contract::label::LabelError;
use iris_contract::{PredictionRecord, Rejection, prediction};
use iris_core::{ModelVersion, Schema};
use iris_kafka::PartitionOffset;
use serde::{Deserialize, Serialize};

use crate::sampling::{Purpose, is_id_in_sample};

/// A record of the topic of predictions, not parsed. It is kept to become feedback if its label comes late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawPrediction {
    /// Its partition and offset.
    #[serde(with = "crate::place")]
    pub place: PartitionOffset,
    /// The timestamp of its input record, in milliseconds since the epoch.
    pub timestamp: i64,
    /// The input record's key.
    pub key: Option<String>,
    /// The prediction as JSON.
    pub value: String,
    /// The provenance header, if there is one.
    pub provenance: Option<String>,
}

/// A prediction that the trainer can use: all features are numbers and it names a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The record as it was read.
    pub raw: RawPrediction,
    /// The input record's id, under which labels are found; empty if it has none.
    pub id: String,
    /// The version of the model that predicted, if the prediction has a provenance.
    pub version: Option<ModelVersion>,
    /// The features, in the schema's order.
    pub features: Vec<f64>,
    /// The predicted class.
    pub predicted: String,
    /// The label that the input record had.
    pub own_label: Option<String>,
}

/// Why the trainer cannot use a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its value is not a JSON object.
    #[error(transparent)]
    NotAnObject(#[from] Rejection),
    /// A feature is missing or not a number, or there is no predicted class.
    #[error("the field `{0}` is missing or not of its type")]
    Field(String),
    /// It is a label that cannot be used.
    #[error(transparent)]
    Label(#[from] LabelError),
}

impl Unusable {
    /// Returns the reason in metrics: one of a fixed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAnObject(rejection) => rejection.reason(),
            Self::Field(_) => "missing_field",
            Self::Label(error) => error.reason(),
        }
    }

    /// Returns the kind of the record: those of a kind are logged together. It is the reason or, of a key that is not text,
    /// the likely cause.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Label(LabelError::KeyNotText { hint, .. }) => hint,
            _ => self.reason(),
        }
    }
}

impl Prediction {
    /// Parses a prediction.
    ///
    /// # Errors
    /// [`Unusable`] if it is not a JSON object with all features and a predicted class.
    pub fn read(schema: &Schema, raw: RawPrediction) -> Result<Self, Unusable> {
        let provenance = raw.provenance.as_deref().map(str::as_bytes);
        let record = PredictionRecord::read(schema, Some(raw.value.as_bytes()), provenance)?;
        let features = schema
            .features
            .iter()
            .zip(record.features)
            .map(|(name, number)| number.ok_or_else(|| Unusable::Field(name.clone())))
            .collect::<Result<_, _>>()?;
        let predicted = record
            .predicted
            .ok_or_else(|| Unusable::Field(schema.predicted_field()))?;
        Ok(Self {
            id: record.id.unwrap_or_default(),
            version: record.provenance.map(|provenance| provenance.model_version),
            features,
            predicted,
            own_label: record.label,
            raw,
        })
    }

    /// Whether it is in a pseudo-random sample of all predictions: a ratio, chosen by id or, without one, by place.
    pub(crate) fn is_in_sample(&self, ratio: f64) -> bool {
        is_id_in_sample(Purpose::Comparison, &self.id, self.raw.place, ratio)
    }

    /// Returns the prediction with another ground truth, as feedback has it.
    #[must_use]
    pub fn with_label(&self, schema: &Schema, label: &str) -> RawPrediction {
        RawPrediction {
            value: prediction::with_label(schema, &self.raw.value, label),
            ..self.raw.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Prediction, Unusable> {
        let schema = Schema {
            features: vec!["x".into(), "y".into()],
            ..Schema::default()
        };
        let raw = RawPrediction {
            place: PartitionOffset {
                partition: 1,
                offset: 2,
            },
            timestamp: 3,
            key: None,
            value: value.to_owned(),
            provenance: Some("00-00c0ffee00c0ffee-4-12-0.2.3".to_owned()),
        };
        Prediction::read(&schema, raw)
    }

    #[test]
    fn a_prediction_has_all_features_and_a_class() {
        let value = r#"{"Id":7,"x":1.5,"y":-2e1,"Species":null,"PredictedSpecies":"a"}"#;
        let prediction = read(value).unwrap();
        assert_eq!(prediction.id, "7");
        assert_eq!(prediction.features, [1.5, -20.0]);
        assert_eq!(prediction.predicted, "a");
        assert_eq!(prediction.own_label, None);
        assert_eq!(prediction.version, "00c0ffee00c0ffee".parse().ok());
    }

    #[test]
    fn a_record_that_lacks_one_of_them_is_unusable() {
        let field = |name: &str| Err(Unusable::Field(name.to_owned()));
        assert_eq!(read(r#"{"x":1,"PredictedSpecies":"a"}"#), field("y"));
        assert_eq!(
            read(r#"{"x":1,"y":"2","PredictedSpecies":"a"}"#),
            field("y")
        );
        assert_eq!(read(r#"{"x":1,"y":2}"#), field("PredictedSpecies"));
        assert!(matches!(read("[]"), Err(Unusable::NotAnObject(_))));
        let reason = |value| read(value).unwrap_err().reason();
        assert_eq!(reason("{}"), "missing_field");
        assert_eq!(reason("[]"), "not_an_object");
    }
}
