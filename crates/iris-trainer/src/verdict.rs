//! Verdicts: the results of comparing models, each with its evidence and its reason in words.

use std::fmt;

use iris_core::ModelVersion;

use crate::gate::{Accuracy, GateVerdict};

/// Why a challenger is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainingCause {
    /// There are enough new rows to learn.
    EnoughRows,
    /// There are new rows to learn, and the stream has drifted.
    Drift,
    /// There are new rows to learn, and the input has ended.
    EndOfInput,
    /// There have been new rows to learn for long enough.
    EnoughTime,
}

impl fmt::Display for TrainingCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EnoughRows => "enough new rows",
            Self::Drift => "drift",
            Self::EndOfInput => "end of input",
            Self::EnoughTime => "enough time has passed",
        })
    }
}

/// How a challenger was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Training {
    /// The number of training rows.
    pub rows: usize,
    /// Why it was trained.
    pub cause: TrainingCause,
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} rows: {}", self.rows, self.cause)
    }
}

/// The result of a shadow run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShadowVerdict {
    /// The result at the gate, before the shadow run.
    pub gate: GateVerdict,
    /// The number of labelled records that the challenger classified in shadow.
    pub records: u64,
    /// The accuracy on these records.
    pub accuracy: Accuracy,
    /// How much less accurate than the champion the challenger may be, from 0 to 1.
    pub margin: f64,
}

impl ShadowVerdict {
    /// Whether the challenger is good enough.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        !self.accuracy.is_worse(self.margin)
    }
}

impl fmt::Display for ShadowVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Accuracy {
            challenger,
            champion,
        } = self.accuracy;
        if !self.is_passed() {
            f.write_str("worse in shadow: ")?;
        }
        write!(
            f,
            "accuracy {challenger:.4} on {} records in shadow (champion {champion:.4})",
            self.records
        )
    }
}

/// The result of a champion's probation so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbationVerdict {
    /// The champion on probation.
    pub champion: ModelVersion,
    /// The number of labelled records that the champion and its predecessor both classified.
    pub records: u64,
    /// How many more of them the predecessor classifies correctly.
    pub predecessor_lead: i64,
}

impl fmt::Display for ProbationVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is worse than its predecessor: {} fewer correct of {} labelled records",
            self.champion, self.predecessor_lead, self.records
        )
    }
}

/// The evidence for a decision about a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// A challenger compared with the champion at the gate, and how it was trained.
    Gate(GateVerdict, Training),
    /// A challenger compared with the champion in shadow.
    Shadow(ShadowVerdict),
    /// A champion that failed its probation.
    Probation(ProbationVerdict),
}

impl Verdict {
    /// Whether the model may become, or stay, the champion.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        match self {
            Self::Gate(gate, _) => gate.is_passed(),
            Self::Shadow(shadow) => shadow.is_passed(),
            Self::Probation(_) => false,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(gate, training) => write!(f, "{gate}; trained {training}"),
            Self::Shadow(shadow) => shadow.fmt(f),
            Self::Probation(probation) => probation.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn each_verdict_has_its_reason() {
        let reasons: Vec<_> = example::verdicts().iter().map(Verdict::to_string).collect();
        assert_eq!(
            reasons,
            [
                "accuracy 0.9500 on holdout rows (champion 0.9000); trained on 7 rows: drift",
                "worse in shadow: accuracy 0.7500 on 4 records in shadow (champion 1.0000)",
                "0123456789abcdef is worse than its predecessor: 3 fewer correct of 20 labelled records",
            ]
        );
    }

    #[test]
    fn a_challenger_passes_the_shadow_run_within_the_margin() {
        let shadow = |challenger, margin| ShadowVerdict {
            gate: GateVerdict::default(),
            records: 4,
            accuracy: Accuracy {
                challenger,
                champion: 1.0,
            },
            margin,
        };
        assert!(shadow(1.0, 0.0).is_passed());
        assert!(shadow(0.75, 0.25).is_passed());
        assert!(!shadow(0.75, 0.24).is_passed());
    }

    #[test]
    fn a_failed_probation_never_passes() {
        let passed: Vec<_> = example::verdicts().iter().map(Verdict::is_passed).collect();
        assert_eq!(passed, [true, false, false]);
    }
}
