//! The state of the registry.
//!
//! The log of entries alone rebuilds all of it: a decision and its consequences are written together.
//!
//! Deliberately absent: how the log is read and written, and how concurrent decisions get an order.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use iris_contract::registry::{Action, ChampionPointer, Decision, Entry, RegistryRecord};
use iris_core::{ArtefactError, BlockId, Description, ModelVersion};

use crate::error::RegistryError;
use crate::registered::Registered;
use crate::stored::{StoredRecord, StoredRows};

/// The reason and the figures of a decision that is not numbered yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grounds {
    /// The service that decides.
    pub by: String,
    /// The reason in words.
    pub reason: String,
    /// The figures that it is based on, by name.
    pub figures: BTreeMap<String, f64>,
}

/// A decision and its timestamp, in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The decision.
    pub decision: Decision,
    /// The timestamp of its record.
    pub timestamp: Option<i64>,
}

/// The models, the decisions and the champion. A copy is cheap: each decision is tried on one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    models: BTreeMap<ModelVersion, Arc<Registered>>,
    rows: StoredRows,
    decisions: BTreeMap<u64, Arc<Recorded>>,
    champion: Option<ChampionPointer>,
}

impl Registry {
    /// Applies the next record of the log. A refused record changes nothing, except that a corrupt block replaces its
    /// predecessor, so that it is missing.
    ///
    /// # Errors
    /// [`RegistryError`] that names the record.
    pub fn apply(
        &mut self,
        offset: i64,
        timestamp: Option<i64>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RegistryError> {
        self.apply_checked(offset, timestamp, (key, value), BlockId::check)
    }

    /// Applies a record, whose rows `check` checks if it is a block.
    fn apply_checked(
        &mut self,
        offset: i64,
        timestamp: Option<i64>,
        (key, value): (&[u8], Option<&[u8]>),
        check: impl FnOnce(BlockId, &[u8]) -> Result<(), ArtefactError>,
    ) -> Result<(), RegistryError> {
        let stored = |json: Option<&[u8]>| {
            json.map(|json| StoredRecord {
                offset,
                bytes: json.len(),
            })
        };
        match RegistryRecord::read(key, value)? {
            RegistryRecord::Model(version, Some(json)) => {
                let registered = Registered::read(offset, timestamp, json);
                self.models.insert(version, Arc::new(registered));
            }
            RegistryRecord::Model(version, None) => {
                self.models.remove(&version);
            }
            RegistryRecord::Block(block, json) => {
                let checked = json.map_or(Ok(()), |json| check(block, json));
                let record = checked.is_ok().then(|| stored(json)).flatten();
                self.rows.set_block(block, record);
                checked.map_err(|problem| RegistryError::Block { block, problem })?;
            }
            RegistryRecord::Part(version, part, json) => {
                self.rows.set_part(version, part, stored(json));
            }
            RegistryRecord::Champion(pointer) => self.champion = pointer,
            RegistryRecord::Decision(_, Some(decision)) => {
                let recorded = Recorded {
                    decision,
                    timestamp,
                };
                self.decisions
                    .insert(recorded.decision.number, Arc::new(recorded));
            }
            RegistryRecord::Decision(number, None) => {
                self.decisions.remove(&number);
            }
        }
        Ok(())
    }

    /// Returns the champion's version.
    #[must_use]
    pub fn champion(&self) -> Option<ModelVersion> {
        self.champion.map(|pointer| pointer.version)
    }

    /// Returns the models, ordered by version.
    #[must_use]
    pub fn models(&self) -> impl ExactSizeIterator<Item = (ModelVersion, &Registered)> {
        let models = self.models.iter();
        models.map(|(&version, model)| (version, &**model))
    }

    /// Returns a model.
    #[must_use]
    pub fn model(&self, version: ModelVersion) -> Option<&Registered> {
        self.models.get(&version).map(Arc::as_ref)
    }

    /// Whether all rows of a model are there, so that it can be loaded.
    #[must_use]
    pub fn has_rows(&self, version: ModelVersion) -> bool {
        self.usable(version).is_ok()
    }

    /// Returns the size of a model's rows in bytes, including those that it shares with other models; in format 1, with the
    /// description.
    #[must_use]
    pub fn row_bytes(&self, version: ModelVersion) -> usize {
        let rows = self.records(version).into_iter().map(|record| record.bytes);
        let inline = self.models.get(&version);
        let inline = inline.filter(|model| model.is_inline());
        rows.sum::<usize>() + inline.map_or(0, |model| model.bytes)
    }

    /// Returns the size of a model in bytes: its description and its rows, including those that it shares with other models.
    #[must_use]
    pub fn model_bytes(&self, version: ModelVersion) -> usize {
        let rows = self.records(version).into_iter().map(|record| record.bytes);
        let description = self.models.get(&version);
        rows.sum::<usize>() + description.map_or(0, |model| model.bytes)
    }

    /// Returns the size of the largest record of a model in bytes.
    #[must_use]
    pub fn largest_record(&self, version: ModelVersion) -> usize {
        let rows = self
            .records(version)
            .iter()
            .map(|record| record.bytes)
            .max();
        let description = self.models.get(&version).map(|model| model.bytes);
        rows.max(description).unwrap_or_default()
    }

    /// Returns the records of a model's rows that are there.
    fn records(&self, version: ModelVersion) -> Vec<StoredRecord> {
        let listed = self.models.get(&version).map(|model| model.blocks());
        let mut records = self.rows.blocks_of(listed.unwrap_or_default());
        records.extend(self.rows.parts(version));
        records
    }

    /// Returns the records of all rows.
    pub(crate) fn rows(&self) -> &StoredRows {
        &self.rows
    }

    /// Returns the offset of a model's first record.
    pub(crate) fn first_offset(&self, version: ModelVersion) -> Option<i64> {
        let description = self.models.get(&version)?.offset;
        let rows = self.records(version).into_iter();
        rows.map(|record| record.offset).chain([description]).min()
    }

    /// Returns the decisions in their order.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Recorded> {
        self.decisions.values().map(Arc::as_ref)
    }

    /// Returns the decision that made the champion.
    #[must_use]
    pub fn champion_decision(&self) -> Option<&Decision> {
        self.decisions
            .values()
            .map(|recorded| &recorded.decision)
            .rfind(|decision| decision.action.makes_champion())
    }

    /// Returns the number of the next decision.
    #[must_use]
    pub fn next_decision(&self) -> u64 {
        self.decisions
            .keys()
            .next_back()
            .map_or(1, |latest| latest + 1)
    }

    /// Whether these entries were written: their models exist, their decisions are recorded unchanged, the champion is theirs
    /// or a later one, and the keys that they delete are gone. The last of several entries with the same key counts.
    #[must_use]
    pub fn has(&self, entries: &[Entry]) -> bool {
        let last: BTreeMap<&str, &Entry> = entries.iter().map(|e| (e.key.as_str(), e)).collect();
        last.into_values().all(|entry| self.has_entry(entry))
    }

    fn has_entry(&self, entry: &Entry) -> bool {
        match RegistryRecord::read(entry.key.as_bytes(), entry.value.as_deref()) {
            Ok(RegistryRecord::Model(version, json)) => {
                let known = self.models.get(&version).map(|model| model.rows());
                let wanted = json.map(|json| Description::read(json).ok());
                known
                    == wanted
                        .as_ref()
                        .map(|wanted| wanted.as_ref().map(|wanted| &wanted.rows))
            }
            Ok(RegistryRecord::Block(block, json)) => self.rows.has_block(block) == json.is_some(),
            Ok(RegistryRecord::Part(version, part, json)) => {
                self.rows.has_part(version, part) == json.is_some()
            }
            Ok(RegistryRecord::Decision(_, Some(wanted))) => {
                let made = self.decisions.get(&wanted.number);
                made.is_some_and(|made| made.decision == wanted)
            }
            Ok(RegistryRecord::Decision(number, None)) => !self.decisions.contains_key(&number),
            Ok(RegistryRecord::Champion(Some(wanted))) => self
                .champion
                .is_some_and(|pointer| pointer.decision >= wanted.decision),
            _ => false,
        }
    }

    /// Returns the registry after these entries are written.
    #[must_use]
    pub fn with(&self, entries: &[Entry]) -> Self {
        let mut after = self.clone();
        after.apply_written(entries);
        after
    }

    /// Applies entries that are written, before they can be read.
    pub fn apply_written(&mut self, entries: &[Entry]) {
        // Later than all that were read.
        let offsets = i64::MAX / 2..;
        for (offset, entry) in offsets.zip(entries) {
            // An entry that this program writes can be read, and its rows are those of the model.
            let record = (entry.key.as_bytes(), entry.value.as_deref());
            let _ = self.apply_checked(offset, None, record, |_, _| Ok(()));
        }
    }

    /// Returns the champion, then the models that successive rollbacks would restore.
    #[must_use]
    pub fn succession(&self) -> Vec<ModelVersion> {
        let mut succession: Vec<ModelVersion> = Vec::new();
        for recorded in self.decisions.values() {
            let decision = &recorded.decision;
            if !decision.action.makes_champion() {
                continue;
            }
            // Decisions between the first one and this one may have been deleted.
            if succession.last() != decision.replaces.as_ref() {
                succession.extend(decision.replaces);
            }
            if decision.action == Action::RolledBack {
                succession.pop();
                let is_target = |version: &ModelVersion| *version == decision.version;
                if let Some(target) = succession.iter().rposition(is_target) {
                    succession.truncate(target + 1);
                    continue;
                }
            }
            succession.push(decision.version);
        }
        succession.reverse();
        succession
    }
}
