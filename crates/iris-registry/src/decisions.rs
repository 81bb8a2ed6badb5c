//! The decisions that a registry allows, as the entries to write.

use iris_contract::registry::{Action, ChampionPointer, Decision, Entry};
use iris_core::{Artefact, ArtefactError, ModelVersion};

use crate::error::RegistryError;
use crate::registry::{Grounds, Registry};

impl Registry {
    /// Returns the entries that register a model without a decision, unless it is registered with its rows. It becomes the
    /// champion if there is none.
    #[must_use]
    pub fn offer(&self, artefact: &Artefact, grounds: Grounds) -> Vec<Entry> {
        if self.champion().is_none() {
            self.enter(artefact, true, grounds)
        } else {
            self.write_missing(artefact)
        }
    }

    /// Returns the entries that register a new model and promote or reject it. The rows of a rejected model are not written;
    /// if it is registered with its rows, it keeps them until they are [pruned](Self::prune).
    #[must_use]
    pub fn enter(&self, artefact: &Artefact, is_promoted: bool, grounds: Grounds) -> Vec<Entry> {
        let action = match (is_promoted, self.champion()) {
            (false, _) => Action::Rejected,
            (true, None) => Action::Adopted,
            (true, Some(_)) => Action::Promoted,
        };
        let version = artefact.model.version();
        let mut entries = if action.makes_champion() {
            self.write(artefact)
        } else if self.has_rows(version) {
            Vec::new()
        } else {
            vec![Entry::description(version, &artefact.describe())]
        };
        entries.extend(self.decide(action, version, grounds));
        entries
    }

    /// Returns the entries of a model. Blocks that the registry has are not written again.
    fn write(&self, artefact: &Artefact) -> Vec<Entry> {
        Entry::model_beside(artefact, |block| self.rows().has_block(block))
    }

    /// Returns the entries of a model; none if it is registered with its rows.
    fn write_missing(&self, artefact: &Artefact) -> Vec<Entry> {
        if self.has_rows(artefact.model.version()) {
            Vec::new()
        } else {
            self.write(artefact)
        }
    }

    /// Returns the entries that make a model the champion.
    ///
    /// # Errors
    /// [`RegistryError`] if it does not exist, cannot be used, or is the champion.
    pub fn promote(
        &self,
        version: ModelVersion,
        grounds: Grounds,
    ) -> Result<Vec<Entry>, RegistryError> {
        self.usable(version)?;
        if self.champion() == Some(version) {
            return Err(RegistryError::IsChampion(version));
        }
        Ok(self.decide(Action::Promoted, version, grounds))
    }

    /// Returns the entries that roll back to the model that the champion replaced.
    ///
    /// # Errors
    /// [`RegistryError`] if there is none, or it cannot be used.
    pub fn roll_back(&self, grounds: Grounds) -> Result<Vec<Entry>, RegistryError> {
        let succession = self.succession();
        let &[_, earlier, ..] = &succession[..] else {
            return Err(RegistryError::NothingToRollBackTo);
        };
        self.usable(earlier)?;
        Ok(self.decide(Action::RolledBack, earlier, grounds))
    }

    /// Returns the entries that roll back to an earlier champion, and write its rows if the registry does not have them.
    #[must_use]
    pub fn roll_back_to(&self, earlier: &Artefact, grounds: Grounds) -> Vec<Entry> {
        let version = earlier.model.version();
        let mut entries = self.write_missing(earlier);
        entries.extend(self.decide(Action::RolledBack, version, grounds));
        entries
    }

    /// Checks that a model can be loaded.
    ///
    /// # Errors
    /// [`RegistryError`] if it does not exist, is refused, or has not all its rows.
    pub(crate) fn usable(&self, version: ModelVersion) -> Result<(), RegistryError> {
        let refused = |problem| RegistryError::Refused { version, problem };
        let model = self.model(version);
        let model = model.ok_or(RegistryError::NoSuchModel(version))?;
        let description = model.description.as_ref();
        let description = description.map_err(|problem| refused(problem.clone()))?;
        let checked = self.rows().check(version, &description.rows);
        checked.map_err(|problem| match problem {
            ArtefactError::NoRows => RegistryError::NoRows(version),
            problem => refused(problem),
        })
    }

    fn decide(&self, action: Action, version: ModelVersion, grounds: Grounds) -> Vec<Entry> {
        let number = self.next_decision();
        let decision = Decision {
            number,
            action,
            version,
            replaces: self.champion(),
            by: grounds.by,
            reason: grounds.reason,
            figures: grounds.figures,
        };
        let mut entries = vec![Entry::decision(&decision)];
        if action.makes_champion() {
            let pointer = ChampionPointer {
                version,
                decision: number,
            };
            entries.push(Entry::champion(pointer));
        }
        // The decision is the last entry, so that whoever has read it has read them all.
        let mut forgotten = self.with(&entries).forget();
        forgotten.extend(entries);
        forgotten
    }
}
