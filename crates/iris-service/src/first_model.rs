//! The model of the dataset: fitted to its training rows, and checked before use.

use std::collections::BTreeMap;

use anyhow::Context as _;
use iris_core::{Artefact, Lineage, Model, ModelSettings, cross_check};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::dataset::{DatasetSettings, SplitDataset};

/// The most held-out rows that are compared with smartcore; each takes a scan of the training rows.
const MAX_COMPARED: usize = 200;

/// A model that is fitted to the dataset.
#[derive(Debug)]
pub struct FirstModel {
    model: Model,
    training_rows: usize,
    /// The number of rows that it is not trained on.
    pub held_out_rows: usize,
    /// Its accuracy on these.
    pub accuracy: f64,
}

impl FirstModel {
    /// Fits the model to the dataset's training rows, and compares it with smartcore's on the held-out rows. Returns `None` if
    /// `stop` is cancelled.
    ///
    /// # Errors
    /// [`UsageError`](crate::UsageError) if the dataset cannot be used or the settings do not fit it; another error if the two
    /// models disagree.
    pub fn fit(
        dataset: &DatasetSettings,
        settings: &ModelSettings,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
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
            "model {}: {} training rows of {}, {} vote on {} classes; accuracy {accuracy:.4} on {held_out_rows} \
             held-out rows, {compared} of them compared with smartcore",
            model.version(),
            split.training_rows(),
            dataset.path.display(),
            model.kind(),
            model.classes().len(),
        );
        Ok(Some(Self {
            training_rows: split.training_rows(),
            model,
            held_out_rows,
            accuracy,
        }))
    }

    /// Returns the model with its origin: the program that has fitted it, and its `metrics`.
    #[must_use]
    pub fn into_artefact(self, made_by: &str, metrics: BTreeMap<String, f64>) -> Artefact {
        let lineage = Lineage {
            parent: None,
            made_by: made_by.to_owned(),
            rows: vec![("dataset".to_owned(), self.training_rows as u64)],
            metrics,
            ..Lineage::default()
        };
        Artefact {
            model: self.model,
            lineage,
        }
    }
}
