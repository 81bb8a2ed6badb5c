//! The figures of verdicts by name, as the registry and the stored state have them.

use std::collections::BTreeMap;

use iris_contract::figure::{
    self, CHALLENGER_WINS, CHAMPION_WINS, ERROR_RATE, EVIDENCE, LEFT_OUT_CHALLENGER_WINS,
    LEFT_OUT_CHAMPION_WINS, LEFT_OUT_EVIDENCE, MARGIN, PREDECESSOR_WINS, PROBATION_RECORDS,
    SHADOW_EVIDENCE,
};

use crate::gate::{Accuracy, Comparison, Evidence, GateVerdict};
use crate::verdict::{ProbationVerdict, ShadowVerdict, Verdict};

/// Figures by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The names of a comparison's figures.
struct Names {
    rows: &'static str,
    challenger: &'static str,
    champion: &'static str,
}

const HOLDOUT: Names = Names {
    rows: figure::HOLDOUT_ROWS,
    challenger: figure::HOLDOUT_ACCURACY,
    champion: figure::CHAMPION_HOLDOUT_ACCURACY,
};

const RECENT: Names = Names {
    rows: figure::RECENT_ROWS,
    challenger: figure::RECENT_ACCURACY,
    champion: figure::CHAMPION_RECENT_ACCURACY,
};

const LEFT_OUT: Names = Names {
    rows: figure::LEFT_OUT_ROWS,
    challenger: figure::LEFT_OUT_ACCURACY,
    champion: figure::CHAMPION_LEFT_OUT_ACCURACY,
};

const SHADOW: Names = Names {
    rows: figure::SHADOW_RECORDS,
    challenger: figure::SHADOW_ACCURACY,
    champion: figure::CHAMPION_SHADOW_ACCURACY,
};

impl Names {
    fn insert(&self, figures: &mut Figures, comparison: Comparison) {
        figures.insert(self.rows.to_owned(), comparison.rows as f64);
        if let Some(accuracy) = comparison.accuracy {
            figures.insert(self.challenger.to_owned(), accuracy.challenger);
            figures.insert(self.champion.to_owned(), accuracy.champion);
        }
    }

    fn read(&self, figures: &Figures) -> Comparison {
        let figure = |name: &str| figures.get(name).copied();
        let accuracy = figure(self.challenger).zip(figure(self.champion));
        Comparison {
            rows: count(figure(self.rows).unwrap_or_default()),
            accuracy: accuracy.map(|(challenger, champion)| Accuracy {
                challenger,
                champion,
            }),
        }
    }
}

/// Returns the count that was written as a figure.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small and not negative; anything else saturates"
)]
fn count(figure: f64) -> u64 {
    figure as u64
}

impl From<&GateVerdict> for Figures {
    fn from(gate: &GateVerdict) -> Self {
        let mut figures = Self::from([(MARGIN.to_owned(), gate.margin)]);
        HOLDOUT.insert(&mut figures, gate.holdout);
        RECENT.insert(&mut figures, gate.recent);
        let Evidence {
            champion_wins,
            challenger_wins,
            value,
        } = gate.evidence;
        figures.extend([
            (CHAMPION_WINS.to_owned(), champion_wins as f64),
            (CHALLENGER_WINS.to_owned(), challenger_wins as f64),
            (EVIDENCE.to_owned(), value),
            (ERROR_RATE.to_owned(), gate.error_rate),
        ]);
        if gate.left_out.rows > 0 {
            LEFT_OUT.insert(&mut figures, gate.left_out);
            let evidence = gate.left_out_evidence;
            figures.extend([
                (
                    LEFT_OUT_CHAMPION_WINS.to_owned(),
                    evidence.champion_wins as f64,
                ),
                (
                    LEFT_OUT_CHALLENGER_WINS.to_owned(),
                    evidence.challenger_wins as f64,
                ),
                (LEFT_OUT_EVIDENCE.to_owned(), evidence.value),
            ]);
        }
        figures
    }
}

/// Reads figures back. A figure that is missing is 0, or no accuracy.
impl From<&Figures> for GateVerdict {
    fn from(figures: &Figures) -> Self {
        let figure = |name: &str| figures.get(name).copied().unwrap_or_default();
        Self {
            margin: figure(MARGIN),
            holdout: HOLDOUT.read(figures),
            recent: RECENT.read(figures),
            evidence: Evidence {
                champion_wins: count(figure(CHAMPION_WINS)),
                challenger_wins: count(figure(CHALLENGER_WINS)),
                value: figure(EVIDENCE),
            },
            left_out: LEFT_OUT.read(figures),
            left_out_evidence: Evidence {
                champion_wins: count(figure(LEFT_OUT_CHAMPION_WINS)),
                challenger_wins: count(figure(LEFT_OUT_CHALLENGER_WINS)),
                value: figure(LEFT_OUT_EVIDENCE),
            },
            error_rate: figure(ERROR_RATE),
        }
    }
}

impl From<&ShadowVerdict> for Figures {
    fn from(shadow: &ShadowVerdict) -> Self {
        let mut figures = Self::from(&shadow.gate);
        let comparison = Comparison {
            rows: shadow.records,
            accuracy: Some(shadow.accuracy),
        };
        SHADOW.insert(&mut figures, comparison);
        figures.insert(SHADOW_EVIDENCE.to_owned(), shadow.evidence);
        figures
    }
}

impl From<&ProbationVerdict> for Figures {
    fn from(probation: &ProbationVerdict) -> Self {
        [
            (PROBATION_RECORDS, probation.records as f64),
            (PREDECESSOR_WINS, probation.predecessor_wins as f64),
            (CHAMPION_WINS, probation.champion_wins as f64),
            (EVIDENCE, probation.evidence),
            (ERROR_RATE, probation.error_rate),
        ]
        .map(|(name, figure)| (name.to_owned(), figure))
        .into()
    }
}

impl From<&Verdict> for Figures {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Gate(gate, _) => gate.into(),
            Verdict::Shadow(shadow) => shadow.into(),
            Verdict::Probation(probation) => probation.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn each_verdict_has_its_figures() {
        let figures: Vec<_> = example::verdicts()
            .iter()
            .map(|verdict| serde_json::to_string(&Figures::from(verdict)).unwrap())
            .collect();
        assert_eq!(
            figures,
            [
                r#"{"challenger_wins":0.0,"champion_holdout_accuracy":0.9,"champion_wins":0.0,"error_rate":0.1,"evidence":0.0,"holdout_accuracy":0.95,"holdout_rows":30.0,"margin":0.02,"recent_rows":0.0}"#,
                r#"{"challenger_wins":1.0,"champion_recent_accuracy":0.5,"champion_shadow_accuracy":1.0,"champion_wins":0.0,"error_rate":0.1,"evidence":1.0,"holdout_rows":0.0,"margin":0.25,"recent_accuracy":1.0,"recent_rows":2.0,"shadow_accuracy":0.75,"shadow_evidence":20.0,"shadow_records":4.0}"#,
                r#"{"champion_wins":1.0,"error_rate":0.02,"evidence":64.0,"predecessor_wins":9.0,"probation_records":20.0}"#,
            ]
        );
    }

    #[test]
    fn the_figures_of_the_gate_can_be_read_back() {
        for verdict in example::verdicts() {
            let gate = match verdict {
                Verdict::Gate(gate, _) => gate,
                Verdict::Shadow(shadow) => shadow.gate,
                Verdict::Probation(_) => GateVerdict::default(),
            };
            assert_eq!(GateVerdict::from(&Figures::from(&gate)), gate);
        }
        assert_eq!(GateVerdict::from(&Figures::new()), GateVerdict::default());
    }
}
