//! `models list`: all models, all decisions about them, and the accuracy of the learning loop.

use std::fmt;

use iris_contract::figure::HOLDOUT_ACCURACY;
use iris_core::ModelVersion;
use iris_registry::{Registered, Registry};
use iris_service::TextTable;
use serde::Serialize;

use super::decisions::{TimedDecision, decision_table, reason};
use super::details::{ModelDetails, rows};
use super::learning::LearningDetails;
use crate::output::figure;

/// The content of the registry.
#[derive(Serialize)]
pub(super) struct ModelList<'a> {
    champion: Option<ModelVersion>,
    /// In the order in which they were made.
    models: Vec<ModelDetails<'a>>,
    decisions: Vec<TimedDecision<'a>>,
    /// The learning loop, if the trainer has written its figures.
    learning: Option<LearningDetails>,
}

impl<'a> ModelList<'a> {
    pub(super) fn of(registry: &'a Registry) -> Self {
        let mut models: Vec<(ModelVersion, &Registered)> = registry.models().collect();
        models.sort_by_key(|(_, model)| (model.timestamp, model.offset));
        Self {
            champion: registry.champion(),
            models: models
                .into_iter()
                .map(|(version, model)| ModelDetails::of(registry, version, model))
                .collect(),
            decisions: registry.decisions().map(TimedDecision::of).collect(),
            learning: None,
        }
    }

    /// Adds the figures of the learning loop.
    pub(super) fn with_learning(self, learning: Option<LearningDetails>) -> Self {
        Self { learning, ..self }
    }

    fn model_table(&self) -> TextTable {
        let mut table = TextTable::new([
            "",
            "version",
            "made",
            "made by",
            "made from",
            "kind",
            "rows",
            "kept",
            "holdout accuracy",
        ]);
        for model in &self.models {
            table.add_row(row(model));
        }
        table
    }
}

/// Returns a model's cells; those of a model that cannot be used end with the reason.
fn row(model: &ModelDetails<'_>) -> Vec<String> {
    let mark = if model.is_champion { "champion" } else { "" };
    let made = model.made.clone().unwrap_or_default();
    let mut row = vec![mark.to_owned(), model.version.to_string(), made];
    if let Some(refused) = &model.refused {
        row.push(format!("refused: {refused}"));
    }
    if let Some(description) = &model.description {
        let lineage = description.lineage;
        let parent = lineage.parent.map(|parent| parent.to_string());
        let accuracy = lineage.metrics.get(HOLDOUT_ACCURACY);
        row.extend([
            lineage.made_by.clone(),
            parent.unwrap_or_default(),
            description.kind.to_string(),
            rows(lineage),
            if model.has_rows { "yes" } else { "no" }.to_owned(),
            accuracy.map_or_else(String::new, |&accuracy| figure(accuracy)),
        ]);
    }
    row
}

impl fmt::Display for ModelList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.model_table())?;
        if !self.decisions.is_empty() {
            writeln!(f, "\n{}", decision_table(&self.decisions, reason))?;
        }
        match &self.learning {
            Some(learning) => write!(f, "\n{learning}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use iris_core::Lineage;

    use super::super::learning::tests::learning;
    use super::super::samples::{artefact, enter, succession, unusable};
    use super::*;

    #[test]
    fn models_are_listed_in_the_order_in_which_they_were_made_and_the_champion_is_marked() {
        let lineage = Lineage {
            made_by: "iris-trainer".to_owned(),
            rows: vec![
                ("dataset".to_owned(), 120),
                ("feedback".to_owned(), 3),
                ("dataset".to_owned(), 1),
            ],
            metrics: [("holdout_accuracy".to_owned(), 1.0)].into(),
            ..Lineage::default()
        };
        let (first, second) = (artefact(1.0, lineage.clone()), artefact(2.0, lineage));
        for order in [[&first, &second], [&second, &first]] {
            let registry = succession(&order);
            let list = ModelList::of(&registry);
            let versions = order.map(|artefact| artefact.model.version().to_string());
            let text = list.model_table().to_string();
            let rows: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
            let time = "1970-01-01T00:00:01Z";
            assert!(
                rows[0].starts_with(&format!("{}  {time}", versions[0])),
                "{text}"
            );
            assert!(
                rows[1].starts_with(&format!("champion  {}", versions[1])),
                "{text}"
            );
            assert!(rows[1].contains("124: dataset 121, feedback 3"), "{text}");
            assert!(rows[1].ends_with("  1"), "the accuracy: {text}");
            let json = serde_json::to_value(list).unwrap();
            assert_eq!(json["champion"], versions[1]);
            assert_eq!(json["models"][0]["version"], versions[0]);
            assert_eq!(json["models"][1]["is_champion"], true);
            assert_eq!(json["models"][1]["has_rows"], true);
            assert_eq!(json["decisions"][1]["replaces"], versions[0]);
        }
    }

    #[test]
    fn a_rejected_model_is_listed_without_its_rows() {
        let (first, second) = (
            artefact(1.0, Lineage::default()),
            artefact(2.0, Lineage::default()),
        );
        let mut registry = succession(&[&first]);
        enter(&mut registry, &second, false, 2_000);
        let list = ModelList::of(&registry);
        let text = list.model_table().to_string();
        let kept = |line: &str| line.split_whitespace().next_back().map(str::to_owned);
        let kept: Vec<_> = text.lines().skip(1).filter_map(kept).collect();
        assert_eq!(kept, ["yes", "no"], "{text}");
        let json = serde_json::to_value(list).unwrap();
        assert_eq!(json["models"][1]["has_rows"], false);
    }

    #[test]
    fn decisions_follow_the_models_if_there_are_any() {
        let model = artefact(1.0, Lineage::default());
        let registry = succession(&[&model]);
        let text = ModelList::of(&registry).to_string();
        assert!(text.contains("\n\n decision  time"), "{text}");
        let registry = unusable(&["0123456789abcdef"]);
        let text = ModelList::of(&registry).to_string();
        assert!(!text.contains("decision") && text.ends_with('\n'), "{text}");
    }

    #[test]
    fn the_learning_loop_follows_if_the_trainer_has_written_its_figures() {
        let model = artefact(1.0, Lineage::default());
        let registry = succession(&[&model]);
        let list = ModelList::of(&registry);
        let json = serde_json::to_value(&list).unwrap();
        assert_eq!(json["learning"], serde_json::Value::Null);
        let list = list.with_learning(Some(learning()));
        let text = list.to_string();
        assert!(text.contains("\n\n labelled records  predictor"), "{text}");
        assert!(text.ends_with(" standard errors\n"), "{text}");
        let json = &serde_json::to_value(&list).unwrap()["learning"];
        assert_eq!(json["written"], "1970-01-01T00:00:01Z");
        assert_eq!(json["window"]["loop"]["accuracy"], 0.93);
        assert_eq!(json["total"]["never_learning"]["records"], 2_500);
    }

    #[test]
    fn a_model_that_cannot_be_used_is_listed_with_the_reason() {
        let registry = unusable(&["0123456789abcdef"]);
        let list = ModelList::of(&registry);
        let text = list.to_string();
        assert!(
            text.contains("refused: its format is 9, and the newest that this program reads is 5"),
            "{text}"
        );
        let json = serde_json::to_value(list).unwrap();
        assert_eq!(json["models"][0]["version"], "0123456789abcdef");
        assert_eq!(json["champion"], serde_json::Value::Null);
    }
}
