//! A baseline's answers beside the loop's, on the same records.

use iris_contract::{BaselineScores, Scores};
use iris_core::Confusion;
use serde::{Deserialize, Serialize};

use super::answers::Answers;
use super::classes::{Class, Classes};

/// The counts of a baseline's answers, and of the records that only the loop or only the baseline predicted correctly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Paired {
    confusion: Confusion,
    loop_only: u64,
    baseline_only: u64,
}

impl Paired {
    /// Counts a record that the baseline answered.
    pub(crate) fn add(&mut self, classes: &Classes, answers: &Answers, baseline: Option<&Class>) {
        let Some(baseline) = baseline else { return };
        let (truth, predicted) = classes.cell(&answers.truth, baseline);
        self.confusion.add(truth, predicted);
        if let Some(count) = self.discordant(answers, baseline) {
            *count += 1;
        }
    }

    /// Removes a record that was counted.
    pub(crate) fn remove(
        &mut self,
        classes: &Classes,
        answers: &Answers,
        baseline: Option<&Class>,
    ) {
        let Some(baseline) = baseline else { return };
        let (truth, predicted) = classes.cell(&answers.truth, baseline);
        self.confusion.remove(truth, predicted);
        if let Some(count) = self.discordant(answers, baseline) {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns the count of such records; `None` if both are correct or both are wrong.
    fn discordant(&mut self, answers: &Answers, baseline: &Class) -> Option<&mut u64> {
        match (answers.served == answers.truth, *baseline == answers.truth) {
            (true, false) => Some(&mut self.loop_only),
            (false, true) => Some(&mut self.baseline_only),
            _ => None,
        }
    }

    /// Returns the scores. `None` without records.
    pub(crate) fn scores(&self) -> Option<BaselineScores> {
        let scores = Scores::from(&self.confusion);
        if scores.records == 0 {
            return None;
        }
        let records = scores.records as f64;
        let loop_right =
            (self.confusion.right() + self.loop_only).saturating_sub(self.baseline_only);
        let differing = self.loop_only + self.baseline_only;
        Some(BaselineScores {
            scores,
            loop_accuracy: Some(loop_right as f64 / records),
            standard_error: (differing as f64).sqrt() / records,
        })
    }
}
