//! Finds out why an input record is rejected, and names the likely cause and the fix.
//!
//! It runs only for records that the fast reader has refused, so it may be slow.

use std::str::Utf8Error;

use iris_core::Schema;
use serde_json::value::RawValue;

use crate::fields::{Field, kind};
use crate::rejection::Rejection;

/// Names of members in which other programs wrap a record, with the fix.
const ENVELOPES: [(&str, &str); 2] = [
    (
        "payload",
        "send the record without its schema (Kafka Connect: value.converter.schemas.enable=false)",
    ),
    (
        "after",
        "send the new row alone (Debezium: the transformation ExtractNewRecordState)",
    ),
];

/// The levels of objects in which a feature is searched.
const ENVELOPE_LEVELS: usize = 3;

/// Returns the rejection of a value that is not UTF-8.
pub(crate) fn foreign_format(value: &[u8], error: &Utf8Error) -> Rejection {
    let hint = match value {
        [0, _, _, _, _, ..] => SCHEMA_REGISTRY,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ": it is UTF-16, send UTF-8",
        [0x1f, 0x8b, ..] => {
            ": it is gzip, send plain JSON and let the producer compress (compression.type)"
        }
        [b'{' | b'[' | b'"' | b' ' | b'\t' | b'\r' | b'\n', ..] => ": send UTF-8",
        _ => ": send plain JSON in UTF-8",
    };
    Rejection::NotJson(format!("{error}{hint}"))
}

/// The hint for the header of a schema registry's serialiser: a zero byte and the schema's id in 4 bytes.
const SCHEMA_REGISTRY: &str =
    ": it starts with the 5 bytes of a schema registry's serialiser, send plain JSON";

/// Returns the reason why the fast reader refused a record; `refusal` is its own error message.
pub(crate) fn diagnose(schema: &Schema, text: &str, refusal: &str) -> Rejection {
    let fields = match Field::all(text) {
        Ok(fields) => fields,
        Err(Rejection::NotJson(error)) => return Rejection::NotJson(error + not_json(text)),
        Err(Rejection::NotAnObject(found)) => {
            return Rejection::NotAnObject(not_an_object(text, found));
        }
        Err(rejection) => return rejection,
    };
    for name in schema.features.iter().chain([&schema.label]) {
        let mut named = fields.iter().filter(|field| field.name == name.as_str());
        let field = named.next();
        if named.next().is_some() {
            return Rejection::DuplicateField(name.clone());
        }
        let rejection = match field {
            Some(field) if *name == schema.label => label(name, field),
            Some(field) => feature(name, field),
            None if *name == schema.label => None,
            None => Some(missing(name, &fields)),
        };
        if let Some(rejection) = rejection {
            return rejection;
        }
    }
    // A string that can be skipped but not read, such as a lone surrogate in a label.
    Rejection::NotJson(refusal.to_owned())
}

/// Returns the likely cause and the fix of text that is not JSON.
fn not_json(text: &str) -> &'static str {
    if text.starts_with("{\0") || text.starts_with("\0{") {
        ": it is UTF-16, send UTF-8"
    } else if text.starts_with('\0') && text.len() > 5 {
        SCHEMA_REGISTRY
    } else if has_number_that_is_none(text) {
        ": NaN and Infinity are not JSON numbers"
    } else if text.ends_with('\0') {
        ": it ends with a zero byte"
    } else if text.trim().is_empty() {
        ": the value is empty"
    } else if is_several_objects(text) {
        ": send each object as a record of its own"
    } else {
        ""
    }
}

/// Whether a text begins with an object and goes on with another.
fn is_several_objects(text: &str) -> bool {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let is_object = |value: Option<serde_json::Result<&RawValue>>| {
        value.is_some_and(|value| value.is_ok_and(|value| kind(value) == "an object"))
    };
    is_object(objects.next()) && is_object(objects.next())
}

/// Whether the first element of an array is an object.
fn is_object_in_array(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix('[').unwrap_or_default();
    rest.trim_start().starts_with('{')
}

/// Returns the kind of JSON that is not an object, with the likely cause and the fix.
fn not_an_object(text: &str, found: &'static str) -> &'static str {
    let within = serde_json::from_str::<String>(text).unwrap_or_default();
    match found {
        "a string" if Field::all(&within).is_ok() => {
            "a string: the string is a JSON object, serialise it once instead of twice"
        }
        "an array" if is_object_in_array(text) => {
            "an array: send each object as a record of its own"
        }
        found => found,
    }
}

/// Whether a member's value is NaN or an infinity.
fn has_number_that_is_none(text: &str) -> bool {
    text.match_indices(':').any(|(colon, _)| {
        let value = text[colon + 1..].trim_start().trim_start_matches('-');
        value.starts_with("NaN") || value.starts_with("Infinity")
    })
}

/// Returns the reason why a label is refused.
fn label(name: &str, field: &Field<'_>) -> Option<Rejection> {
    match kind(field.value) {
        "a string" | "null" | "a number" => None,
        found => Some(Rejection::LabelNotAString {
            name: name.to_owned(),
            found,
        }),
    }
}

/// Returns the reason why a feature is refused.
fn feature(name: &str, field: &Field<'_>) -> Option<Rejection> {
    let name = name.to_owned();
    let written = field.value.get();
    match kind(field.value) {
        "a number" if serde_json::from_str::<f64>(written).is_ok() => None,
        "a number" => Some(Rejection::FeatureOutOfRange(name)),
        found => Some(Rejection::FeatureNotANumber {
            name,
            found,
            hint: quoted_number(written),
        }),
    }
}

/// Returns the fix of a number that is written as a string.
fn quoted_number(written: &str) -> &'static str {
    let text = serde_json::from_str::<String>(written).unwrap_or_default();
    let is_number = |text: &str| text.trim().parse::<f64>().is_ok_and(f64::is_finite);
    if is_number(&text) {
        ": write the number without quotes"
    } else if is_number(&text.replacen(',', ".", 1)) {
        ": write the number without quotes and with a decimal point"
    } else {
        ""
    }
}

/// Returns the rejection of a record without a feature, with the likely cause.
fn missing(name: &str, fields: &[Field<'_>]) -> Rejection {
    let similar = fields.iter().find(|field| is_similar(&field.name, name));
    let hint = if let Some(field) = similar {
        let found = field.name.escape_debug();
        if field.name.eq_ignore_ascii_case(name) {
            format!(": `{found}` differs in the case of its letters")
        } else {
            format!(": `{found}` is written differently")
        }
    } else if let Some(path) = path_to(name, fields, ENVELOPE_LEVELS) {
        let known = ENVELOPES.iter().find(|(name, _)| path.ends_with(name));
        let fix = known.map_or("send that object alone", |(_, fix)| fix);
        format!(": it is within `{}`; {fix}", path.escape_debug())
    } else {
        String::new()
    };
    Rejection::MissingFeature {
        name: name.to_owned(),
        hint,
    }
}

/// Whether two names are the same but for case, blanks and punctuation, such as `SepalLengthCm` and `sepal_length_cm`.
fn is_similar(one: &str, other: &str) -> bool {
    let letters = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let one = letters(one);
    !one.is_empty() && one == letters(other)
}

/// Returns the names, joined by points, of the objects within which a member is.
fn path_to(name: &str, fields: &[Field<'_>], levels: usize) -> Option<String> {
    let levels = levels.checked_sub(1)?;
    fields.iter().find_map(|field| {
        let inner = Field::all(field.value.get()).ok()?;
        if inner.iter().any(|inner| inner.name == name) {
            return Some(field.name.to_string());
        }
        let path = path_to(name, &inner, levels)?;
        Some(format!("{}.{path}", field.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input;

    const RECORD: &str = r#"{"Id":1,"x":5.1,"y":3.5,"Species":"a"}"#;

    fn rejection(value: &[u8]) -> String {
        let schema = Schema {
            features: vec!["x".to_owned(), "y".to_owned()],
            ..Schema::default()
        };
        let read = input::read(&schema, &schema.predicted_field(), value, &mut [0.0; 2]);
        read.unwrap_err().to_string()
    }

    #[test]
    fn records_of_other_programs_are_rejected_with_cause_and_fix() {
        let utf16: Vec<u8> = "\u{feff}{}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let cases: [Vec<u8>; 24] = [
            [b"\0\0\0\0\x07", RECORD.as_bytes()].concat(),
            [b"\0\0\0\0\xff", RECORD.as_bytes()].concat(),
            utf16,
            b"\x1f\x8b\x08\x00".to_vec(),
            format!(r#"{{"schema":{{"type":"struct"}},"payload":{RECORD}}}"#).into_bytes(),
            format!(r#"{{"before":null,"after":{RECORD},"op":"c"}}"#).into_bytes(),
            br#"{"X":5.1,"y":3.5}"#.to_vec(),
            br#"{"x":"5.1","y":3.5}"#.to_vec(),
            br#"{"x":"tall","y":3.5}"#.to_vec(),
            br#"{"x":NaN,"y":3.5}"#.to_vec(),
            [RECORD.as_bytes(), b"\0"].concat(),
            br#"{"y":3.5}"#.to_vec(),
            format!(r#"{{"schema":{{}},"payload":{{"before":null,"after":{RECORD}}}}}"#)
                .into_bytes(),
            format!(r#"{{"id":"1","data":{{"row":{RECORD}}}}}"#).into_bytes(),
            br#"{"X_":5.1,"y":3.5}"#.to_vec(),
            br#"{"x":"5,1","y":3.5}"#.to_vec(),
            serde_json::Value::from(RECORD).to_string().into_bytes(),
            br#""text""#.to_vec(),
            format!("[{RECORD}]").into_bytes(),
            format!("{RECORD}\n{RECORD}").into_bytes(),
            RECORD
                .replace("5.1", "5.1\0")
                .replace('{', "{\0")
                .into_bytes(),
            b"".to_vec(),
            RECORD
                .replace("\"a\"", "\"\u{e1}\"")
                .chars()
                .map(|c| c as u8)
                .collect(),
            b"\x82\xa1x\xfb".to_vec(),
        ];
        insta::assert_snapshot!(cases.map(|value| rejection(&value)).join("\n"), @r#"
        not JSON: expected value at line 1 column 1: it starts with the 5 bytes of a schema registry's serialiser, send plain JSON
        not JSON: invalid utf-8 sequence of 1 bytes from index 4: it starts with the 5 bytes of a schema registry's serialiser, send plain JSON
        not JSON: invalid utf-8 sequence of 1 bytes from index 0: it is UTF-16, send UTF-8
        not JSON: invalid utf-8 sequence of 1 bytes from index 1: it is gzip, send plain JSON and let the producer compress (compression.type)
        the feature `x` is missing: it is within `payload`; send the record without its schema (Kafka Connect: value.converter.schemas.enable=false)
        the feature `x` is missing: it is within `after`; send the new row alone (Debezium: the transformation ExtractNewRecordState)
        the feature `x` is missing: `X` differs in the case of its letters
        the feature `x` is a string, not a number: write the number without quotes
        the feature `x` is a string, not a number
        not JSON: expected value at line 1 column 6: NaN and Infinity are not JSON numbers
        not JSON: trailing characters at line 1 column 39: it ends with a zero byte
        the feature `x` is missing
        the feature `x` is missing: it is within `payload.after`; send the new row alone (Debezium: the transformation ExtractNewRecordState)
        the feature `x` is missing: it is within `data.row`; send that object alone
        the feature `x` is missing: `X_` is written differently
        the feature `x` is a string, not a number: write the number without quotes and with a decimal point
        not a JSON object but a string: the string is a JSON object, serialise it once instead of twice
        not a JSON object but a string
        not a JSON object but an array: send each object as a record of its own
        not JSON: trailing characters at line 2 column 1: send each object as a record of its own
        not JSON: key must be a string at line 1 column 2: it is UTF-16, send UTF-8
        not JSON: EOF while parsing a value at line 1 column 0: the value is empty
        not JSON: invalid utf-8 sequence of 1 bytes from index 35: send UTF-8
        not JSON: invalid utf-8 sequence of 1 bytes from index 0: send plain JSON in UTF-8
        "#);
    }
}
