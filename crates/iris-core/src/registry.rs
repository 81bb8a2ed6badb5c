//! The registry of models: which there are, which one is the champion, and who decided that, when and why.
//!
//! It is a log of keyed records, of which a compacted topic keeps the last of each key. A model's artefact has the
//! model's version as its key; the champion's version has the key `champion`; each decision has a key of its own, so that
//! all decisions are kept. A decision and what follows from it are written together, and the log alone rebuilds everything
//! here.
//!
//! Deliberately absent: how the log is read and written, and how it is made sure that of two who decide at the same
//! time one comes first.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::artefact::{Artefact, ArtefactError, Description};
use crate::model::ModelVersion;

/// The format of decisions and pointers that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// The key of the pointer to the champion.
const CHAMPION_KEY: &str = "champion";

/// What decisions' keys begin with. The number that follows has leading zeros, so that keys sort as decisions do.
const DECISION_PREFIX: &str = "decision-";

/// What was decided about a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It became the champion because there was none.
    Adopted,
    /// It became the champion in another's place.
    Promoted,
    /// It became the champion again, because the one that had replaced it was withdrawn.
    RolledBack,
    /// It did not become the champion.
    Rejected,
}

impl Action {
    /// Whether the model that it is about is the champion then.
    #[must_use]
    pub fn makes_champion(self) -> bool {
        self != Self::Rejected
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Adopted => "adopted",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled back to",
            Self::Rejected => "rejected",
        })
    }
}

/// A decision about a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Its place among all decisions, from 1.
    pub number: u64,
    /// What was decided.
    pub action: Action,
    /// The model that it is about.
    pub version: ModelVersion,
    /// The champion until then.
    pub replaces: Option<ModelVersion>,
    /// The service that decided.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// The figures that it rests on.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
}

/// A decision that is yet to be numbered and written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grounds {
    /// The service that decides.
    pub by: String,
    /// Why, in words.
    pub reason: String,
    /// The figures that it rests on.
    pub figures: BTreeMap<String, f64>,
}

/// A model of the registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// Where in the log its artefact is.
    pub offset: i64,
    /// When it was written, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// What it says of itself, or why it is refused.
    pub description: Result<Description, ArtefactError>,
}

/// A decision, and when it was written in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The decision.
    pub decision: Decision,
    /// When it was written.
    pub timestamp: Option<i64>,
}

/// A record of the registry that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
}

/// Why a record of the log, or a wish, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// A record has a key that means nothing.
    #[error("record `{0}` is not one of a registry's")]
    UnknownKey(String),
    /// A record was written by a later version of this program.
    #[error(
        "record `{key}` has format {found}, and the newest that this program reads is {FORMAT}: use a newer program"
    )]
    NewerFormat {
        /// The record's key.
        key: String,
        /// Its format.
        found: u32,
    },
    /// A record is not what its key says.
    #[error("record `{key}` is corrupt: {problem}")]
    Corrupt {
        /// The record's key.
        key: String,
        /// What is wrong.
        problem: String,
    },
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

/// What a log of models and decisions amounts to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    models: BTreeMap<ModelVersion, Registered>,
    decisions: BTreeMap<u64, Recorded>,
    champion: Option<Pointer>,
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pointer {
    version: ModelVersion,
    decision: u64,
}

/// A value with its format.
#[derive(Serialize)]
struct Formatted<T> {
    format: u32,
    #[serde(flatten)]
    value: T,
}

fn entry(key: String, value: impl Serialize) -> Entry {
    let formatted = Formatted {
        format: FORMAT,
        value,
    };
    Entry {
        key,
        // Numbers and texts: writing these to memory cannot fail.
        value: serde_json::to_vec(&formatted).unwrap_or_default(),
    }
}

fn keep(artefact: &Artefact) -> Entry {
    Entry {
        key: artefact.model.version().to_string(),
        value: artefact.to_json(),
    }
}

fn decision_key(number: u64) -> String {
    format!("{DECISION_PREFIX}{number:012}")
}

fn parse<T: for<'a> Deserialize<'a>>(key: &str, json: &[u8]) -> Result<T, RegistryError> {
    let corrupt = |error: serde_json::Error| RegistryError::Corrupt {
        key: key.to_owned(),
        problem: error.to_string(),
    };
    let Format { format } = serde_json::from_slice(json).map_err(corrupt)?;
    if format > FORMAT {
        return Err(RegistryError::NewerFormat {
            key: key.to_owned(),
            found: format,
        });
    }
    serde_json::from_slice(json).map_err(corrupt)
}

impl Registry {
    /// Takes the next record of the log into account. A record that is refused changes nothing.
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
        let unknown = || RegistryError::UnknownKey(String::from_utf8_lossy(key).into_owned());
        let key = std::str::from_utf8(key).map_err(|_| unknown())?;
        if let Ok(version) = key.parse::<ModelVersion>() {
            match value {
                Some(json) => {
                    let registered = Registered {
                        offset,
                        timestamp,
                        description: Description::read(json),
                    };
                    self.models.insert(version, registered);
                }
                None => {
                    self.models.remove(&version);
                }
            }
        } else if key == CHAMPION_KEY {
            self.champion = value.map(|json| parse(key, json)).transpose()?;
        } else if key.starts_with(DECISION_PREFIX) {
            if let Some(json) = value {
                let decision: Decision = parse(key, json)?;
                let recorded = Recorded {
                    decision,
                    timestamp,
                };
                self.decisions.insert(recorded.decision.number, recorded);
            }
        } else {
            return Err(unknown());
        }
        Ok(())
    }

    /// The version that is to be served.
    #[must_use]
    pub fn champion(&self) -> Option<ModelVersion> {
        self.champion.map(|pointer| pointer.version)
    }

    /// The models, by version.
    #[must_use]
    pub fn models(&self) -> &BTreeMap<ModelVersion, Registered> {
        &self.models
    }

    /// A model.
    #[must_use]
    pub fn model(&self, version: ModelVersion) -> Option<&Registered> {
        self.models.get(&version)
    }

    /// The decisions, in their order.
    pub fn decisions(&self) -> impl DoubleEndedIterator<Item = &Recorded> {
        self.decisions.values()
    }

    /// The decision that made the champion.
    #[must_use]
    pub fn champion_decision(&self) -> Option<&Decision> {
        self.decisions
            .values()
            .map(|recorded| &recorded.decision)
            .rfind(|decision| decision.action.makes_champion())
    }

    /// The number that the next decision gets.
    #[must_use]
    pub fn next_decision(&self) -> u64 {
        self.decisions
            .keys()
            .next_back()
            .map_or(1, |latest| latest + 1)
    }

    /// Whether these entries were written: their models are there, their decisions were made just as they stand, and the
    /// champion is theirs or a later one.
    #[must_use]
    pub fn has(&self, entries: &[Entry]) -> bool {
        entries.iter().all(|entry| {
            if let Ok(version) = entry.key.parse() {
                self.models.contains_key(&version)
            } else if entry.key.starts_with(DECISION_PREFIX) {
                parse(&entry.key, &entry.value).is_ok_and(|wanted: Decision| {
                    let made = self.decisions.get(&wanted.number);
                    made.is_some_and(|made| made.decision == wanted)
                })
            } else {
                parse(&entry.key, &entry.value).is_ok_and(|wanted: Pointer| {
                    let pointer = self.champion;
                    pointer.is_some_and(|pointer| pointer.decision >= wanted.decision)
                })
            }
        })
    }

    /// The champion and, below it, those that would be champions again one rollback after the other.
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

    /// Keeps a model that nobody has decided about, unless it is kept already. It becomes the champion if there is none.
    #[must_use]
    pub fn offer(&self, artefact: &Artefact, grounds: Grounds) -> Vec<Entry> {
        if self.champion.is_none() {
            self.enter(artefact, true, grounds)
        } else if self.models.contains_key(&artefact.model.version()) {
            Vec::new()
        } else {
            vec![keep(artefact)]
        }
    }

    /// Keeps a new model and decides about it: it becomes the champion, or is rejected.
    #[must_use]
    pub fn enter(&self, artefact: &Artefact, is_promoted: bool, grounds: Grounds) -> Vec<Entry> {
        let action = match (is_promoted, self.champion) {
            (false, _) => Action::Rejected,
            (true, None) => Action::Adopted,
            (true, Some(_)) => Action::Promoted,
        };
        let mut entries = vec![keep(artefact)];
        entries.extend(self.decide(action, artefact.model.version(), grounds));
        entries
    }

    /// Makes a model the champion.
    ///
    /// # Errors
    /// [`RegistryError`] if it is not there, cannot be used, or is the champion.
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

    /// Makes the model that the champion replaced the champion again.
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
        let mut entries = vec![entry(decision_key(number), decision)];
        if action.makes_champion() {
            let pointer = Pointer {
                version,
                decision: number,
            };
            entries.push(entry(CHAMPION_KEY.to_owned(), pointer));
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artefact::Lineage;
    use crate::model::{Model, TrainingSet};
    use crate::schema::Schema;

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
            self.write(vec![keep(artefact)]);
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

        /// What is left of it when only the last record of each key is kept.
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
    fn records_that_mean_nothing_are_refused_by_name_and_change_nothing() {
        let mut log = Log::default();
        log.write(log.registry.offer(&artefact(1.0), grounds("first")));
        let before = log.registry.clone();
        let mut refusal = |key: &[u8], value: &[u8]| {
            log.registry
                .apply(9, None, key, Some(value))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal(b"champignon", b"{}"),
            "record `champignon` is not one of a registry's"
        );
        assert_eq!(
            refusal(b"champion", b"{\"format\":2}"),
            "record `champion` has format 2, and the newest that this program reads is 1: use a newer program"
        );
        assert!(refusal(b"champion", b"{").starts_with("record `champion` is corrupt: "));
        assert!(refusal(b"decision-1", b"{\"format\":1}").contains("missing field `number`"));
        assert!(refusal(b"\xff", b"").contains("is not one of a registry's"));
        assert_eq!(log.registry, before);
    }
}
