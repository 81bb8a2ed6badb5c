//! The error for a refused setting.

use std::fmt;

use config::ConfigError;

/// The error for a refused setting: the key, the problem, and the source of the value.
#[derive(Debug)]
pub struct SettingsError {
    pub(super) key: Option<String>,
    pub(super) origin: Option<String>,
    /// The problem, worded to follow the key if there is one.
    pub(super) problem: String,
}

impl SettingsError {
    /// Returns an error that is not about one key.
    pub(super) fn general(problem: String) -> Self {
        Self {
            key: None,
            origin: None,
            problem,
        }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        f.write_str(&self.problem)?;
        match &self.origin {
            Some(origin) => write!(f, " (set by {origin})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettingsError {}

/// Returns the problem with a value, worded to follow its key.
pub(super) fn problem_of(error: &ConfigError) -> String {
    match error {
        ConfigError::Type {
            unexpected,
            expected,
            ..
        } => {
            let expected = match *expected {
                "an unsigned 64 bit or less integer" => "a whole number of 0 or more",
                "an signed 32 bit integer" => "a whole number of 32 bits",
                "an integer" => "a whole number",
                expected => expected,
            };
            problem(&unexpected.to_string(), expected)
        }
        ConfigError::At { error, .. } => problem_of(error),
        other => format!("cannot be used: {other}"),
    }
}

/// Returns the problem with a value of another type than `expected`. The value is a type and a text in quotes, such as
/// ``64-bit integer `-1` `` or `string "soon"`. The environment and flags give numbers as text.
fn problem(given: &str, expected: &str) -> String {
    let integer = given.split_once("integer `");
    if let Some(number) = integer.and_then(|(_, number)| number.strip_suffix('`')) {
        return format!("is {number}: allowed is {expected}");
    }
    let text = given.strip_prefix("string \"");
    match text.and_then(|text| text.strip_suffix('"')) {
        Some(number) if number.parse::<i128>().is_ok() => {
            format!("is {number}, which is out of range")
        }
        Some(number) if number.parse::<f64>().is_ok() => {
            format!("is {number}: allowed is {expected}")
        }
        _ => format!("is {given}: allowed is {expected}"),
    }
}
