//! The state of the registry, and the decisions that it allows.
//!
//! The log of entries alone rebuilds all of it: a decision and its consequences are written together.
//!
//! Deliberately absent: how the log is read and written, and how concurrent decisions get an order.

use std::collections::BTreeMap;

use iris_contract::registry::{
    Action, ChampionPointer, Decision, Entry, EntryError, RegistryRecord,
};
use iris_core::{Artefact, ArtefactError, Description, ModelVersion};

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

/// A model of the registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The offset of its artefact.
    pub offset: i64,
    /// The timestamp of its record, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Its description, or the reason why it is refused.
    pub description: Result<Description, ArtefactError>,
}

/// A decision and its timestamp, in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The decision.
    pub decision: Decision,
    /// The timestamp of its record.
    pub timestamp: Option<i64>,
}

/// Why a record, or a request, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A record cannot be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// There is no such model.
    #[error("there is no model {0}; `iris-admin models list` shows those there are")]
    NoSuchModel(ModelVersion),
    /// A model cannot be used.
    #[error("model {version} is refused: {problem}")]
    Refused {
        /// The model.
        version: ModelVersion,
        /// Why.
        #[source]
        problem: ArtefactError,
    },
    /// The model is the champion already.
    #[error("model {0} is the champion already")]
    IsChampion(ModelVersion),
    /// The champion replaced no other.
    #[error("there is nothing to roll back to: the champion has replaced no other model")]
    NothingToRollBackTo,
}

/// The models, the decisions and the champion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    models: BTreeMap<ModelVersion, Registered>,
    decisions: BTreeMap<u64, Recorded>,
    champion: Option<ChampionPointer>,
}

impl Registry {
    /// Applies the next record of the log. A refused record changes nothing.
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
        match RegistryRecord::read(key, value)? {
            RegistryRecord::Model(version, Some(json)) => {
                let registered = Registered {
                    offset,
                    timestamp,
                    description: Description::read(json),
                };
                self.models.insert(version, registered);
            }
            RegistryRecord::Model(version, None) => {
                self.models.remove(&version);
            }
            RegistryRecord::Champion(pointer) => self.champion = pointer,
            RegistryRecord::Decision(Some(decision)) => {
                let recorded = Recorded {
                    decision,
                    timestamp,
                };
                self.decisions.insert(recorded.decision.number, recorded);
            }
            RegistryRecord::Decision(None) => {}
        }
        Ok(())
    }

    /// Returns the champion's version.
    #[must_use]
    pub fn champion(&self) -> Option<ModelVersion> {
        self.champion.map(|pointer| pointer.version)
    }

    /// Returns the models by version.
    #[must_use]
    pub fn models(&self) -> &BTreeMap<ModelVersion, Registered> {
        &self.models
    }

    /// Returns a model.
    #[must_use]
    pub fn model(&self, version: ModelVersion) -> Option<&Registered> {
        self.models.get(&version)
    }

    /// Returns the decisions in their order.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Recorded> {
        self.decisions.values()
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

    /// Whether these entries were written: their models exist, their decisions are recorded unchanged, and the champion is
    /// theirs or a later one.
    #[must_use]
    pub fn has(&self, entries: &[Entry]) -> bool {
        entries.iter().all(|entry| self.has_entry(entry))
    }

    fn has_entry(&self, entry: &Entry) -> bool {
        match RegistryRecord::read(entry.key.as_bytes(), Some(&entry.value)) {
            Ok(RegistryRecord::Model(version, _)) => self.models.contains_key(&version),
            Ok(RegistryRecord::Decision(Some(wanted))) => {
                let made = self.decisions.get(&wanted.number);
                made.is_some_and(|made| made.decision == wanted)
            }
            Ok(RegistryRecord::Champion(Some(wanted))) => self
                .champion
                .is_some_and(|pointer| pointer.decision >= wanted.decision),
            _ => false,
        }
    }

    /// Returns the champion, then the models that successive rollbacks would restore.
    #[must_use]
    pub fn succession(&self) -> Vec<ModelVersion> {
        let mut succession = Vec::new();
        for Recorded { decision, .. } in self.decisions.values() {
            match decision.action {
                Action::Adopted | Action::Promoted => succession.push(decision.version),
                Action::RolledBack => {
                    succession.pop();
                }
                Action::Rejected => {}
            }
        }
        succession.reverse();
        succession
    }

    /// Returns the entries that register a model without a decision, unless it is registered. It becomes the champion if
    /// there is none.
    #[must_use]
    pub fn offer(&self, artefact: &Artefact, grounds: Grounds) -> Vec<Entry> {
        if self.champion.is_none() {
            self.enter(artefact, true, grounds)
        } else if self.models.contains_key(&artefact.model.version()) {
            Vec::new()
        } else {
            vec![Entry::model(artefact)]
        }
    }

    /// Returns the entries that register a new model and promote or reject it.
    #[must_use]
    pub fn enter(&self, artefact: &Artefact, is_promoted: bool, grounds: Grounds) -> Vec<Entry> {
        let action = match (is_promoted, self.champion) {
            (false, _) => Action::Rejected,
            (true, None) => Action::Adopted,
            (true, Some(_)) => Action::Promoted,
        };
        let mut entries = vec![Entry::model(artefact)];
        entries.extend(self.decide(action, artefact.model.version(), grounds));
        entries
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

    fn usable(&self, version: ModelVersion) -> Result<(), RegistryError> {
        match &self.models.get(&version).map(|model| &model.description) {
            None => Err(RegistryError::NoSuchModel(version)),
            Some(Err(problem)) => Err(RegistryError::Refused {
                version,
                problem: problem.clone(),
            }),
            Some(Ok(_)) => Ok(()),
        }
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
        entries
    }
}

#[cfg(test)]
mod tests {
    use iris_core::{Lineage, Model, Schema, TrainingSet};

    use super::*;

    fn artefact(x: f64) -> Artefact {
        let schema = Schema {
            features: vec!["x".into()],
            ..Schema::default()
        };
        let rows = [([x], "a")];
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        Artefact {
            model: Model::fit(TrainingSet::new(schema, rows), 1).unwrap(),
            lineage: Lineage::default(),
        }
    }

    fn grounds(reason: &str) -> Grounds {
        Grounds {
            by: "a test".into(),
            reason: reason.into(),
            ..Grounds::default()
        }
    }

    /// A log, and what it amounts to.
    #[derive(Default)]
    struct Log {
        entries: Vec<Entry>,
        registry: Registry,
    }

    impl Log {
        fn write(&mut self, entries: Vec<Entry>) {
            for entry in entries {
                let offset = self.entries.len() as i64;
                self.registry
                    .apply(
                        offset,
                        Some(offset),
                        entry.key.as_bytes(),
                        Some(&entry.value),
                    )
                    .unwrap();
                self.entries.push(entry);
            }
        }

        fn keep(&mut self, artefact: &Artefact) -> ModelVersion {
            self.write(vec![Entry::model(artefact)]);
            artefact.model.version()
        }

        fn promote(&mut self, version: ModelVersion) {
            let entries = self.registry.promote(version, grounds("better")).unwrap();
            self.write(entries);
        }

        fn roll_back(&mut self) {
            let entries = self.registry.roll_back(grounds("worse")).unwrap();
            self.write(entries);
        }

        /// Returns the registry after compaction: only the last record of each key is kept.
        fn compacted(&self) -> Registry {
            let mut registry = Registry::default();
            for (offset, entry) in self.entries.iter().enumerate() {
                let is_last = self.entries[offset + 1..]
                    .iter()
                    .all(|later| later.key != entry.key);
                if is_last {
                    let offset = offset as i64;
                    registry
                        .apply(
                            offset,
                            Some(offset),
                            entry.key.as_bytes(),
                            Some(&entry.value),
                        )
                        .unwrap();
                }
            }
            registry
        }
    }

    #[test]
    fn the_first_model_is_adopted_and_later_ones_are_only_kept() {
        let mut log = Log::default();
        let entries = log.registry.offer(&artefact(1.0), grounds("first"));
        assert_eq!(entries.len(), 3);
        assert!(!log.registry.has(&entries));
        log.write(entries.clone());
        assert!(log.registry.has(&entries));
        let first = artefact(1.0).model.version();
        assert_eq!(log.registry.champion(), Some(first));
        assert_eq!(log.registry.offer(&artefact(1.0), grounds("again")), []);
        let late = log.registry.offer(&artefact(2.0), grounds("late"));
        assert_eq!(late.len(), 1);
        assert!(!log.registry.has(&late));
        log.write(late);
        assert_eq!(log.registry.champion(), Some(first));
        assert_eq!(log.registry.models().len(), 2);
    }

    #[test]
    fn rollbacks_go_back_through_the_champions_one_by_one() {
        let mut log = Log::default();
        log.write(log.registry.offer(&artefact(1.0), grounds("first")));
        let first = artefact(1.0).model.version();
        let second = log.keep(&artefact(2.0));
        let third = log.keep(&artefact(3.0));
        log.promote(second);
        log.promote(third);
        assert_eq!(log.registry.succession(), [third, second, first]);
        log.roll_back();
        assert_eq!(log.registry.champion(), Some(second));
        log.roll_back();
        assert_eq!(log.registry.champion(), Some(first));
        assert_eq!(
            log.registry.roll_back(grounds("worse")),
            Err(RegistryError::NothingToRollBackTo)
        );
        log.promote(third);
        assert_eq!(log.registry.succession(), [third, first]);
    }

    #[test]
    fn compaction_keeps_the_champion_and_every_decision() {
        let mut log = Log::default();
        log.write(log.registry.offer(&artefact(1.0), grounds("first")));
        let second = log.keep(&artefact(2.0));
        log.promote(second);
        log.roll_back();
        log.promote(second);
        assert_eq!(log.compacted(), log.registry);
        let actions: Vec<Action> = log
            .registry
            .decisions()
            .map(|recorded| recorded.decision.action)
            .collect();
        assert_eq!(
            actions,
            [
                Action::Adopted,
                Action::Promoted,
                Action::RolledBack,
                Action::Promoted
            ]
        );
    }

    #[test]
    fn only_a_model_that_is_there_and_can_be_used_is_promoted() {
        let mut log = Log::default();
        log.write(log.registry.offer(&artefact(1.0), grounds("first")));
        let first = artefact(1.0).model.version();
        let missing = artefact(9.0).model.version();
        let refusal = |log: &Log, version| {
            log.registry
                .promote(version, grounds("better"))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal(&log, first),
            format!("model {first} is the champion already")
        );
        assert!(refusal(&log, missing).contains("there is no model "));
        log.registry
            .apply(
                9,
                None,
                missing.to_string().as_bytes(),
                Some(b"{\"format\":7}"),
            )
            .unwrap();
        assert_eq!(
            refusal(&log, missing),
            format!(
                "model {missing} is refused: its format is 7, and the newest that this program reads is 1: use a newer program"
            )
        );
    }

    #[test]
    fn an_unreadable_record_changes_nothing() {
        let mut log = Log::default();
        log.write(log.registry.offer(&artefact(1.0), grounds("first")));
        let before = log.registry.clone();
        for (key, value) in [
            (&b"champignon"[..], &b"{}"[..]),
            (b"champion", b"{\"format\":2}"),
            (b"decision-1", b"{"),
        ] {
            assert!(log.registry.apply(9, None, key, Some(value)).is_err());
        }
        assert_eq!(log.registry, before);
    }
}
