//! The predictions of scikit-learn for the iris dataset, from the file that other tests compare with, too.

use std::fs;

use anyhow::Context;
use serde::Deserialize;

use crate::workspace::workspace;

/// The model and the predictions of scikit-learn.
#[derive(Deserialize)]
pub(super) struct Reference {
    /// The ids of the training rows, in the order of the split.
    pub(super) train: Vec<String>,
    pub(super) classes: Vec<String>,
    pub(super) predictions: Vec<ReferencePrediction>,
}

/// The prediction for one row.
#[derive(Deserialize)]
pub(super) struct ReferencePrediction {
    pub(super) id: String,
    pub(super) predicted: String,
    pub(super) votes: Vec<u32>,
}

impl Reference {
    /// Reads the reference file.
    pub(super) fn read() -> anyhow::Result<Self> {
        let path = workspace().join("crates/iris-contract/tests/reference/iris.json");
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_slice(&text)?)
    }
}
