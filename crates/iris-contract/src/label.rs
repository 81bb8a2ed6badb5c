//! A label that comes after its record, or corrects an earlier one: the key is the record's id, the value a JSON object
//! with the label under the schema's name for it. A null value withdraws the label.

use std::borrow::Cow;

use iris_core::Schema;

use crate::fields::{Fields, json_string};
use crate::rejection::Rejection;

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
    /// It has no key, or an empty one.
    #[error("it has no key: a label's key is the id of the record that it belongs to")]
    NoKey,
    /// Its key is not text: it is not UTF-8, or has a zero byte.
    #[error("the key is {length} bytes that are not text: {hint}")]
    KeyNotText {
        /// The length of the key in bytes.
        length: usize,
        /// The likely cause and the fix.
        hint: &'static str,
    },
    /// Its value is not a JSON object.
    #[error(transparent)]
    NotAnObject(#[from] Rejection),
    /// Its value has no label, a blank one, or one that is neither a string nor a number.
    #[error("the field `{0}` is missing or blank, or is neither a string nor a number")]
    NoLabel(String),
}

impl LabelError {
    /// Returns the reason in metrics: one of a fixed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::KeyNotText { .. } => "key_not_text",
            Self::NotAnObject(rejection) => rejection.reason(),
            Self::NoLabel(_) => "no_label",
        }
    }
}

/// A key that is text, but probably not the id that was meant. An id may look like this, so such a label is still joined with
/// the records whose id is exactly the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMistake {
    /// A JSON string with its quotes.
    #[error(
        "a JSON string with its quotes: produce it with a string serialiser, not a JSON serialiser"
    )]
    Quoted,
    /// A JSON object, as in `{"Id":4}`.
    #[error(
        "a JSON object: send the id alone, as text (Kafka Connect: the transformations ValueToKey and ExtractField$Key, with \
         key.converter=org.apache.kafka.connect.storage.StringConverter)"
    )]
    Object,
    /// White space before or after the id.
    #[error("text with white space around it: remove the white space")]
    WhiteSpace,
}

impl KeyMistake {
    /// Returns the likely mistake in a key; `None` if it looks like an id.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        if key.trim().len() < key.len() {
            return Some(Self::WhiteSpace);
        }
        match key.as_bytes() {
            [b'"', .., b'"'] => Some(Self::Quoted),
            [b'{', .., b'}'] => Some(Self::Object),
            _ => None,
        }
    }

    /// Returns the reason in metrics: one of a fixed set.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Quoted => "key_in_quotes",
            Self::Object => "key_is_an_object",
            Self::WhiteSpace => "key_with_white_space",
        }
    }
}

/// Returns the id that a key contains.
fn id(key: Option<&[u8]>) -> Result<&str, LabelError> {
    let key = key.filter(|key| !key.is_empty()).ok_or(LabelError::NoKey)?;
    let not_text = || LabelError::KeyNotText {
        length: key.len(),
        hint: key_hint(key),
    };
    let text = std::str::from_utf8(key).map_err(|_| not_text())?;
    // Text has no zero bytes, but small integers do.
    if text.contains('\0') {
        return Err(not_text());
    }
    Ok(text)
}

/// Returns the likely cause and the fix of a key that is not text.
fn key_hint(key: &[u8]) -> &'static str {
    match key {
        [0xac, 0xed, 0, 5, ..] => {
            "it is a serialised Java object, produce it with a string serialiser"
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "it is UTF-16, send UTF-8",
        _ if key.len() == 4 => "probably a 4-byte integer, produce it with a string serialiser",
        _ if key.len() == 8 => "probably an 8-byte number, produce it with a string serialiser",
        [0, _, _, _, _, ..] => {
            "it starts with the 5 bytes of a schema registry's serialiser, produce it with a string serialiser"
        }
        _ if key.len() == 16 => "probably a binary UUID, send it as text",
        _ => "produce it with a string serialiser",
    }
}

impl LabelRecord {
    /// Reads a record's key and value.
    ///
    /// # Errors
    /// [`LabelError`] if there is no key or it is not text, or if the value is not an object with a label.
    pub fn read(
        schema: &Schema,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Self, LabelError> {
        let id = id(key)?.to_owned();
        let Some(value) = value else {
            return Ok(Self { id, label: None });
        };
        let fields = Fields::read(value)?;
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
    fn a_key_that_is_not_text_is_refused_with_cause_and_fix() {
        let cases: [&[u8]; 9] = [
            &3_i32.to_be_bytes(),
            &3_i32.to_le_bytes(),
            &(-1_i32).to_be_bytes(),
            &3_i64.to_be_bytes(),
            &3.0_f64.to_be_bytes(),
            b"\xff\xfe3\0",
            b"\xac\xed\0\x05t\0\x013",
            b"\0\0\0\0\x07\x023",
            b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00",
        ];
        let refusals = cases.map(|key| {
            let refused = LabelRecord::read(&Schema::default(), Some(key), None).unwrap_err();
            assert_eq!(refused.reason(), "key_not_text");
            refused.to_string()
        });
        insta::assert_snapshot!(refusals.join("\n"), @r"
        the key is 4 bytes that are not text: probably a 4-byte integer, produce it with a string serialiser
        the key is 4 bytes that are not text: probably a 4-byte integer, produce it with a string serialiser
        the key is 4 bytes that are not text: probably a 4-byte integer, produce it with a string serialiser
        the key is 8 bytes that are not text: probably an 8-byte number, produce it with a string serialiser
        the key is 8 bytes that are not text: probably an 8-byte number, produce it with a string serialiser
        the key is 4 bytes that are not text: it is UTF-16, send UTF-8
        the key is 8 bytes that are not text: it is a serialised Java object, produce it with a string serialiser
        the key is 7 bytes that are not text: it starts with the 5 bytes of a schema registry's serialiser, produce it with a string serialiser
        the key is 16 bytes that are not text: probably a binary UUID, send it as text
        ");
    }

    #[test]
    fn a_key_that_is_probably_not_an_id_is_reported_and_kept_as_it_is() {
        for (key, mistake) in [
            ("\"3\"", Some(KeyMistake::Quoted)),
            ("\"\"", Some(KeyMistake::Quoted)),
            (r#"{"Id":4}"#, Some(KeyMistake::Object)),
            ("{}", Some(KeyMistake::Object)),
            ("3\n", Some(KeyMistake::WhiteSpace)),
            (" 3", Some(KeyMistake::WhiteSpace)),
            ("3", None),
            ("1.50", None),
            ("a b", None),
            ("\"", None),
            ("{3", None),
            ("it's \"3\"", None),
            ("schön", None),
        ] {
            assert_eq!(KeyMistake::of(key), mistake, "{key:?}");
            let read = LabelRecord::read(&Schema::default(), Some(key.as_bytes()), None);
            assert_eq!(read.map(|label| label.id).as_deref(), Ok(key));
        }
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
