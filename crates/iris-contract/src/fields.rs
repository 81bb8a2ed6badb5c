//! The members of a JSON object as they are written, and the one rule for what counts as text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::rejection::Rejection;

/// One member of a record.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// The member's name, unescaped.
    pub name: Cow<'a, str>,
    /// The member's name as it is written, with its quotes.
    pub written_name: &'a RawValue,
    /// The member's value as it is written.
    pub value: &'a RawValue,
}

impl<'a> Field<'a> {
    /// Returns all members of a JSON object in their order, including duplicates.
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

/// The members of a record by name.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<Field<'a>>);

impl<'a> Fields<'a> {
    /// Reads the bytes of a record.
    pub(crate) fn read(value: &'a [u8]) -> Result<Self, Rejection> {
        let value = without_byte_order_mark(value);
        let text =
            std::str::from_utf8(value).map_err(|error| Rejection::NotJson(error.to_string()))?;
        Field::all(text).map(Self)
    }

    /// Returns the value of a member; of duplicates, the last one.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let field = self.0.iter().rfind(|field| field.name == name)?;
        Some(field.value)
    }

    /// Returns the text of a member.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        text(self.get(name)?)
    }

    /// Returns the text of a member that is a label; a blank label is none.
    pub(crate) fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        self.text(name).filter(|label| !is_blank(label))
    }

    /// Returns the number of a member.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter()
    }
}

/// Returns the text of one member of a JSON object, and skips all others; of duplicates, the last one. Other members may contain
/// bytes that are not UTF-8.
///
/// # Errors
/// [`Rejection::NotJson`] if the value is not an object.
pub(crate) fn member_text<'a>(
    value: &'a [u8],
    name: &str,
) -> Result<Option<Cow<'a, str>>, Rejection> {
    let mut json = serde_json::Deserializer::from_slice(without_byte_order_mark(value));
    let member = json
        .deserialize_map(Member(name))
        .and_then(|member| json.end().map(|()| member))
        .map_err(|error| Rejection::NotJson(error.to_string()))?;
    Ok(member.and_then(text))
}

/// Returns a record's value without the byte-order mark that some programs write before JSON.
pub(crate) fn without_byte_order_mark(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value)
}

/// Returns the text of a value: the content of a string, or a number exactly as it is written. Everything else is not
/// text: null, a boolean, an array, an object, and a string that is not Unicode.
///
/// Ids and labels are text. Every reader uses this rule, so a record's id and its label are the same to all services.
#[must_use]
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let written = value.get();
    match written.as_bytes().first() {
        // A raw value is valid JSON, so without an escape the content is what lies between the quotes.
        Some(b'"') if !written.contains('\\') => {
            Some(Cow::Borrowed(&written[1..written.len() - 1]))
        }
        Some(b'"') => serde_json::from_str(written).ok().map(Cow::Owned),
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(written)),
        _ => None,
    }
}

/// Whether a label is empty or has only white space, and so is none. A label that is not blank keeps its white space.
#[must_use]
pub fn is_blank(label: &str) -> bool {
    label.trim().is_empty()
}

/// Returns the kind of a JSON value, with its article.
pub(crate) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Writes a JSON string.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct AllFields;

impl<'de> Visitor<'de> for AllFields {
    type Value = Vec<Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(written_name) = map.next_key::<&'de RawValue>()? {
            let name = text(written_name)
                .ok_or_else(|| A::Error::custom("a member's name is not Unicode text"))?;
            fields.push(Field {
                name,
                written_name,
                value: map.next_value()?,
            });
        }
        Ok(fields)
    }
}

struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut member = None;
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            if text(name).is_some_and(|name| name == self.0) {
                member = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_numbers_are_text_and_nothing_else_is() {
        for (json, expected) in [
            (r#""a""#, Some("a")),
            (r#""""#, Some("")),
            (r#""l\u006fw""#, Some("low")),
            ("7", Some("7")),
            ("-0", Some("-0")),
            ("1.50", Some("1.50")),
            ("1e2", Some("1e2")),
            (
                "123456789012345678901234567890",
                Some("123456789012345678901234567890"),
            ),
            ("1e999", Some("1e999")),
            (r#""\ud800""#, None),
            ("null", None),
            ("true", None),
            ("[1]", None),
            (r#"{"a":1}"#, None),
        ] {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(text(value).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn the_last_of_duplicate_members_counts() {
        let fields = Fields::read(br#"{"a":1,"b":2,"a":3.5}"#).unwrap();
        assert_eq!(fields.number("a"), Some(3.5));
        assert_eq!(fields.iter().count(), 3);
        assert_eq!(fields.text("c"), None);
    }

    #[test]
    fn one_member_reads_as_it_does_among_all_members() {
        for value in [
            r#"{"a":"7","b":[{"a":1}]}"#,
            r#" {"b":{"a":2},"a" : 1.50 } "#,
            r#"{"a":1,"a":"two"}"#,
            r#"{"\u0061":"l\u006fw"}"#,
            r#"{"a":null}"#,
            r#"{"b":"\ud800"}"#,
            "{}",
            "\u{feff}{\"a\":1}",
            r#"{"a":1"#,
            r#"{"a":1} 2"#,
            r#"{"a":1,}"#,
            r#"["a"]"#,
            "7",
            "",
        ] {
            let expected = Fields::read(value.as_bytes())
                .map(|fields| fields.text("a").map(Cow::into_owned))
                .ok();
            let member = member_text(value.as_bytes(), "a");
            let member = member.map(|text| text.map(Cow::into_owned)).ok();
            assert_eq!(member, expected, "{value}");
        }
    }
}
