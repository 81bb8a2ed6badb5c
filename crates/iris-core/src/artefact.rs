//! A model as it is kept: JSON from which any later version of this program can make the same model again.
//!
//! What an answer depends on is hashed, and the hash is the model's version; so an artefact that was cut, changed or mixed
//! up is noticed when it is read. Where the model came from, its [`Lineage`], is kept beside it and not hashed: the same
//! content is the same model, however it came about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{FitError, Model, ModelVersion, TrainingSet};
use crate::schema::{Schema, SchemaError};

/// The format that is written, and the newest that is read.
pub const ARTEFACT_FORMAT: u32 = 1;

/// Where a model came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    /// The model that it was made from; none if it was fitted to a dataset.
    pub parent: Option<ModelVersion>,
    /// The service that made it.
    pub made_by: String,
    /// Where its training rows came from, such as `dataset` or `feedback`, and how many did: stretch by stretch in the order
    /// of the rows.
    pub rows: Vec<(String, u64)>,
    /// For each topic that it learned from, for each partition, the offset after the last record considered.
    pub sources: BTreeMap<String, BTreeMap<i32, i64>>,
    /// How good it was found when it was made, such as `holdout_accuracy`.
    pub metrics: BTreeMap<String, f64>,
}

/// A model, and where it came from.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// The model.
    pub model: Model,
    /// Where it came from.
    pub lineage: Lineage,
}

/// What an artefact says of itself, without its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Where the model came from.
    pub lineage: Lineage,
    /// What its columns mean.
    pub schema: Schema,
    /// How many neighbours vote.
    pub neighbors: usize,
    /// The distinct labels, sorted.
    pub classes: Vec<String>,
}

/// Why an artefact is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtefactError {
    /// It was written by a later version of this program.
    #[error(
        "its format is {found}, and the newest that this program reads is {ARTEFACT_FORMAT}: use a newer program"
    )]
    NewerFormat {
        /// The artefact's format.
        found: u32,
    },
    /// It is not what an artefact looks like.
    #[error("it is corrupt: {0}")]
    Malformed(String),
    /// A class of a row is not among the classes.
    #[error("it is corrupt: row {row} is of class {class}, and there are {classes} classes")]
    NoSuchClass {
        /// The row.
        row: usize,
        /// Its class.
        class: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// The rows do not have one value for each feature.
    #[error("it is corrupt: {values} values are not {rows} rows of {features} features")]
    RaggedRows {
        /// The values there are.
        values: usize,
        /// The rows there are.
        rows: usize,
        /// The features there are.
        features: usize,
    },
    /// Its columns have no usable meaning.
    #[error("it is corrupt: {0}")]
    Schema(#[from] SchemaError),
    /// No model can be fitted to its rows.
    #[error("it is corrupt: {0}")]
    Fit(#[from] FitError),
    /// It is another model than the one that it is kept as.
    #[error("it is corrupt: its content is that of version {found}")]
    OtherContent {
        /// The version of what it contains.
        found: ModelVersion,
    },
}

/// The artefact's JSON, written.
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

/// Read for its format alone: another may look different in all else.
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

/// Reads a part of an artefact's JSON.
fn part<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ArtefactError> {
    serde_json::from_slice(json).map_err(|error| ArtefactError::Malformed(error.to_string()))
}

impl Description {
    /// Reads what an artefact says of itself. Whether that is true shows when the model is made, by [`Artefact::read`].
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
    /// The artefact as JSON.
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
        // Numbers, texts and maps keyed by them: writing these to memory cannot fail.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Makes the model again, and checks that it is the one that is kept as `version`.
    ///
    /// # Errors
    /// [`ArtefactError`] if it is not, whatever the bytes are.
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
    fn what_is_written_is_read_to_the_last_bit() {
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
    fn each_fault_is_refused_by_name() {
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
    fn any_cut_is_refused() {
        let written = artefact(&ROWS, 1);
        let json = written.to_json();
        for length in 0..json.len() {
            let read = Artefact::read(written.model.version(), &json[..length]);
            assert!(read.is_err(), "{length} of {} bytes", json.len());
        }
    }
}
