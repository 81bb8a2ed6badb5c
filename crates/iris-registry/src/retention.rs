//! Which rows, decisions and descriptions the registry keeps.
//!
//! The registry is bounded: the newest decisions are kept, a description as long as the model's rows or a decision about it, and
//! the rows of the models that may be served again. A block of rows is deleted with the last model that lists it. All of it
//! depends on the registry alone, so the same decisions delete the same records.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use iris_contract::registry::{Action, Entry};
use iris_core::{BlockId, Description, ModelVersion};

use crate::registered::Registered;
use crate::registry::Registry;

/// The maximum number of decisions that made a champion, besides the first one, and of rejections.
pub const MAX_DECISIONS: usize = 250;

/// The models that keep their rows, besides the champion, its predecessor, the first champion, the dataset's newest model, and the
/// model that was imported last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The number of former champions.
    pub retired: usize,
    /// The challenger that runs in shadow.
    pub in_shadow: Option<ModelVersion>,
    /// The former champion that the champion is compared with during its probation.
    pub on_probation_against: Option<ModelVersion>,
}

/// The records to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The models whose rows are deleted, and the size in bytes of the records that are deleted. Those that another model
    /// keeps are not deleted; those that several of these models share are counted for the first one.
    pub models: BTreeMap<ModelVersion, usize>,
    /// The entries to write.
    pub entries: Vec<Entry>,
}

/// Returns the entry that replaces a description by one without rows, if it has or lists rows.
fn without_listed_rows(version: ModelVersion, model: &Registered) -> Option<Entry> {
    let description = model.description.as_ref().ok()?;
    let has_rows = model.is_inline() || !model.blocks().is_empty();
    let description = Description {
        registered_ms: model.timestamp,
        ..description.clone().without_rows()
    };
    has_rows.then(|| Entry::description(version, &description))
}

impl Registry {
    /// Returns the entries that delete the rows of models that are not retained, rows without a model, and all that `forget`
    /// deletes. Refused models are left alone: a later program may read them.
    #[must_use]
    pub fn prune(&self, retention: Retention) -> Pruned {
        let retained = self.retained(retention);
        let keeps_rows = |version: ModelVersion| {
            let is_refused = |model: &Registered| model.description.is_err();
            retained.contains(&version) || self.model(version).is_some_and(is_refused)
        };
        let keepers = self.models().filter(|&(version, _)| keeps_rows(version));
        let kept: BTreeSet<&BlockId> = keepers.flat_map(|(_, model)| model.blocks()).collect();
        let blocks = self
            .rows()
            .blocks()
            .filter(|(block, _)| !kept.contains(block));
        let mut blocks: BTreeMap<BlockId, usize> = blocks
            .map(|(block, record)| (block, record.bytes))
            .collect();
        let mut pruned = Pruned::default();
        let deletions = blocks.keys().map(|&block| Entry::without_block(block));
        pruned.entries.extend(deletions);
        for (version, model) in self.models() {
            if !keeps_rows(version)
                && let Some(entry) = without_listed_rows(version, model)
            {
                let listed = model.blocks().iter();
                let freed: usize = listed.filter_map(|block| blocks.remove(block)).sum();
                let inline = if model.is_inline() { model.bytes } else { 0 };
                pruned.models.insert(version, freed + inline);
                pruned.entries.push(entry);
            }
        }
        for version in self.rows().models_in_parts() {
            let is_replaced = self
                .model(version)
                .is_some_and(|model| !model.blocks().is_empty());
            if keeps_rows(version) && !is_replaced {
                continue;
            }
            let numbers = self.rows().numbers(version);
            let deletions = numbers.map(|part| Entry::without_part(version, part));
            pruned.entries.extend(deletions);
            if !keeps_rows(version) {
                let bytes = self.rows().parts(version).map(|part| part.bytes);
                *pruned.models.entry(version).or_default() += bytes.sum::<usize>();
            }
        }
        let forgotten = self.with(&pruned.entries).forget();
        let keys: BTreeSet<&str> = forgotten.iter().map(|entry| entry.key.as_str()).collect();
        pruned
            .entries
            .retain(|entry| !keys.contains(entry.key.as_str()));
        pruned.entries.extend(forgotten);
        pruned
    }

    /// Returns the models that keep their rows.
    fn retained(&self, retention: Retention) -> BTreeSet<ModelVersion> {
        let in_use = self.succession().into_iter().take(2);
        let mut retained: BTreeSet<ModelVersion> = in_use.collect();
        retained.extend(self.champion());
        retained.extend(retention.in_shadow);
        retained.extend(retention.on_probation_against);
        let first = self.decisions().next().map(|recorded| &recorded.decision);
        let first = first.filter(|first| first.action == Action::Adopted);
        retained.extend(first.map(|first| first.version));
        for is_imported in [false, true] {
            retained.extend(self.newest(|_, known| {
                let kind = known.content.kind();
                known.lineage.parent.is_none() && kind.is_imported() == is_imported
            }));
        }
        let retired = self.retired().into_iter();
        let retired = retired.filter(|version| !retained.contains(version));
        let retired: Vec<_> = retired.take(retention.retired).collect();
        retained.extend(retired);
        retained
    }

    /// Returns the former champions that have rows, those that were the champion last first.
    fn retired(&self) -> Vec<ModelVersion> {
        let mut last: BTreeMap<ModelVersion, u64> = BTreeMap::new();
        let decisions = self.decisions().map(|recorded| &recorded.decision);
        for decision in decisions.filter(|decision| decision.action.makes_champion()) {
            let versions = [decision.replaces, Some(decision.version)];
            last.extend(
                versions
                    .into_iter()
                    .flatten()
                    .map(|version| (version, decision.number)),
            );
        }
        let has_rows = |(version, _): &(ModelVersion, u64)| self.has_rows(*version);
        let mut retired: Vec<(ModelVersion, u64)> = last.into_iter().filter(has_rows).collect();
        retired.sort_unstable_by_key(|&(version, number)| (std::cmp::Reverse(number), version));
        retired.into_iter().map(|(version, _)| version).collect()
    }

    /// Returns the challenger that may be running in shadow: the newest one that has rows and no decision about it.
    #[must_use]
    pub fn newest_undecided(&self) -> Option<ModelVersion> {
        let decided: BTreeSet<ModelVersion> = self
            .decisions()
            .map(|recorded| recorded.decision.version)
            .collect();
        self.newest(|version, known| known.lineage.parent.is_some() && !decided.contains(&version))
    }

    /// Returns the newest model that has rows and fulfils a condition.
    fn newest(
        &self,
        is_wanted: impl Fn(ModelVersion, &Description) -> bool,
    ) -> Option<ModelVersion> {
        let wanted = self.models().filter(|&(version, model)| {
            let known = model.description.as_ref();
            known.is_ok_and(|known| is_wanted(version, known)) && self.has_rows(version)
        });
        let newest = wanted.max_by_key(|(_, model)| model.offset);
        newest.map(|(version, _)| version)
    }

    /// Returns the entries that delete all decisions but the first one and the newest of each kind, and the descriptions of
    /// models without rows and without decisions.
    pub(crate) fn forget(&self) -> Vec<Entry> {
        let (mut champions, mut rejections) = (0, 0);
        let (mut kept, mut forgotten) = (BTreeSet::new(), Vec::new());
        for recorded in self.decisions().rev() {
            let decision = &recorded.decision;
            let of_its_kind = if decision.action.makes_champion() {
                &mut champions
            } else {
                &mut rejections
            };
            *of_its_kind += 1;
            if *of_its_kind > MAX_DECISIONS && decision.action != Action::Adopted {
                forgotten.push(Entry::without_decision(decision.number));
            } else {
                kept.insert(decision.version);
            }
        }
        let is_forgotten = |&(version, model): &(ModelVersion, &Registered)| {
            model.description.is_ok() && self.row_bytes(version) == 0 && !kept.contains(&version)
        };
        let models = self.models().filter(is_forgotten);
        forgotten.extend(models.map(|(version, _)| Entry::without_description(version)));
        forgotten
    }
}
