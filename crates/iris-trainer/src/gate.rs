//! The gate: compares a challenger with the champion.

use std::collections::BTreeMap;
use std::fmt;

use iris_core::Model;

use crate::paired_test::{PairedResult, PairedTest, is_enough};
use crate::settings::Measure;

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
    /// Compares by the results of the champion and the challenger on each row.
    pub(crate) fn of_results(results: &[PairedResult]) -> Self {
        let share = |is_correct: fn(&&PairedResult) -> bool| {
            results.iter().filter(is_correct).count() as f64 / results.len() as f64
        };
        Self {
            rows: results.len() as u64,
            accuracy: (!results.is_empty()).then(|| Accuracy {
                challenger: share(|result| result.is_other_correct),
                champion: share(|result| result.is_correct),
            }),
        }
    }

    fn is_worse(self, margin: f64) -> bool {
        self.accuracy
            .is_some_and(|accuracy| accuracy.is_worse(margin))
    }
}

/// The weight of each record in a comparison, by its label.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RecordWeights(BTreeMap<String, f64>);

impl RecordWeights {
    /// Returns the weights for comparing models by a measure. For accuracy all records have the weight 1. For balanced accuracy
    /// all classes have the same total weight; their frequencies are those in the champion's rows.
    pub(crate) fn new(measure: Measure, champion: &Model) -> Self {
        if measure == Measure::Accuracy {
            return Self::default();
        }
        let set = champion.training_set();
        let mut rows = vec![0_u32; set.classes().len()];
        for &class in set.class_of_row() {
            rows[class] += 1;
        }
        let rarest = rows.iter().copied().min().unwrap_or(1).max(1);
        let weights = set.classes().iter().zip(rows);
        Self(
            weights
                .map(|(class, rows)| (class.clone(), f64::from(rarest) / f64::from(rows.max(1))))
                .collect(),
        )
    }

    /// Returns the weight of a record with this label, above 0 and at most 1.
    pub(crate) fn of(&self, label: &str) -> f64 {
        self.0.get(label).copied().unwrap_or(1.0)
    }
}

/// The evidence of a paired test that the champion is better than a challenger.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// How many records only the champion classifies correctly.
    pub champion_wins: u64,
    /// How many records only the challenger classifies correctly.
    pub challenger_wins: u64,
    /// The evidence: 1/p, where p is the p-value of a one-sided sign test. If the records have different weights, the largest
    /// capital of a test by betting.
    pub value: f64,
}

impl Evidence {
    /// Returns the evidence of the results of the champion and the challenger on each row.
    pub(crate) fn of_results(results: &[PairedResult]) -> Self {
        let mut test = PairedTest::default();
        results.iter().for_each(|&result| test.add(result));
        Self::from(&test)
    }
}

impl From<&PairedTest> for Evidence {
    fn from(test: &PairedTest) -> Self {
        Self {
            champion_wins: test.wins,
            challenger_wins: test.losses,
            value: test.final_evidence(),
        }
    }
}

/// The result of comparing a challenger with the champion before it is promoted or runs in shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateVerdict {
    /// How much less accurate than the champion on the dataset's holdout rows a challenger may be, from 0 to 1.
    pub margin: f64,
    /// The comparison on the dataset's holdout rows.
    pub holdout: Comparison,
    /// The comparison on recent held-out records.
    pub recent: Comparison,
    /// The evidence of these records that the champion is better.
    pub evidence: Evidence,
    /// The comparison on the challenger's newest rows, each predicted as if it had not been learned. Without rows if the models
    /// differ too little.
    pub left_out: Comparison,
    /// The evidence of these rows that the champion is better.
    pub left_out_evidence: Evidence,
    /// The probability with which a challenger that is as good may be rejected.
    pub error_rate: f64,
}

impl GateVerdict {
    /// Whether the challenger is good enough on the holdout rows, the recent records and the rows that are left out.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        !self.holdout.is_worse(self.margin)
            && !self.is_enough(self.evidence)
            && !self.is_enough(self.left_out_evidence)
    }

    /// Whether this evidence rejects the challenger.
    fn is_enough(&self, evidence: Evidence) -> bool {
        is_enough(evidence.value, self.error_rate_of_each())
    }

    /// Returns the error rate of each of the two tests, so that both together have the error rate.
    fn error_rate_of_each(&self) -> f64 {
        match self.left_out.rows {
            0 => self.error_rate,
            _ => self.error_rate / 2.0,
        }
    }
}

impl fmt::Display for GateVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let worse: Vec<_> = [
            ("on holdout rows", self.holdout.is_worse(self.margin)),
            ("on recent records", self.is_enough(self.evidence)),
            ("on left-out rows", self.is_enough(self.left_out_evidence)),
        ]
        .into_iter()
        .filter_map(|(name, is_worse)| is_worse.then_some(name))
        .collect();
        if !worse.is_empty() {
            write!(f, "worse {}: ", worse.join(" and "))?;
        }
        let named = [
            ("holdout rows", self.holdout),
            ("recent records", self.recent),
            ("left-out rows", self.left_out),
        ];
        let accuracies: Vec<_> = named
            .iter()
            .filter_map(|(name, comparison)| {
                let Accuracy {
                    challenger,
                    champion,
                } = comparison.accuracy?;
                let rows = comparison.rows;
                Some(format!(
                    "{challenger:.4} on {rows} {name} (champion {champion:.4})"
                ))
            })
            .collect();
        if accuracies.is_empty() {
            return f.write_str("no records to compare on");
        }
        write!(f, "accuracy {}", accuracies.join(", "))?;
        let evidence = [
            ("recent records", self.evidence),
            ("left-out rows", self.left_out_evidence),
        ];
        for (name, evidence) in evidence {
            let Evidence {
                champion_wins,
                challenger_wins,
                value,
            } = evidence;
            if champion_wins + challenger_wins > 0 {
                write!(
                    f,
                    "; of the {name}, only the challenger is correct on {challenger_wins} and only the champion on \
                     {champion_wins}: evidence {value:.1} against the challenger, {:.1} rejects it",
                    1.0 / self.error_rate_of_each()
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::model;

    fn comparison(challenger: f64, champion: f64) -> Comparison {
        Comparison {
            rows: 100,
            accuracy: Some(Accuracy {
                challenger,
                champion,
            }),
        }
    }

    /// A verdict with this evidence against the challenger, of which 10 rejects it.
    fn verdict(holdout: Comparison, evidence: f64) -> GateVerdict {
        GateVerdict {
            margin: 0.02,
            holdout,
            recent: comparison(0.87, 0.9),
            evidence: Evidence {
                champion_wins: 9,
                challenger_wins: 6,
                value: evidence,
            },
            error_rate: 0.1,
            ..GateVerdict::default()
        }
    }

    #[test]
    fn a_challenger_fails_with_evidence_against_it_or_if_it_is_worse_on_holdout_rows() {
        assert!(verdict(comparison(0.9, 0.9), 9.9).is_passed());
        assert!(!verdict(comparison(0.9, 0.9), 10.0).is_passed());
        assert!(!verdict(comparison(0.87, 0.9), 1.0).is_passed());
        let with_left_out_rows = |evidence, left_out| GateVerdict {
            left_out: comparison(0.87, 0.9),
            left_out_evidence: Evidence {
                value: left_out,
                ..Evidence::default()
            },
            ..verdict(comparison(0.9, 0.9), evidence)
        };
        assert!(with_left_out_rows(19.9, 19.9).is_passed());
        assert!(!with_left_out_rows(20.0, 1.0).is_passed());
        assert!(!with_left_out_rows(1.0, 20.0).is_passed());
        assert!(
            verdict(comparison(0.88, 0.9), 1.0).is_passed(),
            "a loss of exactly the margin is allowed"
        );
        let any = GateVerdict {
            margin: 1.0,
            ..verdict(comparison(0.0, 1.0), 1.0)
        };
        assert!(any.is_passed(), "with a margin of 1 the rows do not decide");
    }

    #[test]
    fn the_reason_names_the_accuracies_and_the_evidence() {
        assert_eq!(
            verdict(comparison(0.95, 0.9), 12.34).to_string(),
            "worse on recent records: accuracy 0.9500 on 100 holdout rows (champion 0.9000), 0.8700 on 100 recent records \
             (champion 0.9000); of the recent records, only the challenger is correct on 6 and only the champion on 9: evidence \
             12.3 against the challenger, 10.0 rejects it"
        );
        let both = GateVerdict {
            left_out: comparison(0.8, 0.9),
            left_out_evidence: Evidence {
                champion_wins: 12,
                challenger_wins: 2,
                value: 154.6,
            },
            recent: Comparison::default(),
            evidence: Evidence::default(),
            ..verdict(comparison(0.9, 0.9), 1.0)
        };
        assert_eq!(
            both.to_string(),
            "worse on left-out rows: accuracy 0.9000 on 100 holdout rows (champion 0.9000), 0.8000 on 100 left-out rows (champion \
             0.9000); of the left-out rows, only the challenger is correct on 2 and only the champion on 12: evidence 154.6 against \
             the challenger, 20.0 rejects it"
        );
        let without = GateVerdict {
            holdout: comparison(0.95, 0.9),
            ..GateVerdict::default()
        };
        assert_eq!(
            without.to_string(),
            "accuracy 0.9500 on 100 holdout rows (champion 0.9000)"
        );
        assert_eq!(
            GateVerdict::default().to_string(),
            "no records to compare on"
        );
    }

    #[test]
    fn for_balanced_accuracy_each_class_has_the_same_weight_in_total() {
        let champion = model(0.0);
        let of = |measure, label| RecordWeights::new(measure, &champion.model).of(label);
        assert_eq!(of(Measure::BalancedAccuracy, "a"), 1.0);
        let rows = [([0.0], "a"), ([1.0], "a"), ([2.0], "a"), ([3.0], "b")];
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        let set = iris_core::TrainingSet::new(crate::example::schema(), rows);
        let skewed = Model::fit(set, 1).unwrap();
        let weights = RecordWeights::new(Measure::BalancedAccuracy, &skewed);
        assert_eq!((weights.of("a"), weights.of("b")), (1.0 / 3.0, 1.0));
        assert_eq!(weights.of("unknown"), 1.0);
        let weights = RecordWeights::new(Measure::Accuracy, &skewed);
        assert_eq!((weights.of("a"), weights.of("b")), (1.0, 1.0));
    }

    #[test]
    fn evidence_counts_the_records_on_which_one_model_is_correct() {
        let mut test = PairedTest::default();
        for (is_correct, is_other_correct) in [(true, false), (true, true), (false, true)] {
            test.add(PairedResult {
                is_correct,
                is_other_correct,
                weight: 1.0,
            });
        }
        let evidence = Evidence::from(&test);
        assert_eq!((evidence.champion_wins, evidence.challenger_wins), (1, 1));
        assert!(evidence.value > 1.0);
    }
}
