//! A measured value and its bound.

use serde::Serialize;

/// A measured value and its bound.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// The name of the value.
    pub what: String,
    /// The value; `None` if it was not measured.
    pub value: Option<f64>,
    /// The bound.
    pub wanted: f64,
    /// Whether the bound is an upper one.
    pub at_most: bool,
}

impl Target {
    /// Creates a target with a lower bound.
    pub(super) fn at_least(wanted: f64, what: impl Into<String>, value: Option<f64>) -> Self {
        Self {
            what: what.into(),
            value,
            wanted,
            at_most: false,
        }
    }

    /// Creates a target with an upper bound.
    pub(super) fn at_most(wanted: f64, what: impl Into<String>, value: Option<f64>) -> Self {
        Self {
            at_most: true,
            ..Self::at_least(wanted, what, value)
        }
    }

    /// Returns whether the target is met; `None` if the value was not measured.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let value = self.value?;
        Some(if self.at_most {
            value <= self.wanted
        } else {
            value >= self.wanted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_up_to_its_bound() {
        let met = |target: Target| target.is_met();
        assert_eq!(met(Target::at_least(2.0, "x", Some(2.0))), Some(true));
        assert_eq!(met(Target::at_least(2.0, "x", Some(1.9))), Some(false));
        assert_eq!(met(Target::at_most(2.0, "x", Some(2.0))), Some(true));
        assert_eq!(met(Target::at_most(2.0, "x", Some(2.1))), Some(false));
    }
}
