//! Outcomes: what a decision changed, for the log and the counters.

use std::fmt;

use iris_core::ModelVersion;

use crate::storage::TooLarge;
use crate::verdict::{Training, Verdict};

/// The outcome of a decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A challenger runs in shadow.
    InShadow(ModelVersion, Verdict),
    /// A challenger became the champion.
    Promoted(ModelVersion, Verdict),
    /// A challenger was rejected.
    Rejected(ModelVersion, Verdict),
    /// A challenger that is good enough was rejected because it cannot be stored.
    TooLarge(ModelVersion, Verdict, TooLarge),
    /// The last champion that has passed its probation became the champion again.
    RolledBack(ModelVersion, Verdict),
}

impl Outcome {
    /// Returns the label of the decision in metrics; `None` if none was recorded in the registry.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Promoted(..) => Some("promoted"),
            Self::Rejected(..) | Self::TooLarge(..) => Some("rejected"),
            Self::RolledBack(..) => Some("rolled_back"),
            Self::InShadow(..) => None,
        }
    }

    /// Returns the challenger that was trained for this decision, and how it was trained.
    pub(crate) fn trained(&self) -> Option<(ModelVersion, Training)> {
        match *self {
            Self::InShadow(version, Verdict::Gate(_, training))
            | Self::Promoted(version, Verdict::Gate(_, training))
            | Self::Rejected(version, Verdict::Gate(_, training))
            | Self::TooLarge(version, Verdict::Gate(_, training), _) => Some((version, training)),
            _ => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InShadow(version, _) => write!(f, "challenger {version} runs in shadow"),
            Self::Promoted(version, verdict) => write!(f, "promoted {version}: {verdict}"),
            Self::Rejected(version, verdict) => write!(f, "rejected {version}: {verdict}"),
            Self::TooLarge(version, _, problem) => write!(f, "rejected {version}: {problem}"),
            Self::RolledBack(version, verdict) => {
                write!(f, "rolled back to {version}: {verdict}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::verdict::TrainingCause;

    #[test]
    fn each_outcome_has_its_log_line_and_its_label() {
        let version = "0123456789abcdef".parse().unwrap();
        let [gate, shadow, probation] = example::verdicts();
        let too_large = TooLarge::ForTopic { bytes: 7 };
        for (outcome, line, kind) in [
            (
                Outcome::InShadow(version, gate),
                "challenger 0123456789abcdef runs in shadow".to_owned(),
                None,
            ),
            (
                Outcome::Promoted(version, gate),
                format!("promoted 0123456789abcdef: {gate}"),
                Some("promoted"),
            ),
            (
                Outcome::Rejected(version, shadow),
                format!("rejected 0123456789abcdef: {shadow}"),
                Some("rejected"),
            ),
            (
                Outcome::TooLarge(version, gate, too_large),
                format!("rejected 0123456789abcdef: {too_large}"),
                Some("rejected"),
            ),
            (
                Outcome::RolledBack(version, probation),
                format!("rolled back to 0123456789abcdef: {probation}"),
                Some("rolled_back"),
            ),
        ] {
            assert_eq!((outcome.to_string(), outcome.kind()), (line, kind));
        }
    }

    #[test]
    fn only_a_decision_at_the_gate_follows_training() {
        let version = "0123456789abcdef".parse().unwrap();
        let [gate, shadow, probation] = example::verdicts();
        let training = Training {
            rows: 7,
            cause: TrainingCause::Drift,
            other_kind: None,
        };
        let too_large =
            |version, verdict| Outcome::TooLarge(version, verdict, TooLarge::ForTopic { bytes: 7 });
        for outcome in [
            Outcome::InShadow,
            Outcome::Promoted,
            Outcome::Rejected,
            too_large,
        ] {
            assert_eq!(outcome(version, gate).trained(), Some((version, training)));
            assert_eq!(outcome(version, shadow).trained(), None);
        }
        assert_eq!(Outcome::RolledBack(version, probation).trained(), None);
    }
}
