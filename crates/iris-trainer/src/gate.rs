//! The gate: compares a challenger with the champion.

use std::fmt;

use iris_core::Model;

/// A difference of accuracies that rounding can cause.
const ROUNDING: f64 = 1e-9;

/// The accuracy of two models on the same records, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// The challenger's accuracy.
    pub challenger: f64,
    /// The champion's accuracy.
    pub champion: f64,
}

impl Accuracy {
    /// Whether the challenger is less accurate than the champion by more than `margin`.
    #[must_use]
    pub fn is_worse(self, margin: f64) -> bool {
        self.champion - self.challenger > margin + ROUNDING
    }
}

/// Two models compared on the same rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The number of rows.
    pub rows: u64,
    /// The accuracy on these rows; `None` without rows.
    pub accuracy: Option<Accuracy>,
}

impl Comparison {
    /// Classifies rows of features with both models and compares the results with the rows' labels.
    #[must_use]
    pub fn of(challenger: &Model, champion: &Model, rows: &[(&[f64], &str)]) -> Self {
        let accuracy = |model: &Model| model.accuracy(rows.iter().copied());
        let accuracy = accuracy(challenger).zip(accuracy(champion));
        Self {
            rows: rows.len() as u64,
            accuracy: accuracy.map(|(challenger, champion)| Accuracy {
                challenger,
                champion,
            }),
        }
    }

    fn is_worse(self, margin: f64) -> bool {
        self.accuracy
            .is_some_and(|accuracy| accuracy.is_worse(margin))
    }
}

/// The result of comparing a challenger with the champion before it is promoted or runs in shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateVerdict {
    /// How much less accurate than the champion a challenger may be, from 0 to 1.
    pub margin: f64,
    /// The comparison on the holdout rows.
    pub holdout: Comparison,
    /// The comparison on recent labelled records.
    pub recent: Comparison,
}

impl GateVerdict {
    /// Whether the challenger is good enough on both the holdout rows and the recent records.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        !self.holdout.is_worse(self.margin) && !self.recent.is_worse(self.margin)
    }
}

impl fmt::Display for GateVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("on holdout rows", self.holdout),
            ("on recent records", self.recent),
        ];
        let worse: Vec<_> = named
            .iter()
            .filter(|(_, comparison)| comparison.is_worse(self.margin))
            .map(|(name, _)| *name)
            .collect();
        if !worse.is_empty() {
            write!(f, "worse {}: ", worse.join(" and "))?;
        }
        let accuracies: Vec<_> = named
            .iter()
            .filter_map(|(name, comparison)| {
                let Accuracy {
                    challenger,
                    champion,
                } = comparison.accuracy?;
                Some(format!("{challenger:.4} {name} (champion {champion:.4})"))
            })
            .collect();
        write!(f, "accuracy {}", accuracies.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(challenger: f64, champion: f64) -> Comparison {
        Comparison {
            rows: 100,
            accuracy: Some(Accuracy {
                challenger,
                champion,
            }),
        }
    }

    fn verdict(holdout: Comparison, recent: Comparison, margin: f64) -> GateVerdict {
        GateVerdict {
            margin,
            holdout,
            recent,
        }
    }

    #[test]
    fn a_challenger_that_is_worse_on_either_fails() {
        let (same, better, worse) = (
            comparison(0.9, 0.9),
            comparison(0.95, 0.9),
            comparison(0.87, 0.9),
        );
        assert!(verdict(same, better, 0.0).is_passed());
        assert!(!verdict(worse, better, 0.02).is_passed());
        assert!(!verdict(better, worse, 0.02).is_passed());
        assert!(
            verdict(better, worse, 0.03).is_passed(),
            "a loss of exactly the margin is allowed"
        );
    }

    #[test]
    fn the_reason_names_the_accuracies_and_the_worse_comparison() {
        let (better, worse) = (comparison(0.95, 0.9), comparison(0.87, 0.9));
        assert_eq!(
            verdict(better, worse, 0.02).to_string(),
            "worse on recent records: accuracy 0.9500 on holdout rows (champion 0.9000), 0.8700 on recent records (champion \
             0.9000)"
        );
        assert_eq!(
            verdict(better, Comparison::default(), 0.02).to_string(),
            "accuracy 0.9500 on holdout rows (champion 0.9000)"
        );
    }

    #[test]
    fn without_recent_records_only_the_holdout_rows_count() {
        let none = Comparison::default();
        assert!(verdict(comparison(1.0, 1.0), none, 0.0).is_passed());
        assert!(!verdict(comparison(0.9, 1.0), none, 0.0).is_passed());
    }
}
