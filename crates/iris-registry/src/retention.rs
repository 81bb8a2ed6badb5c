//! Which rows, decisions and descriptions the registry keeps.
//!
//! The registry is bounded: the newest decisions are kept, a description as long as the model's rows or a decision about it, and
//! the rows of the models that may be served again. All of it depends on the registry alone, so the same decisions delete the
//! same records.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use iris_contract::registry::{Action, Entry};
use iris_core::{Description, ModelVersion, RowStorage};

use crate::registry::{Registered, Registry};

/// The maximum number of decisions that made a champion, besides the first one, and of rejections.
pub const MAX_DECISIONS: usize = 250;

/// The models that keep their rows, besides the champion, its predecessor, the first champion and the dataset's newest model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The number of former champions.
    pub retired: usize,
    /// The challenger that runs in shadow.
    pub in_shadow: Option<ModelVersion>,
}

/// The records to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The models whose rows are deleted, and the size of these rows in bytes.
    pub models: BTreeMap<ModelVersion, usize>,
    /// The entries to write.
    pub entries: Vec<Entry>,
}

impl Registry {
    /// Returns the entries that delete the rows of models that are not retained, and all that `forget`
    /// deletes. Refused models are left alone: a later program may read them.
    #[must_use]
    pub fn prune(&self, retention: Retention) -> Pruned {
        let retained = self.retained(retention);
        let registered = self.models().iter();
        let inline = registered.filter(|(_, model)| model.rows() == Some(RowStorage::Inline));
        let with_rows = inline.map(|(&version, _)| version);
        let is_pruned = |version: &ModelVersion| {
            let is_refused = |model: &Registered| model.description.is_err();
            !retained.contains(version) && !self.model(*version).is_some_and(is_refused)
        };
        let models: BTreeMap<ModelVersion, usize> = with_rows
            .chain(self.versions_of_rows())
            .filter(is_pruned)
            .map(|version| (version, self.row_bytes(version)))
            .collect();
        let mut entries = Vec::new();
        for &version in models.keys() {
            let parts = self.parts(version);
            entries.extend(parts.map(|(part, _)| Entry::without_rows(version, part)));
            entries.extend(self.without_inline_rows(version));
        }
        let forgotten = self.with(&entries).forget();
        entries.extend(forgotten);
        Pruned { models, entries }
    }

    /// Returns the entry that replaces an artefact of format 1 by its description.
    fn without_inline_rows(&self, version: ModelVersion) -> Option<Entry> {
        let model = self.model(version)?;
        let description = model.description.as_ref().ok()?;
        let description = Description {
            rows: RowStorage::Parts(0),
            registered_ms: model.timestamp,
            ..description.clone()
        };
        (model.rows() == Some(RowStorage::Inline))
            .then(|| Entry::description(version, &description))
    }

    /// Returns the models that keep their rows.
    fn retained(&self, retention: Retention) -> BTreeSet<ModelVersion> {
        let in_use = self.succession().into_iter().take(2);
        let mut retained: BTreeSet<ModelVersion> = in_use.collect();
        retained.extend(self.champion());
        retained.extend(retention.in_shadow);
        let first = self.decisions().next().map(|recorded| &recorded.decision);
        let first = first.filter(|first| first.action == Action::Adopted);
        retained.extend(first.map(|first| first.version));
        retained.extend(self.newest(|_, known| known.lineage.parent.is_none()));
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
        let models = self.models().iter();
        let wanted = models.filter(|&(&version, model)| {
            let known = model.description.as_ref();
            known.is_ok_and(|known| is_wanted(version, known)) && self.has_rows(version)
        });
        let newest = wanted.max_by_key(|(_, model)| model.offset);
        newest.map(|(&version, _)| version)
    }

    /// Returns the entries that delete all decisions but the first one and the newest of each kind, and the descriptions of models without rows
    /// and without decisions.
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
        let is_forgotten = |&(version, model): &(&ModelVersion, &Registered)| {
            model.description.is_ok() && self.row_bytes(*version) == 0 && !kept.contains(version)
        };
        let models = self.models().iter().filter(is_forgotten);
        forgotten.extend(models.map(|(&version, _)| Entry::without_description(version)));
        forgotten
    }
}
