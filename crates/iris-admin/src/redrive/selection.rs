//! Decides which dead letters are sent back.

use std::collections::BTreeMap;

use iris_contract::Origin;
use iris_kafka::Record;
use jiff::Timestamp;

use super::receipts::Receipts;

/// The decision about one record of the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It is sent back; it was dead-lettered for this reason.
    Redrive(&'a str),
    /// It is not selected.
    NotSelected,
    /// An earlier run sent it back.
    SentBefore,
    /// It has no readable origin.
    NotADeadLetter,
    /// Its origin is a topic that the pipeline does not read.
    ForeignTopic(&'a str),
    /// It leaves out the record's value, which is still in the topic that it came from, unless retention has deleted it.
    WithoutValue {
        topic: &'a str,
        partition: i32,
        offset: i64,
    },
    /// Its origin is a partition that does not exist.
    NoSuchPartition { topic: &'a str, partition: i32 },
}

impl Verdict<'_> {
    /// Returns the reason, for the log, why a record cannot be sent back; `None` if it can.
    pub(crate) fn why_skipped(&self) -> Option<String> {
        match self {
            Self::NotADeadLetter => Some("is not a dead letter".to_owned()),
            Self::ForeignTopic(topic) => Some(format!(
                "came from `{topic}`, which is not a topic of this pipeline"
            )),
            Self::NoSuchPartition { topic, partition } => Some(format!(
                "came from partition {partition} of `{topic}`, which does not exist"
            )),
            Self::WithoutValue {
                topic,
                partition,
                offset,
            } => Some(format!(
                "has no value, because the dead-letter topic refused it; send the record at offset {offset} of partition \
                 {partition} of `{topic}` again"
            )),
            Self::Redrive(_) | Self::NotSelected | Self::SentBefore => None,
        }
    }
}

/// A record of the dead-letter topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter<'a> {
    /// Its partition in the dead-letter topic.
    pub(crate) partition: i32,
    /// Its offset there.
    pub(crate) offset: i64,
    /// The record's timestamp, in milliseconds since the epoch.
    pub(crate) created_ms: Option<i64>,
    /// Whether it has a value.
    pub(crate) has_value: bool,
    /// Its origin; `None` if it is not a dead letter.
    pub(crate) origin: Option<&'a Origin>,
}

impl<'a> Letter<'a> {
    /// Returns a record of the dead-letter topic with its origin.
    pub(crate) fn of(record: &Record<'_>, origin: Option<&'a Origin>) -> Self {
        Self {
            partition: record.partition(),
            offset: record.offset(),
            created_ms: record.timestamp(),
            has_value: record.value().is_some(),
            origin,
        }
    }
}

/// The topics that dead letters may be sent back to, each with its number of partitions.
#[derive(Clone, Debug)]
pub(crate) struct Destinations(BTreeMap<String, usize>);

impl Destinations {
    pub(crate) fn new(topics: impl IntoIterator<Item = (String, usize)>) -> Self {
        Self(topics.into_iter().collect())
    }
}

/// The criteria for dead letters; an empty list matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The reasons.
    pub(crate) reasons: Vec<String>,
    /// The partitions of their origins.
    pub(crate) partitions: Vec<i32>,
    /// The earliest timestamp.
    pub(crate) since: Option<Timestamp>,
    /// The time that their timestamps precede.
    pub(crate) until: Option<Timestamp>,
}

impl Selection {
    /// Decides about a record of the dead-letter topic.
    pub(crate) fn judge<'a>(
        &self,
        letter: Letter<'a>,
        destinations: &Destinations,
        sent_before: &Receipts,
    ) -> Verdict<'a> {
        let Some(origin) = letter.origin else {
            return Verdict::NotADeadLetter;
        };
        // Whoever can write dead letters must not use this user's permissions to write to other topics.
        let Some(&partitions) = destinations.0.get(&origin.topic) else {
            return Verdict::ForeignTopic(&origin.topic);
        };
        if usize::try_from(origin.partition).map_or(true, |partition| partition >= partitions) {
            return Verdict::NoSuchPartition {
                topic: &origin.topic,
                partition: origin.partition,
            };
        }
        if sent_before.contains(letter.partition, letter.offset) {
            Verdict::SentBefore
        } else if !self.admits(origin, letter.created_ms) {
            Verdict::NotSelected
        } else if !letter.has_value && origin.is_without_value() {
            Verdict::WithoutValue {
                topic: &origin.topic,
                partition: origin.partition,
                offset: origin.offset,
            }
        } else {
            Verdict::Redrive(&origin.reason)
        }
    }

    /// Returns whether a dead letter meets the criteria. One without a timestamp does not meet a criterion of time.
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
    use iris_contract::DeadLetter;

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
    fn empty_criteria_match_every_dead_letter() {
        assert!(Selection::default().admits(&origin(3, "not_json"), None));
    }

    #[test]
    fn reason_partition_and_time_must_all_match() {
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

    /// Judges a letter at offset 7 of partition 1. The input topic has 3 partitions, and the topic of labels is not visible.
    fn judged<'a>(
        selection: &Selection,
        origin: Option<&'a Origin>,
        sent: &[(i32, i64)],
    ) -> Verdict<'a> {
        let destinations = Destinations::new([("input".to_owned(), 3), ("labels".to_owned(), 0)]);
        let mut receipts = Receipts::default();
        for &(partition, offset) in sent {
            receipts.insert(partition, offset);
        }
        let letter = Letter {
            partition: 1,
            offset: 7,
            created_ms: None,
            has_value: false,
            origin,
        };
        selection.judge(letter, &destinations, &receipts)
    }

    #[test]
    fn a_letter_is_sent_back_only_to_an_existing_partition_of_the_pipelines_topics() {
        let all = Selection::default();
        let to = |topic: &str, partition| Origin {
            topic: topic.to_owned(),
            ..origin(partition, "not_json")
        };
        let no_partition = |topic, partition| Verdict::NoSuchPartition { topic, partition };
        for (origin, verdict) in [
            (to("input", 0), Verdict::Redrive("not_json")),
            (to("input", 2), Verdict::Redrive("not_json")),
            (to("input", 3), no_partition("input", 3)),
            (to("input", -1), no_partition("input", -1)),
            (to("labels", 0), no_partition("labels", 0)),
            (to("payments", 0), Verdict::ForeignTopic("payments")),
        ] {
            assert_eq!(judged(&all, Some(&origin), &[]), verdict);
        }
        assert_eq!(judged(&all, None, &[]), Verdict::NotADeadLetter);
    }

    #[test]
    fn a_letter_whose_value_is_left_out_is_skipped_and_one_that_never_had_a_value_is_sent_back() {
        let all = Selection::default();
        let left_out = |part: &str| Origin {
            message: DeadLetter::without("refused", &[part.to_owned()]),
            ..origin(2, "outcome_too_large")
        };
        let skipped = Verdict::WithoutValue {
            topic: "input",
            partition: 2,
            offset: 0,
        };
        let redriven = Verdict::Redrive("outcome_too_large");
        assert_eq!(judged(&all, Some(&left_out("value")), &[]), skipped);
        assert_eq!(judged(&all, Some(&left_out("headers")), &[]), redriven);
        let never = origin(2, "no_value");
        assert_eq!(
            judged(&all, Some(&never), &[]),
            Verdict::Redrive("no_value")
        );
        let sent = judged(&all, Some(&left_out("value")), &[(1, 7)]).why_skipped();
        assert_eq!(sent, None, "an earlier version sent it back");
        assert_eq!(
            skipped.why_skipped().unwrap(),
            "has no value, because the dead-letter topic refused it; send the record at offset 0 of partition 2 of `input` \
             again"
        );
    }

    #[test]
    fn a_letter_is_sent_back_once() {
        let (all, letter) = (Selection::default(), origin(0, "not_json"));
        assert_eq!(judged(&all, Some(&letter), &[(1, 7)]), Verdict::SentBefore);
        // Receipts name offsets of the dead-letter topic, not of the origin.
        let others = [(0, 0), (1, 6), (1, 8), (2, 7)];
        let verdict = judged(&all, Some(&letter), &others);
        assert_eq!(verdict, Verdict::Redrive("not_json"));
    }

    #[test]
    fn a_letter_that_is_not_selected_stays_unless_it_was_sent_before() {
        let selection = Selection {
            reasons: vec!["no_value".to_owned()],
            ..Selection::default()
        };
        let letter = origin(0, "not_json");
        assert_eq!(judged(&selection, Some(&letter), &[]), Verdict::NotSelected);
        let sent = judged(&selection, Some(&letter), &[(1, 7)]);
        assert_eq!(sent, Verdict::SentBefore);
    }

    #[test]
    fn only_skipped_records_have_a_reason_to_log() {
        let skipped = Verdict::NoSuchPartition {
            topic: "input",
            partition: 9,
        };
        assert_eq!(
            skipped.why_skipped().unwrap(),
            "came from partition 9 of `input`, which does not exist"
        );
        assert_eq!(
            Verdict::ForeignTopic("payments").why_skipped().unwrap(),
            "came from `payments`, which is not a topic of this pipeline"
        );
        assert!(Verdict::NotADeadLetter.why_skipped().is_some());
        for verdict in [
            Verdict::Redrive("no_value"),
            Verdict::NotSelected,
            Verdict::SentBefore,
        ] {
            assert_eq!(verdict.why_skipped(), None);
        }
    }
}
