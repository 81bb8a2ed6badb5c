//! The summary of a run.

use std::fmt;
use std::time::Duration;

/// The rows that a run has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkSummary {
    /// Rows stored.
    pub stored: u64,
    /// The time from the first record read to the last one stored.
    pub elapsed: Duration,
}

impl fmt::Display for SinkSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 {
            self.stored as f64 / seconds
        } else {
            0.0
        };
        write!(
            f,
            "{} feedback records stored in {seconds:.3} s, {rate:.0} records/s",
            self.stored
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_shows_count_time_and_rate() {
        let summary = SinkSummary {
            stored: 4,
            elapsed: Duration::from_secs(2),
        };
        assert_eq!(
            summary.to_string(),
            "4 feedback records stored in 2.000 s, 2 records/s"
        );
        assert_eq!(
            SinkSummary::default().to_string(),
            "0 feedback records stored in 0.000 s, 0 records/s"
        );
    }
}
