//! The model of the dataset: fitted to its training rows, and checked before use.

use anyhow::Context;
use iris_contract::figure::{HOLDOUT_ACCURACY, HOLDOUT_ROWS};
use iris_core::{Artefact, Lineage, ModelSettings, cross_check};
use iris_service::{DatasetSettings, SplitDataset};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::NAME;

/// The most held-out rows that are compared with smartcore; each takes a scan of the training rows.
const MAX_COMPARED: usize = 200;

/// Fits the model to the dataset's training rows, and compares it with smartcore's on the held-out rows. Returns `None` if
/// `stop` is cancelled.
///
/// # Errors
/// [`UsageError`](iris_service::UsageError) if the dataset cannot be used or the settings do not fit it; another error if the
/// two models disagree.
pub(crate) fn fit(
    dataset: &DatasetSettings,
    settings: &ModelSettings,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Artefact>> {
    let Some(split) = SplitDataset::read(dataset, settings, stop)? else {
        return Ok(None);
    };
    let model = split.fit()?;
    let held_out = split.held_out();
    let held_out_rows = held_out.clone().count();
    let accuracy = model.accuracy(held_out.clone()).unwrap_or_default();
    let compared = cross_check(
        &model,
        held_out.map(|(features, _)| features).take(MAX_COMPARED),
    )
    .context("the model is not served")?;
    info!(
        "model {}: {} training rows of {}, {} neighbours vote on {} classes; accuracy {accuracy:.4} on {} held-out \
         rows, {compared} of them compared with smartcore",
        model.version(),
        split.training_rows(),
        dataset.path.display(),
        model.neighbors(),
        model.classes().len(),
        held_out_rows,
    );
    let lineage = Lineage {
        parent: None,
        made_by: NAME.to_owned(),
        rows: vec![("dataset".to_owned(), split.training_rows() as u64)],
        metrics: [
            (HOLDOUT_ACCURACY.to_owned(), accuracy),
            (HOLDOUT_ROWS.to_owned(), held_out_rows as f64),
        ]
        .into(),
        ..Lineage::default()
    };
    Ok(Some(Artefact { model, lineage }))
}
