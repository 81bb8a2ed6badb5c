//! `models import`: a model in the ONNX format is added to the registry, after its predictions were compared with known ones.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use iris_core::{Artefact, Dataset, Lineage, Model, ModelVersion, Schema};
use iris_registry::{Grounds, RegistrySettings, RegistryTopic};
use iris_service::UsageError;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::adopt::check_columns;
use crate::NAME;
use crate::args::ImportArgs;
use crate::settings::FirstModelSettings;

/// The maximum number of differences that an error lists.
const MAX_LISTED: usize = 5;

/// An imported model.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ImportReport {
    version: ModelVersion,
    champion: ModelVersion,
    /// The number of predictions that were compared.
    checked_rows: usize,
    classes: Vec<String>,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            champion,
            checked_rows,
            classes,
        } = self;
        writeln!(
            f,
            "{version} predicts {checked_rows} rows as expected; its classes are {}",
            classes.join(", ")
        )?;
        if version == champion {
            writeln!(f, "{version} is the champion")
        } else {
            writeln!(
                f,
                "the champion is {champion}, and `iris-admin models promote {version}` replaces it"
            )
        }
    }
}

/// Reads a model, compares its predictions with those of a file, and adds it to the registry. It becomes the champion if there is
/// none.
pub(super) fn import(
    topic: &RegistryTopic,
    args: &ImportArgs,
    settings: &FirstModelSettings,
    bounds: &RegistrySettings,
    stop: &CancellationToken,
) -> anyhow::Result<ImportReport> {
    let schema = settings.dataset.schema();
    let model = read(&args.model, &args.classes, &schema)?;
    let check = Check::read(&args.check, &schema, settings.dataset.delimiter_byte())?;
    let checked_rows = check.compare(&model)?;
    check_columns(&topic.read()?, &schema)?;
    let artefact = Artefact {
        lineage: Lineage {
            made_by: NAME.to_owned(),
            metrics: [("checked_rows".to_owned(), checked_rows as f64)].into(),
            ..Lineage::default()
        },
        model,
    };
    let grounds = Grounds {
        by: NAME.to_owned(),
        reason: "there was no champion".to_owned(),
        figures: artefact.lineage.metrics.clone(),
    };
    let version = artefact.model.version();
    let after = topic.read()?;
    let after = after.with(&after.offer(&artefact, grounds.clone()));
    let (bytes, max) = (after.model_bytes(version), bounds.max_model_bytes);
    ensure!(
        bytes as u64 <= max,
        "model {version} takes {bytes} bytes in the registry, more than registry.max_model_bytes, {max}: raise the setting, or \
         export a smaller model"
    );
    let registry = topic.update(stop, &mut |registry| {
        Ok(registry.offer(&artefact, grounds.clone()))
    })?;
    Ok(ImportReport {
        version,
        champion: registry.champion().unwrap_or(version),
        checked_rows,
        classes: artefact.model.classes().to_vec(),
    })
}

/// Reads a model's file.
fn read(path: &Path, classes: &[String], schema: &Schema) -> anyhow::Result<Model> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let names = (!classes.is_empty()).then_some(classes);
    let model = Model::import_onnx(bytes, names, schema.clone());
    Ok(model
        .with_context(|| format!("{} is refused", path.display()))
        .map_err(UsageError::from)?)
}

/// The predictions that are expected.
struct Check {
    path: PathBuf,
    rows: Dataset,
}

impl Check {
    /// Reads a file with the features and the label of each row. It needs no column with the id.
    fn read(path: &Path, schema: &Schema, delimiter: Option<u8>) -> anyhow::Result<Self> {
        let cannot_read = || format!("cannot read {}", path.display());
        let csv = std::fs::read(path).with_context(cannot_read)?;
        let schema = Schema {
            id: schema.label.clone(),
            ..schema.clone()
        };
        let delimiter = delimiter.unwrap_or(b',');
        let rows = Dataset::parse_delimited(&csv, &schema, delimiter, &|| false);
        Ok(Self {
            path: path.to_owned(),
            rows: rows.with_context(cannot_read).map_err(UsageError::from)?,
        })
    }

    /// Compares a model's predictions with the labels. Returns the number of rows.
    ///
    /// # Errors
    /// If there is no label, or for the first rows that are predicted differently.
    fn compare(&self, model: &Model) -> anyhow::Result<usize> {
        let labelled = self.rows.labelled_rows();
        let path = self.path.display();
        ensure!(!labelled.is_empty(), "{path} has no labels");
        let mut different = Vec::new();
        for &row in &labelled {
            let (features, label) = (self.rows.features(row), self.rows.label(row));
            let predicted = model.predict_label(features);
            if let Some(expected) = label.filter(|&label| label != predicted) {
                different.push(format!(
                    "row {}, features {features:?}: expected `{expected}`, predicted `{predicted}`",
                    row + 1
                ));
            }
        }
        if different.is_empty() {
            return Ok(labelled.len());
        }
        let (rows, all) = (different.len(), labelled.len());
        different.truncate(MAX_LISTED);
        let refused = format!(
            "the model predicts {rows} of the {all} rows of {path} differently; its classes are {}; {}",
            model.classes().join(", "),
            different.join("; ")
        );
        Err(UsageError::from(anyhow::Error::msg(refused)).into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::artefact;
    use super::*;

    fn check(csv: &str, model: &Model) -> Result<usize, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("predictions.csv");
        std::fs::write(&path, csv).unwrap();
        let schema = model.training_set().schema();
        let compared = Check::read(&path, schema, None).and_then(|check| check.compare(model));
        let named = path.display().to_string();
        compared.map_err(|error| format!("{error:#}").replace(&named, "predictions.csv"))
    }

    #[test]
    fn predictions_that_differ_are_listed_with_their_row() {
        let model = artefact(10.0, Lineage::default()).model;
        let schema = model.training_set().schema();
        let header = format!("{},{}", schema.features.join(","), schema.label);
        let rows: Vec<(String, String)> = model
            .training_set()
            .rows()
            .map(|(features, _)| {
                let cells: Vec<String> = features.iter().map(ToString::to_string).collect();
                (cells.join(","), model.predict_label(features).to_owned())
            })
            .collect();
        let lines = |change: &dyn Fn(&str) -> String| {
            let rows = rows.iter();
            let rows = rows.map(|(cells, label)| format!("{cells},{}\n", change(label)));
            format!("{header}\n{}", rows.collect::<String>())
        };
        let same = lines(&str::to_owned);
        assert_eq!(check(&same, &model), Ok(rows.len()));
        let refused = check(&lines(&|label| format!("not {label}")), &model).unwrap_err();
        let label = &rows[0].1;
        assert!(
            refused.starts_with(&format!(
                "the model predicts {0} of the {0} rows of predictions.csv differently",
                rows.len()
            )),
            "{refused}"
        );
        assert!(
            refused.contains(&format!("expected `not {label}`, predicted `{label}`")),
            "{refused}"
        );
        let refused = check("x,y\n1,2\n", &model).unwrap_err();
        assert!(refused.contains("cannot read predictions.csv"), "{refused}");
    }

    #[test]
    fn a_file_that_is_no_model_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.onnx");
        let schema = Schema::default();
        let missing = read(&path, &[], &schema).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read "));
        std::fs::write(&path, b"no model").unwrap();
        let refused = read(&path, &[], &schema).unwrap_err();
        assert!(format!("{refused:#}").contains("ONNX model"), "{refused:#}");
    }
}
