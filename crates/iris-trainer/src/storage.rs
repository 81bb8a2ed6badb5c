//! The bounds of the registry: which challengers are too large for it, how many decisions a transaction has, and which models
//! keep their rows.

use std::collections::BTreeSet;
use std::fmt;

use iris_contract::registry::Entry;
use iris_core::ModelVersion;
use iris_registry::{Registry, RegistrySettings, Retention};

/// The maximum number of decisions in a transaction, as long as the topic refuses none.
const MAX_DECISIONS: usize = 16;

/// Why a challenger cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooLarge {
    /// It has more bytes than the settings allow.
    ForSettings { bytes: usize, max: u64 },
    /// The registry's topic has refused its records.
    ForTopic { bytes: usize },
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForSettings { bytes, max } => write!(
                f,
                "too large: its {bytes} bytes are more than registry.max_model_bytes, {max}; raise the setting, or train on \
                 fewer rows"
            ),
            Self::ForTopic { bytes } => write!(
                f,
                "too large: the topic refuses its records, of up to {bytes} bytes; raise the topic's max.message.bytes, or train \
                 on fewer rows"
            ),
        }
    }
}

/// The bounds of the registry.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    settings: RegistrySettings,
    /// Challengers that the topic has refused.
    refused: BTreeSet<ModelVersion>,
    /// The maximum number of decisions in a transaction.
    max_decisions: usize,
}

impl Storage {
    pub(crate) fn new(settings: RegistrySettings) -> Self {
        Self {
            settings,
            refused: BTreeSet::new(),
            max_decisions: MAX_DECISIONS,
        }
    }

    /// Notes that the topic has refused a transaction with a challenger, perhaps because of another one: the topic's limit
    /// applies to a batch of records. So the first time, only the number of decisions in a transaction changes, to one. Returns
    /// whether a repetition may succeed.
    pub(crate) fn refuse(&mut self, version: ModelVersion) -> bool {
        let is_alone = std::mem::replace(&mut self.max_decisions, 1) == 1;
        !is_alone || self.refused.insert(version)
    }

    /// Returns the maximum number of decisions in a transaction.
    pub(crate) fn max_decisions(&self) -> usize {
        self.max_decisions
    }

    /// Returns why a challenger cannot be stored; `None` if it can. `after` is the registry with the challenger.
    pub(crate) fn refusal(&self, version: ModelVersion, after: &Registry) -> Option<TooLarge> {
        if self.refused.contains(&version) {
            let bytes = after.largest_record(version);
            return Some(TooLarge::ForTopic { bytes });
        }
        let (bytes, max) = (after.model_bytes(version), self.settings.max_model_bytes);
        (bytes as u64 > max).then_some(TooLarge::ForSettings { bytes, max })
    }

    /// Returns the entries that delete the rows that are not needed. `after` is the registry with the decision.
    pub(crate) fn prune(
        &self,
        after: &Registry,
        in_shadow: Option<ModelVersion>,
        on_probation_against: Option<ModelVersion>,
    ) -> Vec<Entry> {
        let retention = Retention {
            retired: self.settings.max_retired_models,
            in_shadow,
            on_probation_against,
        };
        after.prune(retention).entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{model, registry};

    #[test]
    fn a_challenger_is_refused_if_it_is_larger_than_the_setting_or_the_topic_has_refused_it() {
        let challenger = model(1.0);
        let version = challenger.model.version();
        let stored = Registry::default().with(&Entry::model(&challenger));
        let bytes = stored.model_bytes(version);
        let storage = |max: usize| {
            Storage::new(RegistrySettings {
                max_model_bytes: max as u64,
                ..RegistrySettings::default()
            })
        };
        assert_eq!(storage(bytes).refusal(version, &stored), None);
        let refused = storage(bytes - 1).refusal(version, &stored).unwrap();
        assert_eq!(
            refused.to_string(),
            format!(
                "too large: its {bytes} bytes are more than registry.max_model_bytes, {}; raise the setting, or train on \
                 fewer rows",
                bytes - 1
            )
        );
        let mut storage = storage(bytes);
        assert_eq!(storage.max_decisions(), MAX_DECISIONS);
        // Another challenger of the transaction may be the cause.
        assert!(storage.refuse(version));
        assert_eq!(storage.max_decisions(), 1);
        assert_eq!(storage.refusal(version, &stored), None);
        assert!(storage.refuse(version));
        assert!(!storage.refuse(version));
        let refused = storage.refusal(version, &stored).unwrap();
        assert_eq!(
            refused.to_string(),
            format!(
                "too large: the topic refuses its records, of up to {} bytes; raise the topic's max.message.bytes, or train on \
                 fewer rows",
                stored.largest_record(version)
            )
        );
        let other = model(2.0);
        let stored = Registry::default().with(&Entry::model(&other));
        assert_eq!(storage.refusal(other.model.version(), &stored), None);
    }

    #[test]
    fn rows_that_are_not_needed_are_deleted_with_the_decision() {
        let storage = Storage::new(RegistrySettings {
            max_retired_models: 0,
            ..RegistrySettings::default()
        });
        let models = [0.0, 1.0, 2.0, 3.0].map(model);
        let known = registry(&models.each_ref().map(|model| &**model));
        let mut entries = known.roll_back(iris_registry::Grounds::default()).unwrap();
        let in_shadow = Some(models[0].model.version());
        entries.extend(storage.prune(&known.with(&entries), in_shadow, None));
        let after = known.with(&entries);
        let kept = models.map(|model| after.has_rows(model.model.version()));
        // The champion is the third; the last is the newest of the dataset, and the first runs in shadow.
        assert_eq!(kept, [true, true, true, true]);
        let mut again = after.roll_back(iris_registry::Grounds::default()).unwrap();
        again.extend(storage.prune(&after.with(&again), None, None));
        let last = after.with(&again);
        let kept = [0.0, 1.0, 2.0, 3.0].map(|x| last.has_rows(model(x).model.version()));
        assert_eq!(kept, [true, true, false, true]);
    }
}
