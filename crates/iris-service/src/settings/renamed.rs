//! Settings that have been renamed: the old key is refused with the new one.

/// A key that an earlier version had, and the key that replaces it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renamed {
    /// The old key with its section.
    old: &'static str,
    /// The new key with its section.
    new: &'static str,
    /// Further changes of the setting, as a continuation of a sentence that ends with the new key.
    note: &'static str,
}

impl Renamed {
    /// The key `old` has become `new`; the value means the same.
    const fn key(old: &'static str, new: &'static str) -> Self {
        Self { old, new, note: "" }
    }

    /// The refusal, to be read after the old key.
    pub(super) fn problem(self) -> String {
        format!("has been renamed: use {}{}", self.new, self.note)
    }
}

/// The meaning of the setting that replaces those of another drift test.
const FALSE_ALARMS: &str = ", the mean number of records between false alarms";

/// Every key that has been renamed, sorted by its old name.
const RENAMED: [Renamed; 16] = [
    Renamed {
        old: "dashboard.history_s",
        new: "dashboard.history_ms",
        note: ", in milliseconds",
    },
    Renamed::key("dashboard.most_clients", "dashboard.max_clients"),
    Renamed::key("telemetry.trace_share", "telemetry.trace_sample_ratio"),
    Renamed::key("topics.trainer", "topics.trainer_state"),
    Renamed {
        old: "trainer.correct_sample_ratio",
        new: "trainer.learn",
        note: ", all or errors",
    },
    Renamed {
        old: "trainer.drift_delta",
        new: "trainer.drift_false_alarm_records",
        note: FALSE_ALARMS,
    },
    Renamed {
        old: "trainer.drift_threshold",
        new: "trainer.drift_false_alarm_records",
        note: FALSE_ALARMS,
    },
    Renamed::key("trainer.every_ms", "trainer.retrain_after_ms"),
    Renamed::key("trainer.every_rows", "trainer.retrain_after_rows"),
    Renamed::key("trainer.join_records", "trainer.max_join_records"),
    Renamed::key("trainer.margin", "trainer.promotion_margin"),
    Renamed::key("trainer.recent_records", "trainer.holdout_records"),
    Renamed {
        old: "trainer.rollback_margin",
        new: "trainer.rollback_error_rate",
        note: ", the probability that a champion that is as good as its predecessor is rolled back",
    },
    Renamed {
        old: "trainer.sample_correct",
        new: "trainer.learn",
        note: ", all or errors",
    },
    Renamed::key("trainer.shadow_share", "trainer.shadow_sample_ratio"),
    Renamed {
        old: "trainer.window_rows",
        new: "trainer.window_records",
        note: ", which counts labelled records",
    },
];

/// Returns the entry of a key, such as `trainer.every_rows`, that has been renamed.
pub(super) fn find(key: &str) -> Option<Renamed> {
    RENAMED.into_iter().find(|renamed| renamed.old == key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use config::Value;

    use super::*;
    use crate::settings::{Flag, Sources};

    /// The settings file that lists every setting.
    const ALL_SETTINGS: &str = include_str!("../../../../config/iris.toml");

    /// Returns the refusal of the key with an old name.
    fn refusal(renamed: Renamed, sources: &Sources) -> String {
        let (section, _) = renamed.old.split_once('.').unwrap();
        let (_, new) = renamed.new.split_once('.').unwrap();
        let given = sources.merged.get::<Value>(section).unwrap();
        let known = serde_json::json!({ new: 1 });
        let error = sources.check_keys(section, &given, &known).unwrap_err();
        error.to_string()
    }

    #[test]
    fn old_keys_are_refused_with_the_new_key_whichever_source_sets_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("iris.toml");
        for renamed in RENAMED {
            let (section, key) = renamed.old.split_once('.').unwrap();
            let expected = |origin: &str| {
                format!(
                    "{} has been renamed: use {}{} (set by {origin})",
                    renamed.old, renamed.new, renamed.note
                )
            };

            std::fs::write(&path, format!("[{section}]\n\n{key} = 1\n")).unwrap();
            let sources = Sources::merge(Some(&path), BTreeMap::new(), vec![]).unwrap();
            let origin = format!("{} line 3", path.display());
            assert_eq!(refusal(renamed, &sources), expected(&origin));

            let variable = format!("IRIS__{section}__{key}").to_uppercase();
            let environment = BTreeMap::from([(variable.clone(), "1".to_owned())]);
            let sources = Sources::merge(None, environment, vec![]).unwrap();
            let origin = format!("the environment variable {variable}");
            assert_eq!(refusal(renamed, &sources), expected(&origin));

            let flag = Flag::new("--old-name", renamed.old, Some(1_u64)).unwrap();
            let sources = Sources::merge(None, BTreeMap::new(), vec![flag]).unwrap();
            assert_eq!(refusal(renamed, &sources), expected("--old-name"));
        }
    }

    #[test]
    fn new_keys_are_settings_and_old_keys_are_not() {
        let settings: toml::Table = toml::from_str(ALL_SETTINGS).unwrap();
        let is_setting = |key: &str| {
            let (section, key) = key.split_once('.').unwrap();
            settings[section].get(key).is_some()
        };
        for Renamed { old, new, .. } in RENAMED {
            assert!(is_setting(new), "{new} is a setting");
            assert!(!is_setting(old), "{old} is not a setting");
        }
    }
}
