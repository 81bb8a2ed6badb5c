//! Numbers that a section does not read as they are written.

use config::{Value, ValueKind};
use toml::de::{DeTable, DeValue};

/// Returns the path and the problem of a number that was changed when `given` was read as `read`, or that is not a number.
pub(super) fn changed(given: &Value, read: &serde_json::Value) -> Option<(String, String)> {
    match (&given.kind, read) {
        (ValueKind::Table(table), serde_json::Value::Object(fields)) => {
            table.iter().find_map(|(key, given)| {
                let (path, problem) = changed(given, fields.get(key)?)?;
                Some((format!(".{key}{path}"), problem))
            })
        }
        (ValueKind::Array(given), serde_json::Value::Array(read)) => given
            .iter()
            .zip(read)
            .enumerate()
            .find_map(|(position, (given, read))| {
                let (path, problem) = changed(given, read)?;
                Some((format!("[{position}]{path}"), problem))
            }),
        (given, serde_json::Value::Number(read)) => {
            let problem = problem(given, read)?;
            Some((String::new(), problem))
        }
        _ => None,
    }
}

/// Returns the key and the text of an integer in a settings file that has more than 64 bits, and the position of its key.
pub(super) fn too_large(table: &DeTable<'_>) -> Option<(String, String, usize)> {
    table
        .iter()
        .find_map(|(name, value)| match value.get_ref() {
            DeValue::Integer(number) => {
                let is_too_large = i64::from_str_radix(number.as_str(), number.radix()).is_err();
                let name = name.get_ref().to_string();
                is_too_large.then(|| (name, number.as_str().to_owned(), value.span().start))
            }
            DeValue::Table(table) => {
                let (key, number, position) = too_large(table)?;
                Some((format!("{}.{key}", name.get_ref()), number, position))
            }
            _ => None,
        })
}

/// Returns the problem if a value is not the number that was read from it.
fn problem(given: &ValueKind, read: &serde_json::Number) -> Option<String> {
    let number = match given {
        ValueKind::I64(number) => number.to_string(),
        ValueKind::U64(number) => number.to_string(),
        ValueKind::I128(number) => number.to_string(),
        ValueKind::U128(number) => number.to_string(),
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::String(text) => text.trim().to_owned(),
        other => return Some(format!("is {other}: allowed is a number")),
    };
    let Ok(given) = number.parse::<f64>() else {
        return Some(format!("is `{number}`: allowed is a number"));
    };
    let is_whole = read.is_i64() || read.is_u64();
    let is_same = match number.parse::<i128>() {
        Ok(number) if is_whole => read.as_i128() == Some(number),
        _ => read.as_f64() == Some(given),
    };
    if is_whole && given.fract() != 0.0 {
        return Some(format!("is {number}: allowed is a whole number"));
    }
    (!is_same).then(|| format!("is {number}, which is out of range"))
}
