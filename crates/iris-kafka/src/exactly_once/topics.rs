//! The topics of a worker as they change while it runs: its input, and the topics that its outcomes go to.

use std::collections::BTreeMap;

use crate::change::identity::{TopicId, TopicState, is_recreated, missing};
use crate::offsets::PartitionOffset;
use crate::problem::{SharedProblems, warn_once};

/// Offsets that were not read: the one that was expected, and that of the record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) partition: i32,
    pub(super) position: i64,
    pub(super) first: i64,
}

/// A worker's view of its topics.
#[derive(Debug)]
pub(super) struct Topics {
    input: String,
    /// The id of the input topic whose records are processed and whose offsets are committed.
    id: Option<TopicId>,
    /// The partitions from this number on are not processed, because an output topic has no such partition.
    limit: i32,
    /// The partitions of the topic that records of whole transactions go to, when they were last counted.
    last_output: Option<usize>,
    /// The present problems, by topic.
    problems: SharedProblems,
    /// Whether reading restarts because of a change that is logged already, and not because a transaction failed.
    is_restarting: bool,
    /// The latest gap, until it is explained.
    gap: Option<Gap>,
}

/// A change since the previous check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that affects the records that are being processed.
    None,
    /// The input topic was deleted and recreated.
    Recreated,
    /// The partitions from this number on, or some of them, can be processed now and could not before.
    Released(i32),
}

impl Topics {
    pub(super) fn new(input: &str) -> Self {
        Self {
            input: input.to_owned(),
            id: None,
            limit: i32::MAX,
            last_output: None,
            problems: SharedProblems::default(),
            is_restarting: false,
            gap: None,
        }
    }

    /// Returns the id of the input topic whose offsets are committed.
    pub(super) fn id(&self) -> Option<&TopicId> {
        self.id.as_ref()
    }

    /// Whether the records of a partition are left unprocessed, because an output topic has no such partition.
    pub(super) fn is_held(&self, partition: i32) -> bool {
        partition >= self.limit
    }

    /// Returns the present problems.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problems.text()
    }

    /// Checks an id that was read after the last record of a transaction: only if it is still the same, all its records come
    /// from the topic whose offsets are committed.
    ///
    /// # Errors
    /// A message, if the topic was recreated.
    pub(super) fn check(&mut self, now: Option<&TopicId>) -> Result<(), String> {
        if is_recreated(self.id.as_ref(), now) {
            self.is_restarting = true;
            return Err(format!("topic `{}` was deleted and recreated", self.input));
        }
        Ok(())
    }

    /// Notes that reading restarts because of a change.
    pub(super) fn restart(&mut self) {
        self.is_restarting = true;
    }

    /// Whether reading restarts because of a change.
    pub(super) fn is_restarting(&self) -> bool {
        self.is_restarting
    }

    /// Notes that reading has restarted.
    pub(super) fn restarted(&mut self) {
        self.is_restarting = false;
    }

    /// Starts with the input topic of this id. Returns whether it is another one than before.
    pub(super) fn start(&mut self, id: Option<TopicId>) -> bool {
        let is_other = is_recreated(self.id.as_ref(), id.as_ref());
        if is_other && let (Some(before), Some(now)) = (&self.id, &id) {
            warn_once(format!(
                "topic `{}` was deleted and recreated (id {before}, now {now}): starting at its beginning",
                self.input
            ));
        }
        if id.is_some() {
            self.id = id;
        }
        is_other
    }

    /// Notes the states of the input topic and of the output topics. Logs each problem when it starts and when it
    /// clears, once for all workers of the process.
    pub(super) fn note(&mut self, input: &TopicState, outputs: &[(&str, TopicState)]) -> Change {
        let limit = outputs.iter().filter_map(|(_, state)| partitions(state));
        let limit = limit.min().unwrap_or(i32::MAX);
        let previous = std::mem::replace(&mut self.limit, limit);
        self.problems.set(problems(&self.input, input, outputs));
        match input {
            TopicState::Exists { id, .. } if is_recreated(self.id.as_ref(), id.as_ref()) => {
                Change::Recreated
            }
            _ if limit > previous => Change::Released(previous),
            _ => Change::None,
        }
    }

    /// Whether the topic that records of whole transactions go to had this number of partitions when they were last counted.
    pub(super) fn has_counted(&self, partitions: usize) -> bool {
        self.last_output == Some(partitions)
    }

    /// Notes the number of that topic's partitions.
    pub(super) fn count(&mut self, partitions: usize) {
        self.last_output = Some(partitions);
    }

    /// Logs once if that topic has fewer partitions than the input.
    pub(super) fn compare(&self, topic: &str, partitions: usize, input: &TopicState) {
        match input {
            TopicState::Exists {
                partitions: wanted, ..
            } if partitions < *wanted => {
                warn_once(format!(
                    "topic `{topic}` has {partitions} partitions and `{}` has {wanted}: a worker that stops in a transaction \
                     delays the figures of others; add partitions with `iris-admin topics create`",
                    self.input
                ));
            }
            _ => {}
        }
    }

    /// Notes a record that does not follow the position.
    pub(super) fn skipped_to(&mut self, record: PartitionOffset, position: i64) {
        self.gap = Some(Gap {
            partition: record.partition,
            position,
            first: record.offset,
        });
    }

    /// Returns a gap that was not explained yet.
    pub(super) fn take_gap(&mut self) -> Option<Gap> {
        self.gap.take()
    }
}

/// Returns the number of partitions of an output topic; `None` if it is not known.
fn partitions(state: &TopicState) -> Option<i32> {
    match state {
        TopicState::Exists { partitions, .. } => {
            Some(i32::try_from(*partitions).unwrap_or(i32::MAX))
        }
        TopicState::Missing => Some(0),
        TopicState::Unknown(_) => None,
    }
}

/// Returns the problem with each topic that has one.
fn problems(
    input: &str,
    state: &TopicState,
    outputs: &[(&str, TopicState)],
) -> BTreeMap<String, String> {
    let wanted = match state {
        TopicState::Missing => return [(input.to_owned(), missing(input))].into(),
        TopicState::Exists { partitions, .. } => *partitions,
        TopicState::Unknown(_) => return BTreeMap::new(),
    };
    let problem = |topic: &str, state: &TopicState| match state {
        TopicState::Missing => Some(format!(
            "topic `{topic}` does not exist any more, and nothing is processed: create it with `iris-admin topics create`"
        )),
        TopicState::Exists { partitions, .. } if *partitions < wanted => Some(format!(
            "topic `{topic}` has {partitions} partitions and `{input}` has {wanted}, and those from {partitions} on are not \
             processed: run `kafka-topics.sh --alter --topic {topic} --partitions {wanted}`"
        )),
        _ => None,
    };
    outputs
        .iter()
        .filter_map(|(topic, state)| Some(((*topic).to_owned(), problem(topic, state)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exists(id: &str, partitions: usize) -> TopicState {
        TopicState::Exists {
            id: TopicId::new(id),
            partitions,
        }
    }

    fn topics() -> Topics {
        let mut topics = Topics::new("input");
        topics.start(TopicId::new("a"));
        topics
    }

    #[test]
    fn partitions_without_a_counterpart_are_held_until_it_exists() {
        let mut topics = topics();
        assert!(!topics.is_held(1_000), "nothing is known yet");
        let grown = exists("a", 6);
        assert_eq!(
            topics.note(&grown, &[("output", exists("o", 5))]),
            Change::None
        );
        assert!(!topics.is_held(4) && topics.is_held(5));
        assert_eq!(
            topics.problem(),
            Some(
                "topic `output` has 5 partitions and `input` has 6, and those from 5 on are not processed: run \
                 `kafka-topics.sh --alter --topic output --partitions 6`"
            )
        );
        let more = exists("o", 6);
        assert_eq!(
            topics.note(&grown, &[("output", more.clone())]),
            Change::Released(5)
        );
        assert!(!topics.is_held(5));
        assert_eq!(topics.problem(), None);
        assert_eq!(topics.note(&grown, &[("output", more)]), Change::None);
    }

    #[test]
    fn a_missing_topic_is_named_until_it_is_back() {
        let mut topics = topics();
        let output = [("output", exists("o", 5))];
        assert_eq!(topics.note(&TopicState::Missing, &output), Change::None);
        assert!(
            topics
                .problem()
                .unwrap()
                .starts_with("topic `input` does not exist any more")
        );
        assert_eq!(topics.note(&exists("b", 5), &output), Change::Recreated);
        assert_eq!(topics.problem(), None);
        let deleted = [("output", TopicState::Missing)];
        assert_eq!(topics.note(&exists("a", 5), &deleted), Change::None);
        assert!(topics.is_held(0));
        assert!(
            topics
                .problem()
                .unwrap()
                .starts_with("topic `output` does not exist any more")
        );
        assert_eq!(topics.note(&exists("a", 5), &output), Change::Released(0));
    }

    #[test]
    fn a_transaction_of_a_recreated_topic_is_refused_until_reading_has_restarted() {
        let mut topics = topics();
        let b = TopicId::new("b");
        assert!(topics.check(TopicId::new("a").as_ref()).is_ok());
        assert!(topics.check(None).is_ok(), "the brokers have no ids");
        assert_eq!(
            topics.check(b.as_ref()),
            Err("topic `input` was deleted and recreated".to_owned())
        );
        assert!(topics.start(b.clone()));
        assert!(topics.check(b.as_ref()).is_ok());
        assert!(!topics.start(b));
    }
}
