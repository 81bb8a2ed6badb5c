//! The models of the registry, and the decisions about them.

use askama::Template;

use crate::models::{DecisionFigures, Models};

/// The number of decisions in the list, at most.
const MAX_DECISIONS: usize = 50;

#[derive(Template)]
#[template(path = "models.html")]
struct ModelsView<'a> {
    models: &'a Models,
    decisions: Vec<&'a DecisionFigures>,
}

/// Renders the registry.
///
/// # Errors
/// If the template cannot be rendered.
pub(crate) fn models(models: &Models) -> askama::Result<String> {
    let decisions = models.decisions.iter().take(MAX_DECISIONS).collect();
    ModelsView { models, decisions }.render()
}
