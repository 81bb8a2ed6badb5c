//! Finding, merging and checking settings: built-in defaults < file < environment < flags.
//!
//! A service asks for the sections that it uses, each a plain serde struct with its defaults. A key that no section
//! has, a value of a wrong type and an impossible value are refused, with the key, where it came from and what is
//! allowed. Sections of other services may stand in the same file; the service that owns a section checks it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Map, Value, ValueKind};
use iris_core::Section;
use serde::Serialize;

use crate::exit::UsageError;

mod flags;
mod list;
mod renamed;

pub use flags::{CommonArgs, Flag};
pub use list::list;

/// Every section that a settings file may have.
const SECTIONS: [&str; 11] = [
    "classifier",
    "dashboard",
    "dataset",
    "feedback_sink",
    "kafka",
    "model",
    "producer",
    "service",
    "telemetry",
    "topics",
    "trainer",
];

const ENVIRONMENT_PREFIX: &str = "IRIS";
const ENVIRONMENT_SEPARATOR: &str = "__";

/// Why settings are refused.
#[derive(Debug)]
pub struct SettingsError {
    key: Option<String>,
    origin: Option<String>,
    problem: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.key {
            write!(f, "{key} ")?;
        }
        f.write_str(&self.problem)?;
        match &self.origin {
            Some(origin) => write!(f, " (set by {origin})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettingsError {}

/// The settings of all sources, merged but not yet read.
#[derive(Debug)]
pub struct Sources {
    merged: Config,
    file: Option<SettingsFile>,
    environment: BTreeMap<String, String>,
    flags: Vec<Flag>,
}

#[derive(Debug)]
struct SettingsFile {
    path: PathBuf,
    text: String,
}

impl Sources {
    /// Collects the settings of the file and the flags given, and of the process's environment.
    ///
    /// # Errors
    /// [`UsageError`] if the file cannot be read or is not TOML, or there is a section that no service has.
    pub fn collect(
        args: &CommonArgs,
        flags: impl IntoIterator<Item = Option<Flag>>,
    ) -> Result<Self, UsageError> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let flags = args.flags().into_iter().chain(flags).flatten().collect();
        Self::merge(args.config.as_deref(), environment, flags).map_err(UsageError::new)
    }

    fn merge(
        path: Option<&Path>,
        environment: BTreeMap<String, String>,
        flags: Vec<Flag>,
    ) -> Result<Self, SettingsError> {
        let general = |problem: String| SettingsError {
            key: None,
            origin: None,
            problem,
        };
        let file = path
            .map(|path| match std::fs::read_to_string(path) {
                Ok(text) => Ok(SettingsFile {
                    path: path.to_owned(),
                    text,
                }),
                Err(error) => Err(general(format!(
                    "cannot read the settings file {}: {error}",
                    path.display()
                ))),
            })
            .transpose()?;
        let mut builder = Config::builder();
        if let Some(SettingsFile { path, text }) = &file {
            toml::de::DeTable::parse(text)
                .map_err(|error| general(format!("{}: {error}", path.display())))?;
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
                .map_err(|error| general(error.to_string()))?;
        }
        let merged = builder
            .build()
            .map_err(|error| general(error.to_string()))?;
        let sources = Self {
            merged,
            file,
            environment,
            flags,
        };
        let sections = sources
            .merged
            .cache
            .clone()
            .into_table()
            .unwrap_or_default();
        let mut names: Vec<&String> = sections.keys().collect();
        names.sort_unstable();
        match names
            .into_iter()
            .find(|name| !SECTIONS.contains(&name.as_str()))
        {
            Some(name) => Err(sources.unknown(name, &SECTIONS.map(str::to_owned))),
            None => Ok(sources),
        }
    }

    /// Reads one section: its defaults where nothing is set.
    ///
    /// # Errors
    /// [`UsageError`] if a key is unknown, a type wrong or a value impossible.
    pub fn section<T: Section>(&self) -> Result<T, UsageError> {
        self.read().map_err(UsageError::new)
    }

    fn read<T: Section>(&self) -> Result<T, SettingsError> {
        let refused = |key: &str, problem: String| {
            let key = format!("{}{key}", T::NAME);
            let origin = self.origin(&key);
            SettingsError {
                key: Some(key),
                origin,
                problem,
            }
        };
        let section = match self.merged.get::<Value>(T::NAME) {
            Ok(value) => {
                let known = serde_json::to_value(T::default()).unwrap_or_default();
                self.check_keys(T::NAME, &value, &known)?;
                serde_path_to_error::deserialize(value).map_err(|error| {
                    let path = error.path().to_string();
                    let key = if path == "." {
                        String::new()
                    } else {
                        format!(".{path}")
                    };
                    refused(&key, problem_of(error.inner()))
                })?
            }
            Err(_) => T::default(),
        };
        section
            .validate()
            .map_err(|error| refused(&format!(".{}", error.key), error.problem))?;
        Ok(section)
    }

    /// Refuses keys that the section's defaults do not have. An empty table among the defaults takes any keys.
    fn check_keys(
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

    /// Where the value of a key came from: the strongest source that sets it.
    fn origin(&self, key: &str) -> Option<String> {
        if let Some(flag) = self.flags.iter().find(|flag| flag.key == key) {
            return Some(flag.name.to_owned());
        }
        let variable = format!("{ENVIRONMENT_PREFIX}.{key}").replace('.', ENVIRONMENT_SEPARATOR);
        let is_it = |name: &str| {
            name.eq_ignore_ascii_case(&variable) || variable.starts_with(&format!("{name}__"))
        };
        if let Some(name) = self.environment.keys().find(|name| is_it(name)) {
            return Some(format!("the environment variable {name}"));
        }
        let file = self.file.as_ref()?;
        let line = line_of(&file.text, key)?;
        Some(format!("{} line {line}", file.path.display()))
    }
}

/// The line, from 1, on which a TOML text sets a key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut start = None;
    for part in key.split('.') {
        let part = part.trim_matches('"').split('[').next()?;
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == part) else {
            break;
        };
        start = Some(name.span().start);
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    start.map(|start| 1 + text[..start].matches('\n').count())
}

/// What is wrong with a value, to be read after its key.
fn problem_of(error: &config::ConfigError) -> String {
    match error {
        config::ConfigError::Type {
            unexpected,
            expected,
            ..
        } => format!("is {unexpected}: allowed is {expected}"),
        config::ConfigError::At { error, .. } => problem_of(error),
        other => format!("cannot be used: {other}"),
    }
}

/// Writes the effective settings as TOML to standard output.
///
/// # Errors
/// If they cannot be written.
pub fn print(settings: &impl Serialize) -> anyhow::Result<()> {
    use std::io::Write;

    std::io::stdout().write_all(toml::to_string(settings)?.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use iris_core::ImpossibleSetting;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        interval_ms: u64,
        name: String,
        #[serde(deserialize_with = "list")]
        partitions: Vec<i32>,
        inner: Inner,
        free: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        #[serde(deserialize_with = "iris_core::one_of")]
        mode: Mode,
        secret: Option<String>,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Slow,
        Fast,
    }

    impl Section for Sample {
        const NAME: &'static str = "producer";

        fn validate(&self) -> Result<(), ImpossibleSetting> {
            match self.interval_ms {
                13 => Err(ImpossibleSetting::new(
                    "interval_ms",
                    "is 13: allowed is any other number",
                )),
                _ => Ok(()),
            }
        }
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                interval_ms: 100,
                name: "a".into(),
                partitions: vec![],
                inner: Inner::default(),
                free: BTreeMap::new(),
            }
        }
    }

    struct Given {
        file: Option<&'static str>,
        environment: &'static [(&'static str, &'static str)],
        flags: Vec<Flag>,
    }

    impl Given {
        fn read(self) -> Result<Sample, String> {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("iris.toml");
            let path = self.file.map(|text| {
                std::fs::write(&path, text).unwrap();
                path.as_path()
            });
            let environment = self
                .environment
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect();
            Sources::merge(path, environment, self.flags)
                .and_then(|sources| sources.read())
                .map_err(|error| {
                    error
                        .to_string()
                        .replace(&directory.path().display().to_string(), "DIR")
                })
        }
    }

    fn file(text: &'static str) -> Given {
        Given {
            file: Some(text),
            environment: &[],
            flags: vec![],
        }
    }

    fn environment(environment: &'static [(&'static str, &'static str)]) -> Given {
        Given {
            file: None,
            environment,
            flags: vec![],
        }
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
        let text = "[producer]\ninterval_ms = 1\nname = \"file\"\npartitions = [1, 2]\n[producer.inner]\nmode = \"fast\"\n";
        let sample = Given {
            file: Some(text),
            environment: &[
                ("IRIS__PRODUCER__INTERVAL_MS", "2"),
                ("IRIS__PRODUCER__NAME", "0123"),
                ("IRIS_CONFIG", "x"),
            ],
            flags: Flag::new("--interval-ms", "producer.interval_ms", Some(3_u64))
                .into_iter()
                .collect(),
        };
        let sample = sample.read().unwrap();
        assert_eq!((sample.interval_ms, sample.name.as_str()), (3, "0123"));
        assert_eq!(sample.partitions, [1, 2]);
        assert_eq!(sample.inner.mode, Mode::Fast);
        assert_eq!(environment(&[]).read().unwrap().interval_ms, 100);
    }

    #[test]
    fn lists_are_given_to_the_environment_with_commas() {
        assert_eq!(
            environment(&[("IRIS__PRODUCER__PARTITIONS", "0, 3,4")])
                .read()
                .unwrap()
                .partitions,
            [0, 3, 4]
        );
        assert_eq!(
            environment(&[("IRIS__PRODUCER__PARTITIONS", "")])
                .read()
                .unwrap()
                .partitions,
            [0; 0]
        );
    }

    #[test]
    fn each_refusal_names_the_key_where_it_came_from_and_what_is_allowed() {
        let refusals = [
            file("[producer]\nname = \"x\"\nintervall_ms = 1\n").read(),
            file("[producre]\nname = \"x\"\n").read(),
            file("[producer]\ninterval_ms = \"soon\"\n").read(),
            file("[producer]\ninterval_ms = -1\n").read(),
            file("[producer.inner]\n\nmode = \"medium\"\n").read(),
            file("[producer]\npartitions = [0, \"x\"]\n").read(),
            file("[producer]\ninterval_ms = 13\n").read(),
            file("[producer\n").read(),
            environment(&[("IRIS__PRODUCER__INTERVAL_MS", "soon")]).read(),
            environment(&[("IRIS__PRODUCER__INNER__COLOUR", "red")]).read(),
            environment(&[("IRIS__PRODUCER__PARTITIONS", "1,x")]).read(),
            Given {
                flags: Flag::new("--interval-ms", "producer.interval_ms", Some(13_u64))
                    .into_iter()
                    .collect(),
                ..environment(&[])
            }
            .read(),
        ];
        let refusals = refusals.map(|refusal| refusal.unwrap_err().trim_end().to_owned());
        insta::assert_snapshot!(refusals.join("\n---\n"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            Sources::merge(Some(Path::new("/no/such.toml")), BTreeMap::new(), vec![]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot read the settings file /no/such.toml: No such file")
        );
    }
}
