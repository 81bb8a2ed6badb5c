//! Reading the dataset that the settings name.

use std::path::PathBuf;
use std::{fs, io};

use iris_core::{Dataset, DatasetError, ImpossibleSetting, Schema, Section};
use serde::{Deserialize, Serialize};

use crate::settings::list;

/// Where the dataset is and what its columns mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetSettings {
    /// The CSV file.
    pub path: PathBuf,
    /// The column that identifies a row.
    pub id: String,
    /// The columns that the model measures distances in.
    #[serde(deserialize_with = "list")]
    pub features: Vec<String>,
    /// The column that holds the class.
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
            id,
            features,
            label,
        }
    }
}

impl Section for DatasetSettings {
    const NAME: &'static str = "dataset";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        self.schema()
            .validate()
            .map_err(|error| ImpossibleSetting::new("features", format!("cannot be used: {error}")))
    }
}

impl DatasetSettings {
    /// What the columns mean.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema {
            id: self.id.clone(),
            features: self.features.clone(),
            label: self.label.clone(),
        }
    }
}

/// Why the dataset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetFileError {
    /// The file cannot be read.
    #[error("cannot read the dataset {path}; name another with dataset.path")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file's content is not a dataset.
    #[error("{path}")]
    Content {
        /// The file.
        path: String,
        /// Where and why.
        #[source]
        source: DatasetError,
    },
}

/// Reads and checks the whole dataset.
///
/// # Errors
/// [`DatasetFileError`] that names the file and, for its content, the line and the column.
pub fn read_dataset(settings: &DatasetSettings) -> Result<Dataset, DatasetFileError> {
    let path = settings.path.display().to_string();
    let csv = fs::read(&settings.path).map_err(|source| DatasetFileError::Read {
        path: path.clone(),
        source,
    })?;
    Dataset::parse(&csv, &settings.schema())
        .map_err(|source| DatasetFileError::Content { path, source })
}
