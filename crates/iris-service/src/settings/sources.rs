//! Collects and merges the settings of all sources, and reads single sections.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, ConfigError, Environment, File, FileFormat, Map, Value, ValueKind};
use iris_core::Section;
use serde::de::DeserializeOwned;
use toml::de::DeTable;

use crate::exit::UsageError;
use crate::settings::environment::{
    self, ENVIRONMENT_PREFIX, ENVIRONMENT_SEPARATOR, is_same_but_for_underscores, misspelt,
    variable_of,
};
use crate::settings::error::{SettingsError, problem_of};
use crate::settings::flags::{CommonArgs, Flag};
use crate::settings::{numbers, renamed};

/// Every section that a settings file may have.
const SECTIONS: [&str; 12] = [
    "classifier",
    "dashboard",
    "dataset",
    "feedback_sink",
    "kafka",
    "model",
    "producer",
    "registry",
    "service",
    "telemetry",
    "topics",
    "trainer",
];

/// The settings of all sources, merged but not yet deserialized.
#[derive(Debug)]
pub struct Sources {
    pub(super) merged: Config,
    pub(super) file: Option<SettingsFile>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) flags: Vec<Flag>,
}

/// A settings file that was read.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl SettingsFile {
    /// Reads a file and checks that it is TOML.
    fn read(path: &Path) -> Result<Self, SettingsError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            SettingsError::general(format!("cannot read the settings file {shown}: {error}"))
        })?;
        // The error's own text repeats the line, which may have a secret.
        let place = |position: usize| {
            let before = &text[..position];
            let line = 1 + before.matches('\n').count();
            let column = 1 + before.chars().rev().take_while(|&c| c != '\n').count();
            format!("{shown} line {line}, column {column}")
        };
        let table = DeTable::parse(&text).map_err(|error| {
            let place = place(error.span().map_or(0, |span| span.start));
            SettingsError::general(format!("{place}: {}", error.message()))
        })?;
        if let Some((key, number, position)) = numbers::too_large(table.get_ref()) {
            return Err(SettingsError {
                key: Some(key),
                origin: Some(place(position)),
                problem: format!("is {number}, which is out of range"),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }
}

impl Sources {
    /// Collects the settings of the file, of the process's environment and of the flags.
    ///
    /// # Errors
    /// [`UsageError`] if the file cannot be read or is not TOML, if no service has one of its sections, or if a variable of the
    /// environment cannot be read.
    pub fn collect(
        args: &CommonArgs,
        flags: impl IntoIterator<Item = Option<Flag>>,
    ) -> Result<Self, UsageError> {
        let environment = environment::variables(std::env::vars_os()).map_err(UsageError::new)?;
        let flags = args.flags().into_iter().chain(flags).flatten().collect();
        Self::merge(args.config.as_deref(), environment, flags).map_err(UsageError::new)
    }

    pub(super) fn merge(
        path: Option<&Path>,
        environment: BTreeMap<String, String>,
        flags: Vec<Flag>,
    ) -> Result<Self, SettingsError> {
        let general = |error: ConfigError| SettingsError::general(error.to_string());
        let file = path.map(SettingsFile::read).transpose()?;
        let mut builder = Config::builder();
        if let Some(SettingsFile { text, .. }) = &file {
            builder = builder.add_source(File::from_str(text, FileFormat::Toml));
        }
        let variables: Map<String, String> = environment.clone().into_iter().collect();
        builder = builder.add_source(
            Environment::with_prefix(ENVIRONMENT_PREFIX)
                .prefix_separator(ENVIRONMENT_SEPARATOR)
                .separator(ENVIRONMENT_SEPARATOR)
                .source(Some(variables)),
        );
        for flag in &flags {
            builder = builder
                .set_override(flag.key, flag.value.clone())
                .map_err(general)?;
        }
        let sources = Self {
            merged: builder.build().map_err(general)?,
            file,
            environment,
            flags,
        };
        sources.check_sections()?;
        Ok(sources)
    }

    /// Refuses sections that no service has.
    fn check_sections(&self) -> Result<(), SettingsError> {
        let sections = self.merged.cache.clone().into_table().unwrap_or_default();
        let mut names: Vec<&String> = sections.keys().collect();
        names.sort_unstable();
        match names
            .into_iter()
            .find(|name| !SECTIONS.contains(&name.as_str()))
        {
            Some(name) => Err(self.unknown(name, &SECTIONS.map(str::to_owned))),
            None => Ok(()),
        }
    }

    /// Returns one section, with its defaults for the keys that are not set.
    ///
    /// # Errors
    /// [`UsageError`] if a key is unknown, or a value is invalid.
    pub fn section<T: Section>(&self) -> Result<T, UsageError> {
        self.read().map_err(UsageError::new)
    }

    /// Returns some keys of a section that belongs to another service, with their defaults for those that are not set.
    ///
    /// # Errors
    /// [`UsageError`] if a value is invalid.
    pub fn excerpt<T: DeserializeOwned + Default>(&self, section: &str) -> Result<T, UsageError> {
        let Ok(value) = self.merged.get::<Value>(section) else {
            return Ok(T::default());
        };
        serde_path_to_error::deserialize(value).map_err(|error| {
            let key = format!("{section}.{}", error.path());
            UsageError::new(SettingsError {
                origin: self.origin(&key),
                key: Some(key),
                problem: problem_of(error.inner()),
            })
        })
    }

    pub(super) fn read<T: Section>(&self) -> Result<T, SettingsError> {
        let refused = |key: &str, problem: String| {
            let key = format!("{}{key}", T::NAME);
            let origin = self.origin(&key);
            SettingsError {
                key: Some(key),
                origin,
                problem,
            }
        };
        let known = serde_json::to_value(T::default()).unwrap_or_default();
        self.check_variables(T::NAME, &known)?;
        let section = match self.merged.get::<Value>(T::NAME) {
            Ok(value) => {
                if !matches!(value.kind, ValueKind::Table(_)) {
                    return Err(refused("", "is a section: allowed are its keys".to_owned()));
                }
                self.check_keys(T::NAME, &value, &known)?;
                let section: T =
                    serde_path_to_error::deserialize(value.clone()).map_err(|error| {
                        let path = error.path().to_string();
                        let key = if path == "." {
                            String::new()
                        } else {
                            format!(".{path}")
                        };
                        refused(&key, problem_of(error.inner()))
                    })?;
                let read = serde_json::to_value(&section).unwrap_or_default();
                if let Some((key, problem)) = numbers::changed(&value, &read) {
                    return Err(refused(&key, problem));
                }
                section
            }
            Err(_) => T::default(),
        };
        section
            .validate()
            .map_err(|error| refused(&format!(".{}", error.key), error.problem))?;
        Ok(section)
    }

    /// Refuses variables that are the name of a key but for their underscores, such as `IRIS_KAFKA_CLIENT_ID`.
    fn check_variables(&self, path: &str, known: &serde_json::Value) -> Result<(), SettingsError> {
        if let serde_json::Value::Object(known) = known {
            for (key, known) in known {
                self.check_variables(&format!("{path}.{key}"), known)?;
            }
        }
        let variable = variable_of(path);
        let is_misspelt = |name: &&String| {
            !name.eq_ignore_ascii_case(&variable) && is_same_but_for_underscores(name, &variable)
        };
        match self.environment.keys().find(is_misspelt) {
            Some(name) => Err(misspelt(name, &variable)),
            None => Ok(()),
        }
    }

    /// Refuses keys that the section's defaults do not have. A table that is empty in the defaults accepts any keys.
    pub(super) fn check_keys(
        &self,
        path: &str,
        value: &Value,
        known: &serde_json::Value,
    ) -> Result<(), SettingsError> {
        let (ValueKind::Table(table), serde_json::Value::Object(known)) = (&value.kind, known)
        else {
            return Ok(());
        };
        if known.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<&String> = table.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let path = format!("{path}.{key}");
            match known.get(key) {
                Some(known) => self.check_keys(&path, &table[key], known)?,
                None => return Err(self.unknown(&path, &known.keys().cloned().collect::<Vec<_>>())),
            }
        }
        Ok(())
    }

    /// Returns the error about an unknown key, with the most similar allowed key.
    fn unknown(&self, key: &str, allowed: &[String]) -> SettingsError {
        if let Some(renamed) = renamed::find(key) {
            return SettingsError {
                key: Some(key.to_owned()),
                origin: self.origin(key),
                problem: renamed.problem(),
            };
        }
        let last = key.rsplit('.').next().unwrap_or(key);
        let nearest = allowed
            .iter()
            .map(|name| (strsim::damerau_levenshtein(last, name), name))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let hint =
            nearest.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"));
        SettingsError {
            key: Some(key.to_owned()),
            origin: self.origin(key),
            problem: format!("is not a setting: allowed are {}{hint}", allowed.join(", ")),
        }
    }
}
