//! Stores a model as JSON from which this and any later version of the program rebuild the same model: a description, and the
//! rows in parts that fit into records.
//!
//! A model's version is a hash of everything its predictions depend on, so reading detects an artefact that was truncated,
//! changed or stored under another version, or that lacks a part. The model's [`Lineage`] is stored beside it and not hashed:
//! equal content is the same model, whatever its origin. In format 1, the rows are in the description.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{FitError, Model, ModelVersion, TrainingSet};
use crate::schema::{Schema, SchemaError};

/// The format written, and the newest format read.
pub const ARTEFACT_FORMAT: u32 = 2;

/// The newest format whose rows are in the description.
const INLINE_FORMAT: u32 = 1;

/// The maximum size of a part of the rows, in bytes, unless a single row is larger: half of a topic's default limit.
pub const MAX_PART_BYTES: usize = 512 * 1024;

/// The maximum length of a feature in JSON, with the comma after it.
const MAX_FEATURE_BYTES: usize = 25;

/// The maximum length of a row's class in JSON, with the comma after it.
const MAX_CLASS_BYTES: usize = 21;

/// The length of a part's JSON without its rows.
const PART_FRAME_BYTES: usize = 64;

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

/// Where a model's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowStorage {
    /// In the description.
    Inline,
    /// In this number of parts; 0 if they are not stored.
    Parts(u32),
}

/// An artefact without its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Where the rows are.
    pub rows: RowStorage,
    /// When the model was registered, in milliseconds since the epoch, if the description was written again later.
    pub registered_ms: Option<i64>,
    /// The model's origin.
    pub lineage: Lineage,
    /// The meaning of its columns.
    pub schema: Schema,
    /// The number of neighbours that vote.
    pub neighbors: usize,
    /// The distinct labels, sorted.
    pub classes: Vec<String>,
}

/// An artefact's JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenArtefact {
    /// The description.
    pub description: Vec<u8>,
    /// The rows in parts, in their order.
    pub parts: Vec<Vec<u8>>,
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
    /// Its rows are not stored.
    #[error("its rows are not stored")]
    NoRows,
    /// A part of its rows is missing.
    #[error("it is incomplete: {found} of {parts} parts of its rows are there")]
    MissingParts {
        /// The number of parts that there are.
        found: usize,
        /// The number of parts that it was written with.
        parts: u32,
    },
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

/// A description's JSON, for writing.
#[derive(Serialize)]
struct WrittenDescription<'a> {
    format: u32,
    parts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    registered_ms: Option<i64>,
    lineage: &'a Lineage,
    schema: &'a Schema,
    neighbors: usize,
    classes: &'a [String],
}

/// A part's JSON, for writing.
#[derive(Serialize)]
struct WrittenRows<'a> {
    format: u32,
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
    #[serde(default)]
    parts: u32,
    #[serde(default)]
    registered_ms: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Rows {
    class_of_row: Vec<usize>,
    features: Vec<f64>,
}

/// Reads some members of JSON.
fn members<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, ArtefactError> {
    serde_json::from_slice(json).map_err(|error| ArtefactError::Malformed(error.to_string()))
}

/// Returns the format of a description or a part.
fn format(json: &[u8]) -> Result<u32, ArtefactError> {
    let Format { format } = members(json)?;
    if format > ARTEFACT_FORMAT {
        return Err(ArtefactError::NewerFormat { found: format });
    }
    Ok(format)
}

/// Writes JSON. Serializing numbers, strings and maps of them to memory cannot fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

impl Description {
    /// Reads an artefact's description. Only [`Artefact::read`] checks it against the rows.
    ///
    /// # Errors
    /// [`ArtefactError::NewerFormat`] or [`ArtefactError::Malformed`].
    pub fn read(json: &[u8]) -> Result<Self, ArtefactError> {
        let format = format(json)?;
        let described: Described = members(json)?;
        Ok(Self {
            rows: if format <= INLINE_FORMAT {
                RowStorage::Inline
            } else {
                RowStorage::Parts(described.parts)
            },
            registered_ms: described.registered_ms,
            lineage: described.lineage,
            schema: described.schema,
            neighbors: described.neighbors,
            classes: described.classes,
        })
    }

    /// Returns the description as JSON. Rows that were in the description are left out.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        json(&WrittenDescription {
            format: ARTEFACT_FORMAT,
            parts: match self.rows {
                RowStorage::Inline => 0,
                RowStorage::Parts(parts) => parts,
            },
            registered_ms: self.registered_ms,
            lineage: &self.lineage,
            schema: &self.schema,
            neighbors: self.neighbors,
            classes: &self.classes,
        })
    }
}

impl Artefact {
    /// Returns the description of the model, whose rows are not stored.
    #[must_use]
    pub fn describe(&self) -> Description {
        let rows = self.model.training_set();
        Description {
            rows: RowStorage::Parts(0),
            registered_ms: None,
            lineage: self.lineage.clone(),
            schema: rows.schema().clone(),
            neighbors: self.model.neighbors(),
            classes: rows.classes().to_vec(),
        }
    }

    /// Returns the artefact as JSON.
    #[must_use]
    pub fn write(&self) -> WrittenArtefact {
        let rows = self.model.training_set();
        let width = rows.schema().features.len().max(1);
        let row_bytes = width * MAX_FEATURE_BYTES + MAX_CLASS_BYTES;
        let rows_per_part = ((MAX_PART_BYTES - PART_FRAME_BYTES) / row_bytes).max(1);
        let classes = rows.class_of_row().chunks(rows_per_part);
        let features = rows.features().chunks(rows_per_part * width);
        let part = |(class_of_row, features)| {
            json(&WrittenRows {
                format: ARTEFACT_FORMAT,
                class_of_row,
                features,
            })
        };
        let parts: Vec<Vec<u8>> = classes.zip(features).map(part).collect();
        let description = Description {
            rows: RowStorage::Parts(u32::try_from(parts.len()).unwrap_or(u32::MAX)),
            ..self.describe()
        };
        WrittenArtefact {
            description: description.to_json(),
            parts,
        }
    }

    /// Rebuilds the model from its description and the parts of its rows, and checks that it has this `version`.
    ///
    /// # Errors
    /// [`ArtefactError`] for any bytes that are not the artefact of that model, and if a part is missing.
    pub fn read<P: AsRef<[u8]>>(
        version: ModelVersion,
        description: &[u8],
        parts: &[P],
    ) -> Result<Self, ArtefactError> {
        let Description {
            lineage,
            schema,
            neighbors,
            classes,
            rows,
            ..
        } = Description::read(description)?;
        schema.validate()?;
        let Rows {
            class_of_row,
            features,
        } = match rows {
            RowStorage::Inline => members(description)?,
            RowStorage::Parts(count) => join(count, parts)?,
        };
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

/// Reads all parts of the rows.
fn join<P: AsRef<[u8]>>(count: u32, parts: &[P]) -> Result<Rows, ArtefactError> {
    if parts.is_empty() {
        return Err(ArtefactError::NoRows);
    }
    if usize::try_from(count) != Ok(parts.len()) {
        return Err(ArtefactError::MissingParts {
            found: parts.len(),
            parts: count,
        });
    }
    let mut rows = Rows::default();
    for part in parts {
        let json = part.as_ref();
        format(json)?;
        let Rows {
            class_of_row,
            features,
        } = members(json)?;
        rows.class_of_row.extend(class_of_row);
        rows.features.extend(features);
    }
    Ok(rows)
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

    /// `ROWS` with one neighbour, as format 1 has them.
    const INLINE: &str = r#"{"format":1,"lineage":{"parent":"0123456789abcdef","made_by":"a test","rows":[["dataset",1],["feedback",1]],"sources":{"feedback":{"0":7,"3":1}},"metrics":{"holdout_accuracy":0.30000000000000004}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["a","b"],"class_of_row":[0,1],"features":[0.1,-0.0,1e300,5e-324]}"#;

    const NO_PARTS: [&[u8]; 0] = [];

    /// An artefact whose rows are the longest in JSON.
    fn wide(features: usize, rows: usize) -> Artefact {
        let schema = Schema {
            features: (0..features).map(|n| format!("f{n}")).collect(),
            ..Schema::default()
        };
        let rows: Vec<Vec<f64>> = (0..rows)
            .map(|row| {
                (0..features)
                    .map(|n| -2.225_073_858_507_201_4e-308 * (1.0 + (row * features + n) as f64))
                    .collect()
            })
            .collect();
        let rows = rows.iter().map(|row| (&row[..], "a"));
        Artefact {
            model: Model::fit(TrainingSet::new(schema, rows), 1).unwrap(),
            lineage: Lineage::default(),
        }
    }

    #[test]
    fn a_written_artefact_is_read_back_bit_for_bit() {
        let written = artefact(&ROWS, 2);
        let version = written.model.version();
        let WrittenArtefact { description, parts } = written.write();
        let read = Artefact::read(version, &description, &parts).unwrap();
        assert_eq!(read.model.version(), version);
        assert_eq!(read.model.training_set(), written.model.training_set());
        assert_eq!(read.lineage, written.lineage);
        let expected = Description {
            rows: RowStorage::Parts(1),
            ..written.describe()
        };
        assert_eq!(Description::read(&description), Ok(expected));
    }

    #[test]
    fn an_artefact_of_format_1_is_read_from_one_record() {
        let expected = artefact(&ROWS, 1);
        let version = expected.model.version();
        let read = Artefact::read(version, INLINE.as_bytes(), &NO_PARTS).unwrap();
        assert_eq!(read.model.training_set(), expected.model.training_set());
        assert_eq!(read.lineage, expected.lineage);
        let description = Description::read(INLINE.as_bytes()).unwrap();
        assert_eq!(description.rows, RowStorage::Inline);
        let without_rows = Description {
            registered_ms: Some(7),
            ..description
        };
        let read = Description::read(&without_rows.to_json()).unwrap();
        assert_eq!(
            (read.rows, read.registered_ms),
            (RowStorage::Parts(0), Some(7))
        );
    }

    #[test]
    fn rows_are_split_into_parts_that_fit() {
        for (features, rows, parts) in [(1, 3, 1), (54, 2_000, 6), (4_000, 11, 3), (30_000, 2, 2)] {
            let written = wide(features, rows);
            let version = written.model.version();
            let WrittenArtefact {
                description,
                parts: json,
            } = written.write();
            assert_eq!(json.len(), parts, "{features} features, {rows} rows");
            if features < 20_000 {
                assert!(json.iter().all(|part| part.len() <= MAX_PART_BYTES));
            }
            let read = Artefact::read(version, &description, &json).unwrap();
            assert_eq!(read.model.training_set(), written.model.training_set());
        }
    }

    #[test]
    fn a_model_with_a_missing_or_moved_part_is_refused() {
        let written = wide(4_000, 11);
        let version = written.model.version();
        let WrittenArtefact { description, parts } = written.write();
        let refusal = |parts: &[Vec<u8>]| {
            let refused = Artefact::read(version, &description, parts);
            refused.unwrap_err().to_string()
        };
        for part in 0..3 {
            let mut parts = parts.clone();
            parts.remove(part);
            assert_eq!(
                refusal(&parts),
                "it is incomplete: 2 of 3 parts of its rows are there"
            );
        }
        let moved = [parts[1].clone(), parts[0].clone(), parts[2].clone()];
        assert!(refusal(&moved).contains("its content is that of version "));
        let doubled = [parts[0].clone(), parts[0].clone(), parts[2].clone()];
        assert!(refusal(&doubled).contains("its content is that of version "));
        assert_eq!(refusal(&[]), "its rows are not stored");
    }

    #[test]
    fn each_fault_has_an_error_of_its_own() {
        let version = artefact(&ROWS, 1).model.version();
        let refusal = |from: &str, to: &str| {
            assert!(INLINE.contains(from), "{from}");
            let changed = INLINE.replacen(from, to, 1);
            Artefact::read(version, changed.as_bytes(), &NO_PARTS)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refusal("\"format\":1", "\"format\":3"),
            "its format is 3, and the newest that this program reads is 2: use a newer program"
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
        let version = written.model.version();
        let WrittenArtefact { description, parts } = written.write();
        for length in 0..description.len() {
            let read = Artefact::read(version, &description[..length], &parts);
            assert!(read.is_err(), "{length} bytes of the description");
        }
        for length in 0..parts[0].len() {
            let read = Artefact::read(version, &description, &[&parts[0][..length]]);
            assert!(read.is_err(), "{length} bytes of the rows");
        }
        for length in 0..INLINE.len() {
            let read = Artefact::read(version, &INLINE.as_bytes()[..length], &NO_PARTS);
            assert!(read.is_err(), "{length} bytes of format 1");
        }
    }
}
