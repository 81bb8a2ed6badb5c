//! How far reading a topic to its end has got.

use std::fmt;
use std::time::Duration;

/// How far reading a topic to its end has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadProgress {
    /// The topic.
    pub topic: String,
    /// The records that were read.
    pub records: u64,
    /// The offsets that were read, and those that there are to read, transaction markers and deleted records included;
    /// `None` while the brokers do not answer.
    pub offsets: Option<(i64, i64)>,
    /// The time since the latest record, if none has arrived since the previous report.
    pub idle: Option<Duration>,
    /// The client's latest error, if no record has arrived since the previous report.
    pub cause: Option<String>,
}

impl fmt::Display for ReadProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            records,
            offsets,
            idle,
            cause,
        } = self;
        write!(f, "reading topic `{topic}`: {records} records")?;
        if let Some((read, all)) = offsets {
            write!(f, ", {read} of {all} offsets")?;
        }
        if let Some(idle) = idle {
            write!(f, "; none for {} s", idle.as_secs())?;
        }
        if let Some(cause) = cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_shows_how_much_is_read_of_how_much_and_the_cause_of_a_stall() {
        let mut progress = ReadProgress {
            topic: "t".to_owned(),
            records: 12,
            offsets: None,
            idle: None,
            cause: None,
        };
        assert_eq!(progress.to_string(), "reading topic `t`: 12 records");
        progress.offsets = Some((20, 50));
        progress.idle = Some(Duration::from_secs(6));
        assert_eq!(
            progress.to_string(),
            "reading topic `t`: 12 records, 20 of 50 offsets; none for 6 s"
        );
        progress.cause = Some("refused".to_owned());
        assert_eq!(
            progress.to_string(),
            "reading topic `t`: 12 records, 20 of 50 offsets; none for 6 s: refused"
        );
    }
}
