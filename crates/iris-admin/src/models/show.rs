//! `models show`: one model and the decisions about it.

use std::fmt;

use anyhow::Context;
use iris_core::ModelVersion;
use iris_registry::{Registry, RegistryError};
use serde::Serialize;

use super::decisions::{TimedDecision, decision_table, reason_with_figures};
use super::details::ModelDetails;
use super::version::resolve;

/// A model, and in the text the decisions about it.
#[derive(Serialize)]
pub(super) struct ModelReport<'a> {
    #[serde(flatten)]
    details: ModelDetails<'a>,
    #[serde(skip)]
    decisions: Vec<TimedDecision<'a>>,
}

/// Returns the version of the model to show: the given one, or the champion.
///
/// # Errors
/// [`UsageError`](iris_service::UsageError) if the digits match no model or several; an error if there is no champion.
pub(super) fn choose(registry: &Registry, digits: Option<&str>) -> anyhow::Result<ModelVersion> {
    match digits {
        Some(digits) => Ok(resolve(registry, digits)?),
        None => registry
            .champion()
            .context("there is no champion: no classifier has been started yet"),
    }
}

impl<'a> ModelReport<'a> {
    pub(super) fn of(registry: &'a Registry, version: ModelVersion) -> Result<Self, RegistryError> {
        let model = registry
            .model(version)
            .ok_or(RegistryError::NoSuchModel(version))?;
        Ok(Self {
            details: ModelDetails::of(registry, version, model),
            decisions: registry
                .decisions()
                .filter(|recorded| recorded.decision.version == version)
                .map(TimedDecision::of)
                .collect(),
        })
    }
}

impl fmt::Display for ModelReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decisions = decision_table(&self.decisions, reason_with_figures);
        writeln!(f, "{}\n{decisions}", self.details)
    }
}

#[cfg(test)]
mod tests {
    use iris_core::Lineage;

    use super::super::samples::{artefact, succession};
    use super::*;

    #[test]
    fn a_model_is_shown_with_its_origin_and_its_metrics() {
        let parent: ModelVersion = "0123456789abcdef".parse().unwrap();
        let lineage = Lineage {
            parent: Some(parent),
            made_by: "iris-trainer".to_owned(),
            rows: vec![("dataset".to_owned(), 2)],
            sources: [("feedback".to_owned(), [(0, 7), (3, 1)].into())].into(),
            metrics: [("holdout_accuracy".to_owned(), 29.0 / 30.0)].into(),
        };
        let artefact = artefact(1.0, lineage);
        let version = artefact.model.version();
        let registry = succession(&[&artefact]);
        let expected = format!(
            "model      {version}, the champion\n\
             made       1970-01-01T00:00:01Z\n\
             made by    iris-trainer\n\
             made from  0123456789abcdef\n\
             rows       2: dataset 2\n\
             kind       1 neighbour\n\
             features   x\n\
             label      Species: a, b\n\
             learned    feedback up to 0: 7, 3: 1\n\
             metric     holdout_accuracy 0.9667\n"
        );
        let report = ModelReport::of(&registry, version).unwrap();
        assert_eq!(report.details.to_string(), expected);
        assert!(
            report
                .to_string()
                .starts_with(&format!("{expected}\n decision"))
        );
        assert!(
            ModelReport::of(&registry, parent).is_err(),
            "the parent is not in the registry"
        );
    }

    #[test]
    fn a_model_is_shown_with_the_decisions_about_it_alone() {
        let (first, second) = (
            artefact(1.0, Lineage::default()),
            artefact(2.0, Lineage::default()),
        );
        let registry = succession(&[&first, &second]);
        let report = ModelReport::of(&registry, first.model.version()).unwrap();
        let numbers: Vec<u64> = report
            .decisions
            .iter()
            .map(|timed| timed.decision.number)
            .collect();
        assert_eq!(numbers, [1]);
    }

    #[test]
    fn the_champion_is_shown_unless_a_version_is_given() {
        let (first, second) = (
            artefact(1.0, Lineage::default()),
            artefact(2.0, Lineage::default()),
        );
        let registry = succession(&[&first, &second]);
        let [old, new] = [&first, &second].map(|artefact| artefact.model.version());
        assert_eq!(choose(&registry, None).unwrap(), new);
        assert_eq!(choose(&registry, Some(&old.to_string())).unwrap(), old);
        let error = choose(&Registry::default(), None).unwrap_err();
        assert!(error.to_string().starts_with("there is no champion"));
    }

    #[test]
    fn control_characters_in_a_models_origin_are_escaped() {
        let hostile = "x\nmetric     holdout_accuracy 1\u{1b}[2J".to_owned();
        let artefact = artefact(
            1.0,
            Lineage {
                made_by: hostile.clone(),
                rows: vec![(hostile.clone(), 2)],
                sources: [(hostile.clone(), [(0, 7)].into())].into(),
                metrics: [(hostile, 0.5)].into(),
                ..Lineage::default()
            },
        );
        let registry = succession(&[&artefact]);
        let report = ModelReport::of(&registry, artefact.model.version()).unwrap();
        let text = report.details.to_string();
        assert_eq!(text.lines().count(), 9, "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
