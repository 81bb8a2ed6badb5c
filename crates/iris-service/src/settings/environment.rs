//! The environment as a source of settings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::settings::error::SettingsError;

/// The beginning of the name of every variable.
pub(super) const ENVIRONMENT_PREFIX: &str = "IRIS";
/// The text between the prefix, the sections and the key.
pub(super) const ENVIRONMENT_SEPARATOR: &str = "__";

/// Returns the variables that may be settings: those whose names begin with the prefix, in any case.
///
/// # Errors
/// [`SettingsError`] if such a variable cannot be read, or its name is misspelt.
pub(super) fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let prefix = format!("{ENVIRONMENT_PREFIX}_");
    let mut variables = BTreeMap::new();
    for (name, value) in all {
        let shown = name.to_string_lossy().into_owned();
        if !shown.to_uppercase().starts_with(&prefix) {
            continue;
        }
        let is_setting = shown
            .to_uppercase()
            .starts_with(&format!("{ENVIRONMENT_PREFIX}{ENVIRONMENT_SEPARATOR}"));
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                variables.insert(name, value);
            }
            // The value may be a secret.
            _ if is_setting => {
                return Err(SettingsError::general(format!(
                    "the environment variable {shown} is not UTF-8"
                )));
            }
            _ => {}
        }
    }
    for name in variables.keys() {
        check_name(name)?;
    }
    Ok(variables)
}

/// Rejects a name with the parts of a setting and another prefix, and one with characters that no setting has.
fn check_name(name: &str) -> Result<(), SettingsError> {
    let upper = name.to_uppercase();
    let prefix = format!("{ENVIRONMENT_PREFIX}{ENVIRONMENT_SEPARATOR}");
    if !upper.starts_with(&prefix) {
        let rest = &upper[ENVIRONMENT_PREFIX.len() + 1..];
        return if rest.contains(ENVIRONMENT_SEPARATOR) {
            Err(misspelt(name, &format!("{prefix}{rest}")))
        } else {
            Ok(())
        };
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(SettingsError::general(format!(
        "the environment variable {name} is not a setting: allowed are names such as IRIS__PRODUCER__INTERVAL_MS"
    )))
}

/// Returns the error about a name that stands for another one.
pub(super) fn misspelt(name: &str, meant: &str) -> SettingsError {
    SettingsError::general(format!(
        "the environment variable {name} is not a setting; did you mean {meant}?"
    ))
}

/// Returns the variable that sets a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{ENVIRONMENT_PREFIX}.{key}")
        .replace('.', ENVIRONMENT_SEPARATOR)
        .to_uppercase()
}

/// Returns whether two names differ only in case and in the number of underscores between their parts.
pub(super) fn is_same_but_for_underscores(name: &str, other: &str) -> bool {
    let parts = |name: &str| -> Vec<String> {
        let parts = name.split('_').filter(|part| !part.is_empty());
        parts.map(str::to_uppercase).collect()
    };
    parts(name) == parts(other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(name: &[u8], value: &[u8]) -> Result<BTreeMap<String, String>, String> {
        let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        variables([(os(name), os(value))].into_iter()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_refused_by_name_and_others_are_ignored() {
        for (name, value, expected) in [
            (
                &b"IRIS__KAFKA__CLIENT_ID"[..],
                &b"a\xff"[..],
                "the environment variable IRIS__KAFKA__CLIENT_ID is not UTF-8",
            ),
            (
                b"iris__kafka__client_id",
                b"\xff",
                "the environment variable iris__kafka__client_id is not UTF-8",
            ),
            (
                b"IRIS__KAFKA__\xff",
                b"a",
                "the environment variable IRIS__KAFKA__\u{fffd} is not UTF-8",
            ),
            (
                b"IRIS_KAFKA__CLIENT_ID",
                b"a",
                "the environment variable IRIS_KAFKA__CLIENT_ID is not a setting; did you mean IRIS__KAFKA__CLIENT_ID?",
            ),
            (
                b"IRIS__CLASSIFIER__PARTITIONS[99999999999]",
                b"1",
                "the environment variable IRIS__CLASSIFIER__PARTITIONS[99999999999] is not a setting: allowed are names such as \
                 IRIS__PRODUCER__INTERVAL_MS",
            ),
        ] {
            assert_eq!(read(name, value).unwrap_err(), expected);
        }
        for name in [
            &b"IRIS_CONFIG"[..],
            b"IRIS_CLASSIFIER_SERVICE_HOST",
            b"IRIS_\xff",
            b"PATH\xff",
            b"IRISES__X__Y",
        ] {
            read(name, b"\xff").unwrap();
            read(name, b"a").unwrap();
        }
    }
}
