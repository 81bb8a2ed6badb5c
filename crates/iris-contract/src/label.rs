//! A label that comes after its record, or corrects an earlier one: the key is the record's id, the value a JSON object
//! with the label under the schema's name for it. A null value withdraws the label.

use std::borrow::Cow;

use iris_core::Schema;

use crate::fields::{Fields, json_string};

/// A record of the topic of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelRecord {
    /// The id of the record that the label belongs to.
    pub id: String,
    /// The ground truth; `None` withdraws an earlier one.
    pub label: Option<String>,
}

/// Why a record of the topic of labels cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// It has no key, or an empty one, or one that is not UTF-8.
    #[error("it has no key: a label's key is the id of the record that it belongs to")]
    NoKey,
    /// Its value is not a JSON object.
    #[error("{0}")]
    NotAnObject(String),
    /// Its value has no label, a blank one, or one that is neither a string nor a number.
    #[error("the field `{0}` is missing or blank, or is neither a string nor a number")]
    NoLabel(String),
}

impl LabelRecord {
    /// Reads a record's key and value.
    ///
    /// # Errors
    /// [`LabelError`] if there is no key, or the value is not an object with a label.
    pub fn read(
        schema: &Schema,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Self, LabelError> {
        let id = key
            .and_then(|key| std::str::from_utf8(key).ok())
            .filter(|key| !key.is_empty())
            .ok_or(LabelError::NoKey)?
            .to_owned();
        let Some(value) = value else {
            return Ok(Self { id, label: None });
        };
        let fields = Fields::read(value)
            .map_err(|rejection| LabelError::NotAnObject(rejection.to_string()))?;
        let label = fields.label(&schema.label).map(Cow::into_owned);
        match label {
            None => Err(LabelError::NoLabel(schema.label.clone())),
            label => Ok(Self { id, label }),
        }
    }

    /// Returns the record's value; `None` for a withdrawal.
    #[must_use]
    pub fn value(&self, schema: &Schema) -> Option<Vec<u8>> {
        let label = self.label.as_ref()?;
        let json = format!("{{{}:{}}}", json_string(&schema.label), json_string(label));
        Some(json.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_withdrawn_or_refused() {
        let schema = Schema::default();
        let read = |key: &str, value: Option<&str>| {
            LabelRecord::read(&schema, Some(key.as_bytes()), value.map(str::as_bytes))
        };
        let label = |label: Option<&str>| {
            Ok(LabelRecord {
                id: "7".into(),
                label: label.map(str::to_owned),
            })
        };
        assert_eq!(read("7", Some(r#"{"Species":"a"}"#)), label(Some("a")));
        assert_eq!(read("7", Some(r#"{"Species":1.50}"#)), label(Some("1.50")));
        assert_eq!(read("7", None), label(None));
        assert_eq!(read("", None), Err(LabelError::NoKey));
        assert_eq!(
            LabelRecord::read(&schema, None, None),
            Err(LabelError::NoKey)
        );
        for value in [
            "{}",
            r#"{"Species":null}"#,
            r#"{"Species":" "}"#,
            r#"{"Species":["a"]}"#,
        ] {
            let refused = Err(LabelError::NoLabel("Species".into()));
            assert_eq!(read("7", Some(value)), refused);
        }
        let refused = read("7", Some("a"));
        assert!(matches!(refused, Err(LabelError::NotAnObject(_))));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let schema = Schema::default();
        for label in [Some("a \"b\""), None] {
            let record = LabelRecord {
                id: "7".into(),
                label: label.map(str::to_owned),
            };
            let value = record.value(&schema);
            let read = LabelRecord::read(&schema, Some(b"7"), value.as_deref());
            assert_eq!(read, Ok(record));
        }
    }
}
