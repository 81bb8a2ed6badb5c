//! The query parameters of the page and of the API.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::feedback::MAX_ROWS;
use crate::problem::Problem;
use crate::range::Range;
use crate::recent::KEPT;

/// The number of records that are returned by default.
const DEFAULT_LIMIT: u16 = 50;

/// The length of a text to search for, in characters, at most.
const MAX_CHARACTERS: usize = 200;

/// Extracts the query parameters of a request. Unknown and invalid ones are rejected with a problem document.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params: Result<Query<T>, QueryRejection> =
            Query::from_request_parts(parts, state).await;
        match params {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::parameter(rejection.body_text())),
        }
    }
}

/// Takes no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParameters {}

/// The number of records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// The number of records to return, at most.
    #[param(minimum = 1, maximum = 300)]
    limit: Option<u16>,
}

impl Limit {
    /// Returns the limit.
    ///
    /// # Errors
    /// [`Problem`] if it is out of range.
    pub(crate) fn get(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if usize::from(limit) > KEPT || limit == 0 {
            let detail = format!("limit is {limit}: allowed is 1 to {KEPT}");
            return Err(Problem::parameter(detail));
        }
        Ok(usize::from(limit))
    }
}

/// The range of time.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RangeParameter {
    /// The range of time: one minute (the default), 15 minutes, or the whole history. If no records arrived in a range, the last
    /// range of its length with records is returned.
    #[serde(default)]
    #[param(inline, required = false)]
    pub(crate) range: Range,
}

/// A search of the feedback store.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// A text that the rows contain, in any case.
    #[param(max_length = 200, pattern = r"^[^\x00]*$")]
    pub(crate) q: Option<String>,
    /// The number of rows to return, at most.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<u16>,
}

impl Search {
    /// Returns the text and the limit.
    ///
    /// # Errors
    /// [`Problem`] if one of them is invalid.
    pub(crate) fn get(&self) -> Result<(&str, u16), Problem> {
        let text = self.q.as_deref().unwrap_or_default();
        if text.chars().count() > MAX_CHARACTERS || text.contains('\0') {
            return Err(Problem::parameter(format!(
                "q cannot be searched for: allowed are up to {MAX_CHARACTERS} characters without NUL"
            )));
        }
        let limit = self.limit.unwrap_or(MAX_ROWS);
        if !(1..=MAX_ROWS).contains(&limit) {
            return Err(Problem::parameter(format!(
                "limit is {limit}: allowed is 1 to {MAX_ROWS}"
            )));
        }
        Ok((text, limit))
    }
}

/// The two features of the scatter plot.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Axes {
    /// The feature on the horizontal axis; by default the second to last.
    pub(crate) x: Option<String>,
    /// The feature on the vertical axis; by default the last.
    pub(crate) y: Option<String>,
}

impl Axes {
    /// Returns the positions of both features.
    ///
    /// # Errors
    /// [`Problem`] if a feature is unknown.
    pub(crate) fn positions(&self, features: &[String]) -> Result<(usize, usize), Problem> {
        let position = |key: &str, name: &Option<String>, from_end: usize| match name {
            None => Ok(features.len().saturating_sub(from_end)),
            Some(name) => features
                .iter()
                .position(|feature| feature == name)
                .ok_or_else(|| {
                    let allowed = features.join(", ");
                    Problem::parameter(format!("{key} is `{name}`: allowed are {allowed}"))
                }),
        };
        Ok((position("x", &self.x, 2)?, position("y", &self.y, 1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_a_default_and_bounds() {
        let limit = |limit| Limit { limit }.get().map_err(|problem| problem.detail);
        assert_eq!(limit(None), Ok(50));
        assert_eq!(limit(Some(300)), Ok(300));
        for wrong in [0, 301] {
            let detail = format!("limit is {wrong}: allowed is 1 to 300");
            assert_eq!(limit(Some(wrong)), Err(detail));
        }
    }

    #[test]
    fn a_search_has_a_short_text_without_nul() {
        let search = |q: &str| Search {
            q: Some(q.to_owned()),
            limit: None,
        };
        let longest = "é".repeat(200);
        assert_eq!(search(&longest).get(), Ok((longest.as_str(), 200)));
        for wrong in [&"é".repeat(201), "\0"] {
            let detail = search(wrong).get().unwrap_err().detail;
            assert!(detail.starts_with("q cannot be searched for"), "{detail}");
        }
    }

    #[test]
    fn the_axes_are_the_last_two_features_by_default() {
        let features = ["a", "b", "c"].map(str::to_owned);
        let axes = |x: Option<&str>| Axes {
            x: x.map(str::to_owned),
            y: None,
        };
        assert_eq!(axes(None).positions(&features), Ok((1, 2)));
        assert_eq!(axes(Some("a")).positions(&features), Ok((0, 2)));
        let unknown = axes(Some("d")).positions(&features).unwrap_err();
        assert_eq!(unknown.detail, "x is `d`: allowed are a, b, c");
    }
}
