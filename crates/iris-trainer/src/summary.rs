//! What a run has done.

use std::fmt;

use crate::decision::Outcome;
use crate::merge::Topic;

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Predictions read.
    pub predictions: u64,
    /// Labels read.
    pub labels: u64,
    /// Challengers that became the champion.
    pub promoted: u64,
    /// Challengers that did not.
    pub rejected: u64,
    /// Champions that were withdrawn.
    pub rolled_back: u64,
}

impl Summary {
    pub(crate) fn count_input(&mut self, topic: Topic) {
        match topic {
            Topic::Predictions => self.predictions += 1,
            Topic::Labels => self.labels += 1,
        }
    }

    pub(crate) fn count_decision(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Promoted(..) => self.promoted += 1,
            Outcome::Rejected(..) => self.rejected += 1,
            Outcome::RolledBack(..) => self.rolled_back += 1,
            Outcome::Shadowed(_) | Outcome::NothingToRollBackTo(_) => {}
        }
    }
}

impl fmt::Display for Summary {
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

    #[test]
    fn each_input_and_each_decision_is_counted_under_its_own_name() {
        let mut summary = Summary::default();
        let version = "0123456789abcdef".parse().unwrap();
        let why = || "why".to_owned();
        for _ in 0..5 {
            summary.count_input(Topic::Predictions);
        }
        for _ in 0..4 {
            summary.count_input(Topic::Labels);
        }
        for (times, outcome) in [
            (3, Outcome::Promoted(version, why())),
            (2, Outcome::Rejected(version, why())),
            (1, Outcome::RolledBack(version, why())),
            (7, Outcome::Shadowed(version)),
            (7, Outcome::NothingToRollBackTo(why())),
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
