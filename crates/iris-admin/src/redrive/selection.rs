//! Which dead letters are sent back.

use iris_kafka::Origin;
use jiff::Timestamp;

/// What to do with one record of the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it back.
    Redrive,
    /// It is not of those that were asked for.
    NotSelected,
    /// An earlier run has sent it back.
    SentBefore,
    /// It names a topic that the pipeline does not read.
    ForeignTopic,
    /// It names a partition that its topic has not got any more.
    NoSuchPartition,
}

/// Which of the dead letters are asked for; an empty list means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The reasons.
    pub(crate) reasons: Vec<String>,
    /// The partitions that they came from.
    pub(crate) partitions: Vec<i32>,
    /// The earliest time of creation.
    pub(crate) since: Option<Timestamp>,
    /// The time before which they were created.
    pub(crate) until: Option<Timestamp>,
}

impl Selection {
    /// Whether a dead letter is asked for. One that does not say when it was created is not if a time is.
    pub(crate) fn admits(&self, origin: &Origin, created_ms: Option<i64>) -> bool {
        let created = created_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        (self.reasons.is_empty() || self.reasons.contains(&origin.reason))
            && (self.partitions.is_empty() || self.partitions.contains(&origin.partition))
            && self
                .since
                .is_none_or(|since| created.is_some_and(|created| created >= since))
            && self
                .until
                .is_none_or(|until| created.is_some_and(|created| created < until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(partition: i32, reason: &str) -> Origin {
        Origin {
            topic: "input".to_owned(),
            partition,
            offset: 0,
            reason: reason.to_owned(),
            message: String::new(),
            attempt: 1,
        }
    }

    #[test]
    fn whatever_is_not_asked_about_does_not_matter() {
        assert!(Selection::default().admits(&origin(3, "not_json"), None));
    }

    #[test]
    fn reason_and_partition_and_time_all_have_to_fit() {
        let selection = Selection {
            reasons: vec!["not_json".to_owned(), "no_value".to_owned()],
            partitions: vec![3],
            since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            until: Some("2026-01-02T00:00:00Z".parse().unwrap()),
        };
        let first: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (first, day) = (first.as_millisecond(), 86_400_000);
        assert!(selection.admits(&origin(3, "no_value"), Some(first)));
        assert!(!selection.admits(&origin(3, "missing_feature"), Some(first)));
        assert!(!selection.admits(&origin(2, "no_value"), Some(first)));
        assert!(!selection.admits(&origin(3, "no_value"), Some(first - 1)));
        assert!(selection.admits(&origin(3, "no_value"), Some(first + day - 1)));
        assert!(!selection.admits(&origin(3, "no_value"), Some(first + day)));
        assert!(!selection.admits(&origin(3, "no_value"), None));
    }
}
