//! The identity of the feedback topic. It may be recreated while the sink runs, and its rows must not be mixed up with those of
//! the previous topic.

use std::time::Duration;

use iris_feedback_store::FeedbackStore;
use iris_kafka::{Consumer, Positions, TopicId, TopicState, is_recreated};
use tracing::{error, info, warn};

use crate::pipeline::Sink;
use crate::source::Source;

/// How long a request for the topic's id may take.
const ID_TIMEOUT: Duration = Duration::from_secs(3);

/// How long one wait lasts while the topic is not known.
const WAIT: Duration = Duration::from_millis(500);

/// Whether records that have been read belong to the known topic.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Recreated,
    /// It cannot be determined now, for this reason.
    Unknown(String),
}

/// Compares the topic's id with the state of the topic after records were read.
fn judge(topic: &str, known: Option<&TopicId>, now: &TopicState) -> Verdict {
    match now {
        TopicState::Exists { id, .. } if is_recreated(known, id.as_ref()) => Verdict::Recreated,
        TopicState::Exists { .. } => Verdict::Same,
        TopicState::Missing => Verdict::Unknown(format!(
            "topic `{topic}` does not exist any more: create it with `iris-admin topics create`; it is then read from its \
             beginning"
        )),
        TopicState::Unknown(code) => {
            Verdict::Unknown(format!("cannot read the id of topic `{topic}`: {code}"))
        }
    }
}

impl Sink {
    /// Returns the state of the topic.
    ///
    /// # Errors
    /// A message, if no broker answers in time.
    fn topic_state(&self) -> Result<TopicState, String> {
        let states = self.watcher.states(ID_TIMEOUT);
        let states = states.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
        Ok(states.into_iter().next().unwrap_or(TopicState::Missing))
    }

    /// Waits until the topic exists, and takes the store's offsets of it. Records that are read meanwhile are dropped. Returns
    /// false if the service is stopped first.
    pub(crate) fn identify(
        &self,
        consumer: &Consumer,
        store: &FeedbackStore,
    ) -> anyhow::Result<bool> {
        let mut reported = None;
        while !self.caller.stop.is_cancelled() {
            let state = self.topic_state();
            let problem = match state.map(|state| (judge(self.topic(), None, &state), state)) {
                Err(problem) | Ok((Verdict::Unknown(problem), _)) => problem,
                Ok((_, state)) => {
                    if let Some(problem) = reported {
                        info!("resolved: {problem}");
                    }
                    let id = match state {
                        TopicState::Exists { id, .. } => id,
                        TopicState::Missing | TopicState::Unknown(_) => None,
                    };
                    return self.take(consumer, store, id);
                }
            };
            self.caller.part.report(Some(problem.clone()));
            if reported.as_ref() != Some(&problem) {
                error!("{problem}");
                reported = Some(problem);
            }
            // The group's rebalances are served meanwhile.
            consumer.read(WAIT)?;
        }
        Ok(false)
    }

    /// Takes the store's offsets of the topic with this id. Returns false if the service is stopped first.
    fn take(
        &self,
        consumer: &Consumer,
        store: &FeedbackStore,
        id: Option<TopicId>,
    ) -> anyhow::Result<bool> {
        let topic = self.topic();
        let name = match &id {
            None => Some(topic.to_owned()),
            Some(id) => {
                let id = id.to_string();
                self.caller
                    .call("read_topic", async || store.source_topic(topic, &id).await)?
            }
        };
        let Some(name) = name else { return Ok(false) };
        let needs_consumer = is_recreated(self.source().id.as_ref(), id.as_ref());
        if needs_consumer {
            warn!("topic `{topic}` was deleted and recreated: reading it from its beginning");
            consumer.note_recreated();
        }
        if name != topic {
            info!(
                "rows of topic `{topic}` have the source topic `{name}`, because the store has rows of a previous one"
            );
        }
        *self.source() = Source {
            name,
            id,
            positions: Positions::new(),
            is_reported: false,
            needs_consumer,
        };
        let Some(positions) = self.stored_offsets(store) else {
            return Ok(false);
        };
        self.source().positions = positions;
        Ok(true)
    }

    /// Checks that the records that have been read belong to the known topic. If they may not, restarts reading at the store's
    /// offsets of the present topic; if it was recreated, the consumer must be replaced first. Returns whether they belong to it.
    ///
    /// # Errors
    /// If reading cannot restart.
    pub(crate) fn confirm(
        &self,
        consumer: &Consumer,
        store: &FeedbackStore,
    ) -> anyhow::Result<bool> {
        let known = self.source().id.clone();
        let verdict = match self.topic_state() {
            Ok(state) => judge(self.topic(), known.as_ref(), &state),
            Err(problem) => Verdict::Unknown(problem),
        };
        if verdict == Verdict::Same {
            return Ok(true);
        }
        if self.identify(consumer, store)? && !self.source().needs_consumer {
            let positions = self.source().positions.clone();
            consumer.restart_at(&positions)?;
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_belong_to_the_known_topic_to_another_one_or_it_is_not_known() {
        let exists = |id: &str| TopicState::Exists {
            id: TopicId::new(id),
            partitions: 5,
        };
        let known = TopicId::new("a");
        let known = known.as_ref();
        assert_eq!(judge("t", known, &exists("a")), Verdict::Same);
        assert_eq!(judge("t", None, &exists("a")), Verdict::Same);
        assert_eq!(judge("t", known, &exists("b")), Verdict::Recreated);
        let Verdict::Unknown(problem) = judge("t", known, &TopicState::Missing) else {
            panic!("it is missing")
        };
        assert!(
            problem.starts_with("topic `t` does not exist any more"),
            "{problem}"
        );
    }
}
