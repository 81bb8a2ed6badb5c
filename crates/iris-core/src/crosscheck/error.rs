//! Why a model must not be served.

/// A model that must not be served.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CrossCheckError {
    /// smartcore rejects the training set or a query.
    #[error("smartcore refuses the model: {0}")]
    Refused(String),
    /// The two implementations disagree on a determined prediction.
    #[error(
        "for {features:?} the model predicts `{ours}` and smartcore `{theirs}`: this is a defect, please report it"
    )]
    Disagreement {
        /// The row of features.
        features: Vec<f64>,
        /// The model's prediction.
        ours: String,
        /// smartcore's prediction.
        theirs: String,
    },
}

impl CrossCheckError {
    /// Names the classes of a disagreement.
    pub(super) fn disagreement(
        features: &[f64],
        classes: &[String],
        ours: usize,
        theirs: Option<usize>,
    ) -> Self {
        let name = |class: usize| classes.get(class).cloned().unwrap_or_default();
        Self::Disagreement {
            features: features.to_vec(),
            ours: name(ours),
            theirs: theirs.map(name).unwrap_or_default(),
        }
    }
}

/// smartcore's error.
impl From<smartcore::error::Failed> for CrossCheckError {
    fn from(error: smartcore::error::Failed) -> Self {
        Self::Refused(error.to_string())
    }
}
