//! Stores a model as JSON from which this and any later version of the program rebuild the same model.
//!
//! A model's version is a hash of everything its predictions depend on, so reading detects an artefact that was truncated,
//! changed or stored under another version. The model's [`Lineage`] is stored beside it and not hashed: equal content is
//! the same model, whatever its origin.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{FitError, Model, ModelVersion, TrainingSet};
use crate::schema::{Schema, SchemaError};

/// The format written, and the newest format read.
pub const ARTEFACT_FORMAT: u32 = 1;

/// The origin of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The model it was derived from; none if it was fitted to a dataset.
    pub parent: Option<ModelVersion>,
    /// The service that created it.
    pub made_by: String,
    /// The source of its training rows, such as `dataset` or `feedback`, and their number, for each run of rows with the
    /// same source, in the order of the rows.
    pub rows: Vec<(String, u64)>,
    /// For each topic it learned from and each partition, the offset after the last record considered.
    pub sources: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Its metrics when it was created, such as `holdout_accuracy`.
    pub metrics: BTreeMap<String, f64>,
}

/// A model and its origin.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// The model.
    pub model: Model,
    /// The model's origin.
    pub lineage: Lineage,
}

/// An artefact without its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The model's origin.
    pub lineage: Lineage,
    /// The meaning of its columns.
    pub schema: Schema,
    /// The number of neighbours that vote.
    pub neighbors: usize,
    /// The distinct labels, sorted.
    pub classes: Vec<String>,
}

/// An artefact that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactError {
    /// A later version of the program wrote it.
    #[error(
        "its format is {found}, and the newest that this program reads is {ARTEFACT_FORMAT}: use a newer program"
    )]
    NewerFormat {
        /// The artefact's format.
        found: u32,
    },
    /// It is not the JSON of an artefact.
    #[error("it is corrupt: {0}")]
    Malformed(String),
    /// A row has a class that is not listed.
    #[error("it is corrupt: row {row} is of class {class}, and there are {classes} classes")]
    NoSuchClass {
        /// The row.
        row: usize,
        /// Its class.
        class: usize,
        /// The number of classes.
        classes: usize,
    },
    /// The number of values is not the number of rows times that of features.
    #[error("it is corrupt: {values} values are not {rows} rows of {features} features")]
    RaggedRows {
        /// The number of values.
        values: usize,
        /// The number of rows.
        rows: usize,
        /// The number of features.
        features: usize,
    },
    /// Its schema is invalid.
    #[error("it is corrupt: {0}")]
    Schema(#[from] SchemaError),
    /// No model can be fitted to its rows.
    #[error("it is corrupt: {0}")]
    Fit(#[from] FitError),
    /// Its content is that of another model than its version says.
    #[error("it is corrupt: its content is that of version {found}")]
    OtherContent {
        /// The version of its content.
        found: ModelVersion,
    },
}

/// The artefact's JSON, for writing.
#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    lineage: &'a Lineage,
    schema: &'a Schema,
    neighbors: usize,
    classes: &'a [String],
    class_of_row: &'a [usize],
    features: &'a [f64],
}

/// The only member that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Described {
    lineage: Lineage,
    schema: Schema,
    neighbors: usize,
    classes: Vec<String>,
}

#[derive(Deserialize)]
struct Rows {
    class_of_row: Vec<usize>,
    features: Vec<f64>,
}

/// Reads some members of an artefact's JSON.
fn part<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ArtefactError> {
    serde_json::from_slice(json).map_err(|error| ArtefactError::Malformed(error.to_string()))
}

impl Description {
    /// Reads an artefact's description. Only [`Artefact::read`] checks it against the rows.
    ///
    /// # Errors
    /// [`ArtefactError::NewerFormat`] or [`ArtefactError::Malformed`].
    pub fn read(json: &[u8]) -> Result<Self, ArtefactError> {
        let Format { format } = part(json)?;
        if format > ARTEFACT_FORMAT {
            return Err(ArtefactError::NewerFormat { found: format });
        }
        let Described {
            lineage,
            schema,
            neighbors,
            classes,
        } = part(json)?;
        Ok(Self {
            lineage,
            schema,
            neighbors,
            classes,
        })
    }
}

impl Artefact {
    /// Returns the artefact as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let rows = self.model.training_set();
        let written = Written {
            format: ARTEFACT_FORMAT,
            lineage: &self.lineage,
            schema: rows.schema(),
            neighbors: self.model.neighbors(),
            classes: rows.classes(),
            class_of_row: rows.class_of_row(),
            features: rows.features(),
        };
        // Serializing numbers, strings and maps of them to memory cannot fail.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Rebuilds the model and checks that it has this `version`.
    ///
    /// # Errors
    /// [`ArtefactError`] for any bytes that are not the artefact of that model.
    pub fn read(version: ModelVersion, json: &[u8]) -> Result<Self, ArtefactError> {
        let Description {
            lineage,
            schema,
            neighbors,
            classes,
        } = Description::read(json)?;
        schema.validate()?;
        let Rows {
            class_of_row,
            features,
        } = part(json)?;
        let (rows, width) = (class_of_row.len(), schema.features.len());
        if features.len() != rows * width {
            return Err(ArtefactError::RaggedRows {
                values: features.len(),
                rows,
                features: width,
            });
        }
        let is_missing = |&(_, &class): &(usize, &usize)| class >= classes.len();
        if let Some((row, &class)) = class_of_row.iter().enumerate().find(is_missing) {
            return Err(ArtefactError::NoSuchClass {
                row,
                class,
                classes: classes.len(),
            });
        }
        let labels = class_of_row.iter().map(|&class| classes[class].as_str());
        let rows = features.chunks_exact(width).zip(labels);
        let model = Model::fit(TrainingSet::new(schema, rows), neighbors)?;
        if model.version() != version {
            return Err(ArtefactError::OtherContent {
                found: model.version(),
            });
        }
        Ok(Self { model, lineage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artefact(rows: &[([f64; 2], &str)], neighbors: usize) -> Artefact {
        let schema = Schema {
            features: vec!["x".into(), "y".into()],
            ..Schema::default()
        };
        let rows = rows.iter().map(|(features, label)| (&features[..], *label));
        let model = Model::fit(TrainingSet::new(schema, rows), neighbors).unwrap();
        let lineage = Lineage {
            parent: Some("0123456789abcdef".parse().unwrap()),
            made_by: "a test".into(),
            rows: vec![("dataset".to_owned(), 1), ("feedback".to_owned(), 1)],
            sources: [("feedback".to_owned(), [(0, 7), (3, 1)].into())].into(),
            metrics: [("holdout_accuracy".to_owned(), 0.1 + 0.2)].into(),
        };
        Artefact { model, lineage }
    }

    const ROWS: [([f64; 2], &str); 2] = [([0.1, -0.0], "a"), ([1e300, 5e-324], "b")];

    #[test]
    fn a_written_artefact_is_read_back_bit_for_bit() {
        let written = artefact(&ROWS, 2);
        let version = written.model.version();
        let read = Artefact::read(version, &written.to_json()).unwrap();
        assert_eq!(read.model.version(), version);
        assert_eq!(read.model.training_set(), written.model.training_set());
        assert_eq!(read.lineage, written.lineage);
        let description = Description::read(&written.to_json()).unwrap();
        assert_eq!((description.neighbors, description.classes.len()), (2, 2));
    }

    #[test]
    fn each_fault_has_an_error_of_its_own() {
        let written = artefact(&ROWS, 1);
        let version = written.model.version();
        let json = String::from_utf8(written.to_json()).unwrap();
        let refusal = |from: &str, to: &str| {
            assert!(json.contains(from), "{json}");
            let changed = json.replacen(from, to, 1);
            Artefact::read(version, changed.as_bytes())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal("\"format\":1", "\"format\":2"),
            "its format is 2, and the newest that this program reads is 1: use a newer program"
        );
        assert_eq!(
            refusal("[0,1]", "[0,2]"),
            "it is corrupt: row 1 is of class 2, and there are 2 classes"
        );
        assert_eq!(
            refusal("[0,1]", "[0]"),
            "it is corrupt: 4 values are not 1 rows of 2 features"
        );
        assert_eq!(
            refusal("\"neighbors\":1", "\"neighbors\":3"),
            "it is corrupt: neighbors is 3, but there are only 2 training rows"
        );
        assert!(refusal("0.1,", "0.2,").contains("its content is that of version "));
        assert!(refusal("\"classes\"", "\"klasses\"").contains("missing field `classes`"));
    }

    #[test]
    fn every_truncation_is_rejected() {
        let written = artefact(&ROWS, 1);
        let json = written.to_json();
        for length in 0..json.len() {
            let read = Artefact::read(written.model.version(), &json[..length]);
            assert!(read.is_err(), "{length} of {} bytes", json.len());
        }
    }
}
