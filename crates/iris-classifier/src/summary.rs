//! What a run has done.

use std::fmt;
use std::time::{Duration, Instant};

/// Outcomes that were committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records classified.
    pub predictions: u64,
    /// Of these, records with a label, and so compared.
    pub labelled: u64,
    /// Of these, records predicted wrong.
    pub mispredicted: u64,
    /// Records set aside.
    pub dead_letters: u64,
    /// When the first of these records was read.
    pub first_read: Option<Instant>,
    /// When the last of them was committed.
    pub last_committed: Option<Instant>,
}

impl Summary {
    /// Adds what another worker, or another transaction, has done.
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

    /// Records with an outcome.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.predictions + self.dead_letters
    }

    /// The share of the labelled records that was predicted right; `None` if there was none.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        (self.labelled > 0)
            .then(|| (self.labelled - self.mispredicted) as f64 / self.labelled as f64)
    }

    /// From the first record to the last commit.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match (self.first_read, self.last_committed) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for Summary {
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
    fn a_summary_adds_up_and_says_counts_time_and_rate() {
        let start = Instant::now();
        let worker = |predictions, mispredicted, from: u64, to: u64| Summary {
            predictions,
            labelled: predictions,
            mispredicted,
            dead_letters: 0,
            first_read: Some(start + Duration::from_millis(from)),
            last_committed: Some(start + Duration::from_millis(to)),
        };
        let both = worker(100, 4, 500, 9_000)
            .plus(worker(50, 0, 0, 10_000))
            .plus(Summary::default());
        assert_eq!(
            both.to_string(),
            "150 records in 10.000 s, 15 records/s: 150 predictions, 4 mispredicted, 0 dead letters; accuracy 0.9733"
        );
        assert_eq!(Summary::default().elapsed(), Duration::ZERO);
    }
}
