//! The gate: whether a challenger becomes the champion.

use std::collections::BTreeMap;

use iris_core::Model;

/// How accurate two models are on the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The rows.
    pub rows: usize,
    /// The challenger's accuracy; `None` without rows.
    pub challenger: Option<f64>,
    /// The champion's.
    pub champion: Option<f64>,
}

impl Comparison {
    /// Has both answer rows of features with their labels.
    #[must_use]
    pub fn of(challenger: &Model, champion: &Model, rows: &[(&[f64], &str)]) -> Self {
        Self {
            rows: rows.len(),
            challenger: challenger.accuracy(rows.iter().copied()),
            champion: champion.accuracy(rows.iter().copied()),
        }
    }

    /// By how much the challenger is less accurate.
    fn loss(self) -> f64 {
        self.champion.unwrap_or_default() - self.challenger.unwrap_or_default()
    }
}

/// What the gate found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether the challenger may become the champion.
    pub is_passed: bool,
    /// Why, in words.
    pub reason: String,
    /// The figures that it rests on.
    pub figures: BTreeMap<String, f64>,
}

/// A difference that rounding may make.
const ROUNDING: f64 = 1e-9;

/// Judges a challenger by the rows held out and by recent labelled records: it may be less accurate than the champion by
/// `margin` on neither.
#[must_use]
pub fn judge(holdout: Comparison, recent: Comparison, margin: f64) -> Verdict {
    let mut figures = BTreeMap::from([("margin".to_owned(), margin)]);
    let mut worse = Vec::new();
    let mut words = Vec::new();
    for (name, words_for, comparison) in [
        ("holdout", "on the rows held out", holdout),
        ("recent", "on recent records", recent),
    ] {
        figures.insert(format!("{name}_rows"), comparison.rows as f64);
        let (Some(challenger), Some(champion)) = (comparison.challenger, comparison.champion)
        else {
            continue;
        };
        figures.insert(format!("{name}_accuracy"), challenger);
        figures.insert(format!("champion_{name}_accuracy"), champion);
        words.push(format!(
            "{challenger:.4} {words_for} (champion {champion:.4})"
        ));
        if comparison.loss() > margin + ROUNDING {
            worse.push(words_for);
        }
    }
    let is_passed = worse.is_empty();
    let reason = if is_passed {
        format!("accuracy {}", words.join(", "))
    } else {
        let worse = worse.join(" and ");
        format!("worse {worse}: accuracy {}", words.join(", "))
    };
    Verdict {
        is_passed,
        reason,
        figures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(challenger: f64, champion: f64) -> Comparison {
        Comparison {
            rows: 100,
            challenger: Some(challenger),
            champion: Some(champion),
        }
    }

    #[test]
    fn worse_on_either_is_rejected() {
        let (same, better, worse) = (
            comparison(0.9, 0.9),
            comparison(0.95, 0.9),
            comparison(0.87, 0.9),
        );
        let is_passed = |holdout, recent, margin| judge(holdout, recent, margin).is_passed;
        assert!(is_passed(same, better, 0.0));
        assert!(!is_passed(worse, better, 0.02));
        assert!(!is_passed(better, worse, 0.02));
        assert!(is_passed(better, worse, 0.03), "by the margin, no more");
        assert_eq!(
            judge(better, worse, 0.02).reason,
            "worse on recent records: accuracy 0.9500 on the rows held out (champion 0.9000), 0.8700 on recent records (champion 0.9000)"
        );
    }

    #[test]
    fn without_recent_records_the_rows_held_out_decide() {
        let none = Comparison {
            rows: 0,
            challenger: None,
            champion: None,
        };
        assert!(judge(comparison(1.0, 1.0), none, 0.0).is_passed);
        assert!(!judge(comparison(0.9, 1.0), none, 0.0).is_passed);
    }
}
