//! Reading one record of the stream: only the fields that matter, in one pass, whatever the bytes are.
//!
//! The fast path looks at the features, the label and nothing else; every other field is skipped over. Only when it
//! fails is the record read a second time, to say exactly what is wrong with it. Reading is total: any bytes give
//! either the fields or a [`Rejection`].

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer as _, Error as _, IgnoredAny, MapAccess, Unexpected, Visitor,
};
use serde_json::value::RawValue;

use crate::schema::Schema;

/// Why a record cannot be classified. Such a record goes to the dead-letter topic with this as its reason.
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
    /// The label is neither a string, a number nor null.
    #[error("the label `{name}` is {found}, not a string")]
    LabelNotAString {
        /// The label's field.
        name: String,
        /// What is there instead.
        found: &'static str,
    },
}

impl Rejection {
    /// A short name for the kind of rejection: one of a handful, fit for a metric's label.
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

/// What the pipeline needs of one record besides its features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    /// The ground truth; `None` if absent or null.
    pub(crate) label: Option<Cow<'a, str>>,
    /// Whether the record already carries a prediction, as one that was fed back does.
    pub(crate) has_prediction: bool,
}

/// One member of a record, as it is written there.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// The member's name, unescaped.
    pub name: Cow<'a, str>,
    /// The member's value, the very text of it.
    pub value: &'a RawValue,
}

impl<'a> Field<'a> {
    /// All members of a JSON object in their order, repeated ones included.
    ///
    /// # Errors
    /// [`Rejection::NotJson`] or [`Rejection::NotAnObject`].
    pub fn all(value: &'a str) -> Result<Vec<Self>, Rejection> {
        let whole: &RawValue =
            serde_json::from_str(value).map_err(|error| Rejection::NotJson(error.to_string()))?;
        match whole.get().as_bytes().first() {
            Some(b'{') => {
                let mut json = serde_json::Deserializer::from_str(whole.get());
                json.deserialize_map(AllFields)
                    .map_err(|error| Rejection::NotJson(error.to_string()))
            }
            _ => Err(Rejection::NotAnObject(kind(whole))),
        }
    }
}

/// Reads the fields that `schema` names; the features go into `features`, one for each, in the schema's order.
pub(crate) fn read<'a>(
    schema: &Schema,
    predicted_field: &str,
    value: &'a [u8],
    features: &mut [f64],
) -> Result<Fields<'a>, Rejection> {
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

/// Says what is wrong with a record that the fast path refused; `refusal` is what it said itself.
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
                "a number" if serde_json::from_str::<f64>(value.get()).is_ok() => {}
                "a number" if is_label => return Rejection::NotJson(refusal.to_owned()),
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
    // What is left is text that can be skipped over but not read, such as a lone surrogate in a label.
    Rejection::NotJson(refusal.to_owned())
}

/// The kind of a JSON value, with its article.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

struct RecordSeed<'s> {
    schema: &'s Schema,
    predicted_field: &'s str,
    features: &'s mut [f64],
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
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
                    fields.label = map.next_value_seed(LabelSeed)?;
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

/// Recognises a field's name, first trying the feature that comes next: producers rarely change the order.
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

/// Reads a label: a string, or a number taken by its text as a CSV file has it; null is no label.
struct LabelSeed;

impl<'de> DeserializeSeed<'de> for LabelSeed {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LabelSeed {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, label: &'de str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Borrowed(label)))
    }

    fn visit_str<E>(self, label: &str) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(label.to_owned())))
    }

    fn visit_u64<E>(self, label: u64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(label.to_string())))
    }

    fn visit_i64<E>(self, label: i64) -> Result<Self::Value, E> {
        Ok(Some(Cow::Owned(label.to_string())))
    }

    fn visit_f64<E: serde::de::Error>(self, label: f64) -> Result<Self::Value, E> {
        let number = serde_json::Number::from_f64(label);
        number
            .map(|number| Some(Cow::Owned(number.to_string())))
            .ok_or_else(|| E::invalid_value(Unexpected::Float(label), &self))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct AllFields;

impl<'de> Visitor<'de> for AllFields {
    type Value = Vec<Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            fields.push(Field {
                name,
                value: map.next_value()?,
            });
        }
        Ok(fields)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
