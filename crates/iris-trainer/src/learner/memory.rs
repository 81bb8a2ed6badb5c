//! The memory: the rows that the next challenger is trained on. They are the champion's rows, and the examples that no
//! champion has been trained on yet.
//!
//! An example stays until a champion has it: a challenger that is rejected or rolled back takes nothing with it. The place of
//! a row's prediction identifies the row, so a corrected label withdraws that row and no other. Deliberately absent: the
//! records that are held out to judge models.

mod fallback;
mod stored;

use std::collections::BTreeSet;

use crate::challenger::{KnownRow, Selection, TrainingExample};
use crate::settings::TrainerSettings;
use crate::verdict::TrainingCause;
use iris_core::{Artefact, Model, ModelVersion};
use iris_kafka::PartitionOffset;

use fallback::Fallback;

pub(crate) use stored::StoredMemory;

/// A memory is small, and a challenger is trained more often, until it has this many times `retrain_after_rows` rows.
const SMALL: usize = 4;

/// If training takes long, a challenger is trained when one of this many rows is new.
const SLOW: usize = 20;

/// A challenger that was trained from the memory.
#[derive(Clone, Debug, PartialEq)]
struct Candidate {
    version: ModelVersion,
    /// The rows that were learned from the stream, in order.
    rows: Vec<KnownRow>,
}

/// The rows for the next challenger.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// The champion's newest rows, as far as their predictions are known, oldest first.
    known: Vec<KnownRow>,
    /// Those of them that are left out, because their label was withdrawn or corrected.
    withdrawn: BTreeSet<KnownRow>,
    /// The examples that the champion was not trained on, in the order in which they came.
    examples: Vec<TrainingExample>,
    /// The number of the champion's oldest rows that are left out.
    forgotten: usize,
    /// Rows of records before this number are left out.
    first_record: u64,
    /// Whether a challenger must be better than the champion, and not only as good, because the memory has lost rows.
    needs_proof: bool,
    /// The number of labels so far.
    records: u64,
    /// The number of rows that were added or withdrawn since the last challenger was trained.
    new_rows: usize,
    /// The stream's time in milliseconds since which there have been any.
    since: Option<i64>,
    candidate: Option<Candidate>,
    /// The memory with the champion's predecessor.
    fallback: Option<Fallback>,
    /// The memory with the last champion that has passed its probation, if the champion is on probation and that is an earlier
    /// one.
    earlier: Option<Fallback>,
}

impl Memory {
    /// Counts a label. Returns its number.
    pub(crate) fn count(&mut self) -> u64 {
        self.records += 1;
        self.records
    }

    /// Adds an example.
    pub(crate) fn add(&mut self, example: TrainingExample) {
        if example.record >= self.first_record {
            self.examples.push(example);
            self.new_rows += 1;
        }
    }

    /// Removes the row of a prediction, if there is one. A row of the champion is left out of the next challenger.
    pub(crate) fn remove(&mut self, place: PartitionOffset) {
        let before = self.examples.len();
        self.examples.retain(|example| example.place != place);
        let known = self.known.iter().find(|row| row.place == place).copied();
        let is_withdrawn = known.is_some_and(|row| self.withdrawn.insert(row));
        if is_withdrawn {
            self.new_rows += 1;
        } else if self.examples.len() < before {
            self.new_rows = self.new_rows.saturating_sub(1);
        }
        let fallbacks = self.fallback.iter_mut().chain(&mut self.earlier);
        fallbacks.for_each(|fallback| fallback.remove(place));
        if self.new_rows == 0 {
            self.since = None;
        }
    }

    /// Notes the stream's time in milliseconds after a record, if it is the first one since which there have been new rows.
    pub(crate) fn wait_from(&mut self, now: Option<i64>) {
        if self.since.is_none() && self.new_rows > 0 {
            self.since = now;
        }
    }

    /// Leaves out all rows but those of the newest `records` records.
    pub(crate) fn keep_newest_records(&mut self, records: u64) {
        self.first_record = (self.records + 1).saturating_sub(records);
        self.forgotten = usize::MAX;
        self.needs_proof = true;
        self.drop_old_rows();
    }

    /// Whether a challenger must be better than the champion: until there is one, or the memory has as many rows as the champion.
    pub(crate) fn needs_proof(&self, champion_rows: usize) -> bool {
        self.needs_proof && self.rows(champion_rows) < champion_rows
    }

    /// Returns the number of rows for the next challenger. `champion_rows`: the number of the champion's rows.
    fn rows(&self, champion_rows: usize) -> usize {
        champion_rows - self.selection().left_out(champion_rows) + self.examples.len()
    }

    /// Leaves out the oldest rows of the champion, which has `rows`, so that `newest` are left.
    pub(crate) fn keep_newest_rows(&mut self, rows: usize, newest: usize) {
        let unknown = rows.saturating_sub(self.known.len());
        let oldest = rows.saturating_sub(newest);
        if let Some(first) = oldest
            .checked_sub(unknown)
            .and_then(|position| self.known.get(position))
        {
            self.first_record = self.first_record.max(first.record);
        }
        self.forgotten = self.forgotten.max(oldest.min(unknown));
        self.drop_old_rows();
    }

    fn drop_old_rows(&mut self) {
        let first = self.first_record;
        if first > 0 {
            let fallbacks = self.fallback.iter_mut().chain(&mut self.earlier);
            fallbacks.for_each(|fallback| fallback.keep_from(first));
        }
        self.examples.retain(|example| example.record >= first);
        self.new_rows = self.new_rows.min(self.examples.len());
    }

    /// Returns the number of the first record whose rows are not left out.
    pub(crate) fn first_record(&self) -> u64 {
        self.first_record
    }

    /// Returns the selection of rows for a challenger.
    pub(crate) fn selection(&self) -> Selection<'_> {
        Selection {
            known: &self.known,
            withdrawn: &self.withdrawn,
            forgotten: self.forgotten,
            first_record: self.first_record,
            records: self.records,
            examples: &self.examples,
        }
    }

    /// Returns the cause for training a challenger, if there is one. `champion_rows`: the number of the champion's rows;
    /// `is_slow`: whether training takes long; `now`: the stream's time in milliseconds; `is_end`: no more records are expected.
    pub(crate) fn training_cause(
        &self,
        champion_rows: usize,
        is_slow: bool,
        now: Option<i64>,
        has_drifted: bool,
        is_end: bool,
        settings: &TrainerSettings,
    ) -> Option<TrainingCause> {
        let age = now.zip(self.since);
        let age = age.map_or(0, |(now, since)| now.saturating_sub(since));
        let enough = self.enough_rows(champion_rows, is_slow, settings.retrain_after_rows);
        if has_drifted && !self.examples.is_empty() {
            Some(TrainingCause::Drift)
        } else if self.new_rows == 0 {
            None
        } else if self.new_rows >= enough {
            Some(TrainingCause::EnoughRows)
        } else if is_end {
            Some(TrainingCause::EndOfInput)
        } else if age.max(0).unsigned_abs() >= settings.retrain_after_ms {
            Some(TrainingCause::EnoughTime)
        } else {
            None
        }
    }

    /// Returns the number of new rows after which a challenger is trained: fewer while the memory has few rows because it has
    /// forgotten the others, and more if training takes long.
    fn enough_rows(&self, champion_rows: usize, is_slow: bool, wanted: usize) -> usize {
        let rows = self.rows(champion_rows);
        let enough = if self.first_record == 0 && self.forgotten == 0 {
            wanted
        } else {
            wanted.min((rows / SMALL).max(1))
        };
        if is_slow {
            enough.max(rows / SLOW)
        } else {
            enough
        }
    }

    /// Notes that a challenger was trained on these rows, in order. Examples above the limits of its training set are dropped.
    pub(crate) fn trained(&mut self, challenger: Option<&Artefact>, rows: Vec<KnownRow>) {
        self.new_rows = 0;
        self.since = None;
        self.examples
            .retain(|example| rows.binary_search(&KnownRow::from(example)).is_ok());
        self.candidate = challenger.map(|challenger| Candidate {
            version: challenger.model.version(),
            rows,
        });
    }

    /// Waits for more rows, after too few were left to train on.
    pub(crate) fn wait_for_rows(&mut self) {
        self.new_rows = 0;
        self.since = None;
    }

    /// Whether a model is the challenger that was trained last.
    pub(crate) fn has_trained(&self, version: ModelVersion) -> bool {
        let candidate = self.candidate.as_ref();
        candidate.is_some_and(|candidate| candidate.version == version)
    }

    /// Continues with a champion that was promoted. If it was trained from this memory, its rows are known. `is_on_probation`:
    /// whether its predecessor is still on probation.
    pub(crate) fn promoted(
        &mut self,
        version: ModelVersion,
        predecessor: ModelVersion,
        is_on_probation: bool,
    ) {
        let Some(candidate) = self
            .candidate
            .take_if(|candidate| candidate.version == version)
        else {
            self.replaced();
            return;
        };
        let is_in_it = |example: &TrainingExample| {
            let row = KnownRow::from(example);
            candidate.rows.binary_search(&row).is_ok()
        };
        let (taken, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.examples)
            .into_iter()
            .partition(is_in_it);
        let mut new_rows: Vec<KnownRow> = taken.iter().map(KnownRow::from).collect();
        new_rows.sort_unstable();
        let is_valid = |row: &KnownRow| {
            let is_there =
                self.known.binary_search(row).is_ok() || new_rows.binary_search(row).is_ok();
            is_there && !self.withdrawn.contains(row)
        };
        let corrected = candidate.rows.iter().filter(|row| !is_valid(row));
        let withdrawn = corrected.copied().collect();
        self.examples = left;
        let fallback = self.fallback.replace(Fallback {
            version: predecessor,
            known: std::mem::replace(&mut self.known, candidate.rows),
            withdrawn: std::mem::replace(&mut self.withdrawn, withdrawn),
            forgotten: std::mem::take(&mut self.forgotten),
        });
        let earlier = self.earlier.take().or(fallback);
        self.earlier = earlier.filter(|_| is_on_probation);
        self.needs_proof = false;
    }

    /// Continues with a former champion, in place of `champion`. If the memory with it is known, the rows that it does not have
    /// become examples again.
    pub(crate) fn rolled_back(&mut self, version: ModelVersion, champion: &Model) {
        let mut fallbacks = [self.fallback.take(), self.earlier.take()]
            .into_iter()
            .flatten();
        let Some(fallback) = fallbacks.find(|fallback| fallback.version == version) else {
            self.replaced();
            return;
        };
        let mut examples = fallback.missing(champion, self.selection());
        self.needs_proof = false;
        self.known = fallback.known;
        self.withdrawn = fallback.withdrawn;
        examples.append(&mut self.examples);
        self.examples = examples;
        self.forgotten = fallback.forgotten;
        if self.first_record > 0 {
            self.forgotten = usize::MAX;
        }
        self.drop_old_rows();
        self.candidate = None;
    }

    /// Continues with a champion whose rows are not known.
    pub(crate) fn replaced(&mut self) {
        self.needs_proof = false;
        self.known.clear();
        self.withdrawn.clear();
        self.forgotten = 0;
        self.candidate = None;
        self.fallback = None;
        self.earlier = None;
    }
}

#[cfg(test)]
mod tests;
