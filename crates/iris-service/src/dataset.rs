//! Reads the dataset that the settings name, and splits it into training and held-out rows.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Error;
use iris_core::split::Split;
use iris_core::{Dataset, DatasetError, InvalidSetting, Model, ModelSettings, Schema, Section};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::exit::UsageError;
use crate::settings::list;

/// How often reading checks whether the service is stopped.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// The settings `dataset.*`: the file and the meaning of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetSettings {
    /// The CSV file.
    pub path: PathBuf,
    /// The character between two fields, an ASCII character; `\t` is a tab.
    pub delimiter: String,
    /// The column that identifies a row.
    pub id: String,
    /// The columns that are the model's features.
    #[serde(deserialize_with = "list")]
    pub features: Vec<String>,
    /// The column that contains the class.
    pub label: String,
}

impl Default for DatasetSettings {
    fn default() -> Self {
        let Schema {
            id,
            features,
            label,
        } = Schema::default();
        Self {
            path: "data/iris.csv".into(),
            delimiter: ",".to_owned(),
            id,
            features,
            label,
        }
    }
}

impl Section for DatasetSettings {
    const NAME: &'static str = "dataset";

    fn validate(&self) -> Result<(), InvalidSetting> {
        if self.delimiter_byte().is_none() {
            let problem = format!(
                "is `{}`: allowed is one ASCII character that is not a quote or the end of a line; `\\t` is a tab",
                self.delimiter.escape_debug()
            );
            return Err(InvalidSetting::new("delimiter", problem));
        }
        self.schema()
            .validate()
            .map_err(|error| InvalidSetting::new("features", format!("cannot be used: {error}")))
    }
}

impl DatasetSettings {
    /// Returns the delimiter; `None` if it is not one character.
    #[must_use]
    pub fn delimiter_byte(&self) -> Option<u8> {
        match self.delimiter.as_bytes() {
            b"\\t" => Some(b'\t'),
            [b'"' | b'\r' | b'\n'] => None,
            &[byte] if byte.is_ascii() => Some(byte),
            _ => None,
        }
    }

    /// Returns the meaning of the columns.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema {
            id: self.id.clone(),
            features: self.features.clone(),
            label: self.label.clone(),
        }
    }
}

/// The error for a dataset that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetFileError {
    /// The file cannot be read.
    #[error("cannot read the dataset {path}; name another with dataset.path")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The content of the file is not a dataset.
    #[error("{path}")]
    Content {
        /// The file.
        path: String,
        /// The cause, with its line and column.
        #[source]
        source: DatasetError,
    },
}

/// Reads and checks the dataset; `None` if `stop` is cancelled.
///
/// # Errors
/// [`DatasetFileError`] with the file and, for its content, the line and column.
pub fn read_dataset(
    settings: &DatasetSettings,
    stop: &CancellationToken,
) -> Result<Option<Dataset>, DatasetFileError> {
    let path = settings.path.display().to_string();
    let csv = match read_file(&settings.path, stop) {
        Ok(Some(csv)) => csv,
        Ok(None) => return Ok(None),
        Err(source) => return Err(DatasetFileError::Read { path, source }),
    };
    let delimiter = settings.delimiter_byte().unwrap_or(b',');
    let is_stopped = || stop.is_cancelled();
    match Dataset::parse_delimited(&csv, &settings.schema(), delimiter, &is_stopped) {
        Ok(dataset) => Ok(Some(dataset)),
        Err(DatasetError::Stopped) => Ok(None),
        Err(source) => Err(DatasetFileError::Content { path, source }),
    }
}

/// Reads a file, and one byte more than the largest dataset at most; `None` if `stop` is cancelled. A pipe or a network file
/// system may block for any time, so the thread that reads it is left behind after a stop.
fn read_file(path: &Path, stop: &CancellationToken) -> io::Result<Option<Vec<u8>>> {
    let path = path.to_owned();
    let (sender, read) = sync_channel(1);
    thread::Builder::new()
        .name("read-dataset".to_owned())
        .spawn(move || {
            let read = || {
                let file = File::open(path)?;
                let mut csv = Vec::with_capacity(known_length(&file));
                file.take(Dataset::MAX_BYTES + 1).read_to_end(&mut csv)?;
                Ok(csv)
            };
            // Nobody receives it after a stop.
            let _ = sender.send(read());
        })?;
    loop {
        match read.recv_timeout(STOP_INTERVAL) {
            Ok(result) => return result.map(Some),
            Err(RecvTimeoutError::Timeout) if stop.is_cancelled() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the reading thread panicked"));
            }
        }
    }
}

/// Returns the length of a file, at most that of the largest dataset; 0 for a pipe.
fn known_length(file: &File) -> usize {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    usize::try_from(length.min(Dataset::MAX_BYTES)).unwrap_or(0)
}

/// A dataset, split into training and held-out rows.
#[derive(Clone, Debug)]
pub struct SplitDataset {
    rows: Dataset,
    split: Split,
    model: ModelSettings,
}

impl SplitDataset {
    /// Reads the dataset and splits it as the model's settings say; `None` if `stop` is cancelled.
    ///
    /// # Errors
    /// [`UsageError`] if the dataset cannot be used, or cannot be split.
    pub fn read(
        dataset: &DatasetSettings,
        model: &ModelSettings,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, UsageError> {
        let rows = read_dataset(dataset, stop).map_err(UsageError::new)?;
        rows.map(|rows| Self::split(rows, model)).transpose()
    }

    /// Splits a dataset as the model's settings say.
    ///
    /// # Errors
    /// [`UsageError`] if the dataset cannot be split.
    pub fn split(rows: Dataset, model: &ModelSettings) -> Result<Self, UsageError> {
        let split = rows
            .split(model.test_size, model.random_state)
            .map_err(|error| UsageError::from(Error::new(error).context("model.test_size")))?;
        Ok(Self {
            rows,
            split,
            model: model.clone(),
        })
    }

    /// Fits the model to the training rows.
    ///
    /// # Errors
    /// [`UsageError`] if the model's settings do not suit the training rows.
    pub fn fit(&self) -> Result<Model, UsageError> {
        let rows = self.rows.training_set(&self.split.train);
        let kind = self.model.kind(&rows);
        Model::fit(rows, kind).map_err(|error| {
            let setting = error
                .setting()
                .map_or(ModelSettings::NAME.to_owned(), |setting| {
                    format!("{}.{setting}", ModelSettings::NAME)
                });
            UsageError::from(Error::new(error).context(setting))
        })
    }

    /// Returns the number of training rows.
    #[must_use]
    pub fn training_rows(&self) -> usize {
        self.split.train.len()
    }

    /// Returns the features and the label of each held-out row.
    pub fn held_out(&self) -> impl Iterator<Item = (&[f64], &str)> + Clone {
        self.rows.examples(&self.split.test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(model: &ModelSettings) -> Result<SplitDataset, UsageError> {
        let schema = Schema {
            features: vec!["x".to_owned()],
            ..Schema::default()
        };
        let csv = b"Id,x,Species\n1,1.0,a\n2,2.0,a\n3,3.0,b\n4,4.0,b\n5,5.0,b\n";
        SplitDataset::split(Dataset::parse(csv, &schema).unwrap(), model)
    }

    #[test]
    fn the_delimiter_is_one_character() {
        for (delimiter, expected) in [
            (",", Some(b',')),
            (";", Some(b';')),
            ("\t", Some(b'\t')),
            ("\\t", Some(b'\t')),
            ("", None),
            (",,", None),
            ("\"", None),
            ("\n", None),
            ("é", None),
        ] {
            let settings = DatasetSettings {
                delimiter: delimiter.to_owned(),
                ..DatasetSettings::default()
            };
            assert_eq!(settings.delimiter_byte(), expected, "{delimiter:?}");
            assert_eq!(settings.validate().is_ok(), expected.is_some());
        }
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_does_not_delay_a_stop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let stop = CancellationToken::new();
        stop.cancel();
        let settings = DatasetSettings {
            path,
            ..DatasetSettings::default()
        };
        assert!(read_dataset(&settings, &stop).unwrap().is_none());
    }

    #[test]
    fn a_dataset_is_split_and_the_model_is_fitted_to_its_training_rows() {
        let split = split(&ModelSettings {
            neighbors: 1,
            ..ModelSettings::default()
        });
        let split = split.unwrap();
        assert_eq!((split.training_rows(), split.held_out().count()), (4, 1));
        assert_eq!(split.fit().unwrap().training_set().len(), 4);
    }

    #[test]
    fn settings_that_do_not_fit_the_dataset_are_refused_with_their_key() {
        let refused = split(&ModelSettings {
            test_size: 1.0,
            ..ModelSettings::default()
        });
        assert_eq!(refused.unwrap_err().to_string(), "model.test_size");
        let split = split(&ModelSettings {
            neighbors: 5,
            ..ModelSettings::default()
        });
        let refused = split.unwrap().fit().unwrap_err();
        assert_eq!(refused.to_string(), "model.neighbors");
    }
}
