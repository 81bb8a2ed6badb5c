//! Verdicts: the results of comparing models, each with its evidence and its reason in words.

use std::fmt;

use iris_core::{ModelKind, ModelVersion};

use crate::gate::{Accuracy, GateVerdict};
use crate::paired_test::is_enough;

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
    /// Its kind, if that is not the champion's: the kind that predicts its rows better.
    pub other_kind: Option<ModelKind>,
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {} rows: {}", self.rows, self.cause)?;
        match self.other_kind {
            Some(kind) => write!(f, "; of another kind, {kind}, which predicts them better"),
            None => Ok(()),
        }
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
    /// The evidence that the champion is better.
    pub evidence: f64,
    /// The probability with which a challenger that is as good may be rejected.
    pub error_rate: f64,
}

impl ShadowVerdict {
    /// Whether the challenger is good enough.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        !is_enough(self.evidence, self.error_rate)
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
            "accuracy {challenger:.4} on {} records in shadow (champion {champion:.4}): evidence {:.1} against the challenger, \
             {:.1} rejects it",
            self.records,
            self.evidence,
            1.0 / self.error_rate
        )
    }
}

/// The result of a champion's probation so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbationVerdict {
    /// The champion on probation.
    pub champion: ModelVersion,
    /// The last champion that has passed its probation.
    pub predecessor: ModelVersion,
    /// The number of labelled records that it and the champions since then classified.
    pub records: u64,
    /// How many of them only the predecessor classifies correctly.
    pub predecessor_wins: u64,
    /// How many of them only the champion at that time classifies correctly.
    pub champion_wins: u64,
    /// The evidence that the predecessor is better.
    pub evidence: f64,
    /// The probability with which a champion that is as good may be rolled back.
    pub error_rate: f64,
}

impl fmt::Display for ProbationVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is worse than its predecessor {}: of {} labelled records, only the predecessor is correct on {} and only its \
             successors on {}: evidence {:.1} against the champion, {:.1} rolls it back",
            self.champion,
            self.predecessor,
            self.records,
            self.predecessor_wins,
            self.champion_wins,
            self.evidence,
            1.0 / self.error_rate
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
                "accuracy 0.9500 on 30 holdout rows (champion 0.9000); trained on 7 rows: drift",
                "worse in shadow: accuracy 0.7500 on 4 records in shadow (champion 1.0000): evidence 20.0 against the \
                 challenger, 10.0 rejects it",
                "0123456789abcdef is worse than its predecessor 00c0ffee00c0ffee: of 20 labelled records, only the predecessor \
                 is correct on 9 and only its successors on 1: evidence 64.0 against the champion, 50.0 rolls it back",
            ]
        );
    }

    #[test]
    fn another_kind_is_named() {
        let training = Training {
            rows: 7,
            cause: TrainingCause::EnoughRows,
            other_kind: Some(3.into()),
        };
        assert_eq!(
            training.to_string(),
            "on 7 rows: enough new rows; of another kind, 3 neighbours, which predicts them better"
        );
    }

    #[test]
    fn a_challenger_passes_the_shadow_run_without_evidence_against_it() {
        let [_, Verdict::Shadow(shadow), _] = example::verdicts() else {
            panic!("a shadow run is the second");
        };
        let is_passed = |evidence| ShadowVerdict { evidence, ..shadow }.is_passed();
        assert!(is_passed(9.9));
        assert!(!is_passed(10.0));
    }

    #[test]
    fn a_failed_probation_never_passes() {
        let passed: Vec<_> = example::verdicts().iter().map(Verdict::is_passed).collect();
        assert_eq!(passed, [true, false, false]);
    }
}
