//! The input record: a JSON object with a number for every feature and, optionally, the label.
//!
//! The reader makes one pass over the bytes and skips every field that the schema does not name. Only if that fails does it
//! read the record a second time, to find out what is wrong with it. Reading is total: any bytes give either the fields or
//! a [`Rejection`]. The writer is the producer's dataset (`iris_core::Dataset`).

use std::borrow::Cow;
use std::fmt;

use iris_core::Schema;
use serde::Deserializer as _;
use serde::de::{self, DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fields::{Field, is_blank, kind, text};

/// Why a record cannot be classified. The record is dead-lettered with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The record has no value at all.
    #[error("the record has no value")]
    NoValue,
    /// The value is not JSON text.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The value is JSON, but not an object.
    #[error("not a JSON object but {0}")]
    NotAnObject(&'static str),
    /// A field that decides the outcome appears more than once.
    #[error("the field `{0}` appears more than once")]
    DuplicateField(String),
    /// A feature is absent.
    #[error("the feature `{0}` is missing")]
    MissingFeature(String),
    /// A feature is there but is not a number.
    #[error("the feature `{name}` is {found}, not a number")]
    FeatureNotANumber {
        /// The feature's field.
        name: String,
        /// What is there instead.
        found: &'static str,
    },
    /// A feature's number is too large for a 64-bit float.
    #[error("the feature `{0}` is beyond the range of a 64-bit float")]
    FeatureOutOfRange(String),
    /// The label is neither a string nor a number nor null.
    #[error("the label `{name}` is {found}, not a string")]
    LabelNotAString {
        /// The label's field.
        name: String,
        /// What is there instead.
        found: &'static str,
    },
}

impl Rejection {
    /// Returns the reason as it stands in the dead letter and in metrics: one of a fixed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::NotJson(_) => "not_json",
            Self::NotAnObject(_) => "not_an_object",
            Self::DuplicateField(_) => "duplicate_field",
            Self::MissingFeature(_) => "missing_feature",
            Self::FeatureNotANumber { .. } => "feature_not_a_number",
            Self::FeatureOutOfRange(_) => "feature_out_of_range",
            Self::LabelNotAString { .. } => "label_not_a_string",
        }
    }
}

/// The fields of an input record besides its features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Input<'a> {
    /// The ground truth; `None` if absent or null.
    pub(crate) label: Option<Cow<'a, str>>,
    /// Whether the record already carries a prediction, as feedback does that is sent to the input topic.
    pub(crate) has_prediction: bool,
}

/// Reads the fields that `schema` names. Writes the features into `features`, in the schema's order; its length is the
/// number of features.
pub(crate) fn read<'a>(
    schema: &Schema,
    predicted_field: &str,
    value: &'a [u8],
    features: &mut [f64],
) -> Result<Input<'a>, Rejection> {
    let text = std::str::from_utf8(value).map_err(|error| Rejection::NotJson(error.to_string()))?;
    // No JSON number is NaN, so NaN marks the features not yet seen.
    features.fill(f64::NAN);
    let mut json = serde_json::Deserializer::from_str(text);
    let seed = RecordSeed {
        schema,
        predicted_field,
        features: &mut *features,
    };
    match json
        .deserialize_map(seed)
        .and_then(|fields| json.end().map(|()| fields))
    {
        Ok(fields) if !features.iter().any(|feature| feature.is_nan()) => Ok(fields),
        Ok(_) => Err(diagnose(schema, text, "a feature is missing")),
        Err(error) => Err(diagnose(schema, text, &error.to_string())),
    }
}

/// Returns the reason why the fast path refused a record; `refusal` is its own error message.
fn diagnose(schema: &Schema, text: &str, refusal: &str) -> Rejection {
    let fields = match Field::all(text) {
        Ok(fields) => fields,
        Err(rejection) => return rejection,
    };
    for name in schema.features.iter().chain([&schema.label]) {
        let mut named = fields.iter().filter(|field| field.name == name.as_str());
        let field = named.next();
        if named.next().is_some() {
            return Rejection::DuplicateField(name.clone());
        }
        let is_label = *name == schema.label;
        match field {
            None if is_label => {}
            None => return Rejection::MissingFeature(name.clone()),
            Some(Field { value, .. }) => match kind(value) {
                "a string" | "null" if is_label => {}
                "a number" if is_label => {}
                "a number" if serde_json::from_str::<f64>(value.get()).is_ok() => {}
                "a number" => return Rejection::FeatureOutOfRange(name.clone()),
                found if is_label => {
                    return Rejection::LabelNotAString {
                        name: name.clone(),
                        found,
                    };
                }
                found => {
                    return Rejection::FeatureNotANumber {
                        name: name.clone(),
                        found,
                    };
                }
            },
        }
    }
    // A string that can be skipped but not read, such as a lone surrogate in a label.
    Rejection::NotJson(refusal.to_owned())
}

struct RecordSeed<'s> {
    schema: &'s Schema,
    predicted_field: &'s str,
    features: &'s mut [f64],
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = Input<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input<'de>, A::Error> {
        let mut fields = Input::default();
        let mut label_seen = false;
        let mut expected = 0;
        while let Some(name) = map.next_key_seed(NameSeed {
            record: &self,
            expected,
        })? {
            match name {
                Name::Feature(position) => {
                    if !self.features[position].is_nan() {
                        return Err(A::Error::custom("a feature appears more than once"));
                    }
                    self.features[position] = map.next_value()?;
                    expected = position + 1;
                }
                Name::Label => {
                    if label_seen {
                        return Err(A::Error::custom("the label appears more than once"));
                    }
                    label_seen = true;
                    fields.label = label(map.next_value()?)?;
                }
                Name::Prediction => {
                    fields.has_prediction = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

enum Name {
    Feature(usize),
    Label,
    Prediction,
    Other,
}

/// Recognises a field's name. Tries the next feature first, because producers rarely change the order.
struct NameSeed<'r, 's> {
    record: &'r RecordSeed<'s>,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_, '_> {
    type Value = Name;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_, '_> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        let RecordSeed {
            schema,
            predicted_field,
            ..
        } = self.record;
        if schema
            .features
            .get(self.expected)
            .is_some_and(|feature| feature == name)
        {
            return Ok(Name::Feature(self.expected));
        }
        if name == schema.label {
            return Ok(Name::Label);
        }
        if let Some(position) = schema.features.iter().position(|feature| feature == name) {
            return Ok(Name::Feature(position));
        }
        Ok(if name == *predicted_field {
            Name::Prediction
        } else {
            Name::Other
        })
    }
}

/// Reads a label; null and a blank text are no label.
fn label<E: de::Error>(value: &RawValue) -> Result<Option<Cow<'_, str>>, E> {
    match text(value) {
        None if value.get() == "null" => Ok(None),
        None => Err(E::custom("the label is not Unicode text")),
        label => Ok(label.filter(|label| !is_blank(label))),
    }
}
