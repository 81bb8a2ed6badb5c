//! The model of the dataset: fitted to its training rows, and checked before use.

use anyhow::Context;
use iris_core::{Artefact, Lineage, Model, ModelSettings, cross_check};
use iris_service::{DatasetSettings, UsageError, read_dataset};
use tracing::info;

use crate::NAME;

/// The most held-out rows that are compared with smartcore; each takes a scan of the training rows.
const MAX_COMPARED: usize = 200;

/// Fits the model to the dataset's training rows, and compares it with smartcore's on the held-out rows.
///
/// # Errors
/// [`UsageError`] if the dataset cannot be used or the settings do not fit it; another error if the two models disagree.
pub(crate) fn fit(dataset: &DatasetSettings, settings: &ModelSettings) -> anyhow::Result<Artefact> {
    let rows = read_dataset(dataset).map_err(UsageError::new)?;
    let split = rows
        .split(settings.test_size, settings.random_state)
        .map_err(|error| UsageError::from(anyhow::Error::new(error).context("model.test_size")))?;
    let model = Model::fit(rows.training_set(&split.train), settings.neighbors)
        .map_err(|error| UsageError::from(anyhow::Error::new(error).context("model.neighbors")))?;
    let held_out = || rows.examples(&split.test);
    let accuracy = model.accuracy(held_out()).unwrap_or_default();
    let compared = cross_check(
        &model,
        held_out().map(|(features, _)| features).take(MAX_COMPARED),
    )
    .context("the model is not served")?;
    info!(
        "model {}: {} training rows of {}, {} neighbours vote on {} classes; accuracy {accuracy:.4} on {} held-out \
         rows, {compared} of them compared with smartcore",
        model.version(),
        split.train.len(),
        dataset.path.display(),
        model.neighbors(),
        model.classes().len(),
        split.test.len(),
    );
    let lineage = Lineage {
        parent: None,
        made_by: NAME.to_owned(),
        rows: vec![("dataset".to_owned(), split.train.len() as u64)],
        metrics: [
            ("holdout_accuracy".to_owned(), accuracy),
            ("holdout_rows".to_owned(), split.test.len() as f64),
        ]
        .into(),
        ..Lineage::default()
    };
    Ok(Artefact { model, lineage })
}
