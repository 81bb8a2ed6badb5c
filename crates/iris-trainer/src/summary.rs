//! The summary of a run.

use std::fmt;

use crate::merge::Topic;
use crate::outcome::Outcome;

/// The counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainerSummary {
    /// Predictions read.
    pub predictions: u64,
    /// Labels read.
    pub labels: u64,
    /// Challengers that became the champion.
    pub promoted: u64,
    /// Challengers that were rejected.
    pub rejected: u64,
    /// Champions that were rolled back.
    pub rolled_back: u64,
}

impl TrainerSummary {
    /// Counts a record that was read.
    pub(crate) fn count_input(&mut self, topic: Topic) {
        match topic {
            Topic::Predictions => self.predictions += 1,
            Topic::Labels => self.labels += 1,
        }
    }

    /// Counts a decision.
    pub(crate) fn count_decision(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Promoted(..) => self.promoted += 1,
            Outcome::Rejected(..) | Outcome::TooLarge(..) => self.rejected += 1,
            Outcome::RolledBack(..) => self.rolled_back += 1,
            Outcome::InShadow(..) => {}
        }
    }
}

impl fmt::Display for TrainerSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            predictions,
            labels,
            promoted,
            rejected,
            rolled_back,
        } = self;
        write!(
            f,
            "{predictions} predictions and {labels} labels read; {promoted} models promoted, {rejected} rejected, {rolled_back} \
             rolled back"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn inputs_and_decisions_are_counted_by_kind() {
        let mut summary = TrainerSummary::default();
        let version = "0123456789abcdef".parse().unwrap();
        let [gate, shadow, probation] = example::verdicts();
        for _ in 0..5 {
            summary.count_input(Topic::Predictions);
        }
        for _ in 0..4 {
            summary.count_input(Topic::Labels);
        }
        for (times, outcome) in [
            (3, Outcome::Promoted(version, gate)),
            (2, Outcome::Rejected(version, shadow)),
            (1, Outcome::RolledBack(version, probation)),
            (7, Outcome::InShadow(version, gate)),
        ] {
            for _ in 0..times {
                summary.count_decision(&outcome);
            }
        }
        assert_eq!(
            summary.to_string(),
            "5 predictions and 4 labels read; 3 models promoted, 2 rejected, 1 rolled back"
        );
    }
}
