//! Finds a model by the first digits of its version.

use anyhow::anyhow;
use iris_core::ModelVersion;
use iris_registry::Registry;
use iris_service::UsageError;

/// The minimum number of digits.
const MIN_DIGITS: usize = 4;

/// Returns the only model whose version begins with these digits.
///
/// # Errors
/// [`UsageError`] if there are too few digits, no such model, or several.
pub(super) fn resolve(registry: &Registry, digits: &str) -> Result<ModelVersion, UsageError> {
    if digits.len() < MIN_DIGITS {
        return Err(anyhow!(
            "`{digits}` is too short: give at least the first {MIN_DIGITS} digits of a version"
        )
        .into());
    }
    let beginning = digits.to_lowercase();
    let found: Vec<ModelVersion> = registry
        .models()
        .map(|(version, _)| version)
        .filter(|version| version.to_string().starts_with(&beginning))
        .collect();
    match found[..] {
        [version] => Ok(version),
        [] => Err(
            anyhow!("there is no model {digits}; `iris-admin models list` shows all models").into(),
        ),
        _ => Err(anyhow!(
            "{} models have versions that begin with {digits}: give more digits",
            found.len()
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::unusable;
    use super::*;

    #[test]
    fn the_first_digits_of_a_version_must_match_exactly_one_model() {
        let registry = unusable(&["0123456789abcdef", "0123ffffffffffff"]);
        let version = resolve(&registry, "01234").unwrap();
        assert_eq!(version.to_string(), "0123456789abcdef");
        assert_eq!(
            resolve(&registry, "0123F").unwrap(),
            "0123ffffffffffff".parse().unwrap()
        );
        let error = |digits| resolve(&registry, digits).unwrap_err().to_string();
        assert_eq!(
            error("0123"),
            "2 models have versions that begin with 0123: give more digits"
        );
        assert_eq!(
            error("beef"),
            "there is no model beef; `iris-admin models list` shows all models"
        );
        assert_eq!(
            error("012"),
            "`012` is too short: give at least the first 4 digits of a version"
        );
    }
}
