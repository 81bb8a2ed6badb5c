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

use crate::diagnosis::{diagnose, foreign_format};
use crate::fields::{is_blank, text};
use crate::rejection::Rejection;

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
    let text = std::str::from_utf8(value).map_err(|error| foreign_format(value, &error))?;
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
