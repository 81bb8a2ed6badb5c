//! The writing side of a session: makes the decisions that are due, and commits them with the state.
//!
//! Decisions that are made while a transaction is being written are committed together in the next one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iris_contract::loop_figures::FIGURES_KEY;
use tracing::info;

use super::committer::{Committed, Content, Transaction, Waiting};
use super::error::SessionError;
use super::session::Session;
use crate::checkpoint::Checkpoint;
use crate::decision::{DecisionResult, TrainingInput, decide};

impl Session<'_> {
    /// Makes all decisions that are due. A concurrent decision of another writer that is not known yet has fenced this
    /// writer, so that the commit is refused.
    pub(super) fn decide_what_is_due(&mut self, is_end: bool) -> Result<(), SessionError> {
        while let Some(due) = self.learner.due(is_end) {
            let begun = Instant::now();
            self.follow_registry()?;
            if self.follow_champion()? {
                // Another decision may be due now.
                continue;
            }
            let storage = self.context.storage.borrow();
            let input = TrainingInput {
                sources: &self.sources,
                holdout: &self.context.holdout,
                storage: &storage,
            };
            let result = decide(&mut self.learner, &self.registry, due, input);
            drop(storage);
            match result {
                Some(result) => self.carry_out(result, begun)?,
                None => self.has_changes = true,
            }
        }
        Ok(())
    }

    /// Takes the registry's records that are available.
    pub(super) fn follow_registry(&mut self) -> Result<(), SessionError> {
        let mut is_changed = false;
        while self.follower.wait(Duration::ZERO)? {
            is_changed = true;
        }
        // Until then, the own entries are known before they can be read.
        if is_changed && self.waiting.is_empty() && self.follower.registry().has(&self.written) {
            self.registry = self.follower.registry().clone();
        }
        Ok(())
    }

    /// Logs a decision, and submits it unless a transaction is being written.
    fn carry_out(&mut self, result: DecisionResult, begun: Instant) -> Result<(), SessionError> {
        if let Some((version, training)) = result.outcome.trained() {
            info!("trained challenger {version} {training}");
        }
        self.registry = result.registry;
        self.waiting.entries.extend(result.entries);
        self.waiting.decisions.push((result.outcome, begun));
        self.has_changes = true;
        if self.waiting.decisions.len() >= self.context.storage.borrow().max_decisions() {
            self.finish_commit()?;
        }
        self.follow_commit()
    }

    /// Logs and counts the transaction if it is committed, and then submits the decisions that wait for it.
    pub(super) fn follow_commit(&mut self) -> Result<(), SessionError> {
        if let Some(committed) = self.committer.finish_if_done()? {
            self.committed(committed);
        }
        if self.committer.is_idle() {
            self.submit_waiting()?;
        }
        Ok(())
    }

    fn submit_waiting(&mut self) -> Result<(), SessionError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.submit()
    }

    /// Writes the state and the offsets, and waits until they are committed.
    ///
    /// # Errors
    /// [`SessionError`] if a topic has changed, the transaction failed or another writer has fenced this one.
    pub(crate) fn commit(&mut self) -> Result<(), SessionError> {
        self.submit()?;
        self.finish_commit()
    }

    /// Submits the decisions, the late feedback, the state and the offsets as one transaction, if the topics that were read are
    /// still the ones that the offsets belong to. Waits until the previous transaction is committed.
    pub(super) fn submit(&mut self) -> Result<(), SessionError> {
        self.finish_commit()?;
        let feedback = self.learner.take_feedback();
        let (state, blocks) = self.learner.store();
        let checkpoint = Checkpoint {
            sources: self.sources.clone(),
            topic_ids: self.topic_ids.clone(),
            times: self.times(),
            state,
        };
        let mut state = self.checkpoint_writer.changes(&checkpoint, blocks);
        // Readers of the figures expect them at the end of the topic.
        let figures = self.learner.evaluation().figures();
        state.push((FIGURES_KEY.to_owned(), Some(figures.value())));
        let Waiting { entries, decisions } = std::mem::take(&mut self.waiting);
        if !entries.is_empty() {
            self.written.clone_from(&entries);
        }
        let content = Content {
            decisions,
            figures,
            feedback: feedback.len(),
        };
        let transaction = Transaction {
            entries,
            feedback,
            state,
        };
        self.committer.submit(transaction, content);
        self.has_changes = false;
        self.submitted = Instant::now();
        Ok(())
    }

    /// Waits until the transaction that was submitted is committed.
    pub(super) fn finish_commit(&mut self) -> Result<(), SessionError> {
        if let Some(committed) = self.committer.finish()? {
            self.committed(committed);
        }
        Ok(())
    }

    /// Logs and counts a transaction that is committed.
    pub(super) fn committed(&mut self, committed: Committed) {
        let Committed { content, at } = committed;
        let metrics = &self.context.metrics;
        metrics.committed(&self.learner, &content.figures, content.feedback);
        for (outcome, begun) in content.decisions {
            self.summary.count_decision(&outcome);
            metrics.decided(&outcome, at.saturating_duration_since(begun));
            info!("{outcome}");
        }
    }

    /// Returns the stream's time at each partition's last record, by topic.
    fn times(&self) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let mut times: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for ((topic, partition), time) in self.merge.since() {
            let name = self.context.topic_name(topic).to_owned();
            times.entry(name).or_default().insert(partition, time);
        }
        times
    }
}
