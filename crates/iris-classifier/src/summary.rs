//! The counts of a run.

use std::fmt;
use std::time::{Duration, Instant};

/// Committed outcomes, of one transaction, one worker or a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassifierSummary {
    /// Predictions.
    pub predictions: u64,
    /// Predictions of records with a label.
    pub labelled: u64,
    /// Predictions that differ from their record's label.
    pub mispredicted: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// When the first record was read.
    pub first_read: Option<Instant>,
    /// When the last transaction was committed.
    pub last_committed: Option<Instant>,
}

impl ClassifierSummary {
    /// Adds the counts of another worker or another transaction.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let first = |a: Option<Instant>, b: Option<Instant>| [a, b].into_iter().flatten().min();
        Self {
            predictions: self.predictions + other.predictions,
            labelled: self.labelled + other.labelled,
            mispredicted: self.mispredicted + other.mispredicted,
            dead_letters: self.dead_letters + other.dead_letters,
            first_read: first(self.first_read, other.first_read),
            last_committed: self.last_committed.max(other.last_committed),
        }
    }

    /// Returns the number of records with an outcome.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.predictions + self.dead_letters
    }

    /// Returns the share of labelled records that were predicted correctly; `None` if there were none.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        (self.labelled > 0)
            .then(|| (self.labelled - self.mispredicted) as f64 / self.labelled as f64)
    }

    /// Returns the time from the first record to the last commit.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match (self.first_read, self.last_committed) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for ClassifierSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 {
            self.records() as f64 / seconds
        } else {
            0.0
        };
        write!(
            f,
            "{} records in {seconds:.3} s, {rate:.0} records/s: {} predictions, {} mispredicted, {} dead letters",
            self.records(),
            self.predictions,
            self.mispredicted,
            self.dead_letters
        )?;
        match self.accuracy() {
            Some(accuracy) => write!(f, "; accuracy {accuracy:.4}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_add_up_and_show_counts_time_and_rate() {
        let start = Instant::now();
        let worker = |predictions, mispredicted, from: u64, to: u64| ClassifierSummary {
            predictions,
            labelled: predictions,
            mispredicted,
            dead_letters: 0,
            first_read: Some(start + Duration::from_millis(from)),
            last_committed: Some(start + Duration::from_millis(to)),
        };
        let both = worker(100, 4, 500, 9_000)
            .plus(worker(50, 0, 0, 10_000))
            .plus(ClassifierSummary::default());
        assert_eq!(
            both.to_string(),
            "150 records in 10.000 s, 15 records/s: 150 predictions, 4 mispredicted, 0 dead letters; accuracy 0.9733"
        );
        assert_eq!(ClassifierSummary::default().elapsed(), Duration::ZERO);
    }
}
