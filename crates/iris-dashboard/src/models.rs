//! The registry as the page shows it: models with parent, training rows, metrics and reigns, and the decisions.

use std::collections::BTreeMap;

use iris_core::ModelVersion;
use iris_registry::Registry;
use iris_registry::{Recorded, Registered};
use serde::Serialize;
use utoipa::ToSchema;

/// A period in which a model was the champion, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reign {
    /// The start.
    pub from_ms: Option<i64>,
    /// The end; null if the model is still the champion.
    pub until_ms: Option<i64>,
}

/// A model of the registry.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ModelFigures {
    /// The model version.
    pub model_version: String,
    /// Whether it is the champion.
    pub is_champion: bool,
    /// When it was registered, in milliseconds since the epoch.
    pub registered_ms: Option<i64>,
    /// The reason why services refuse the model; null if they accept it.
    pub refused: Option<String>,
    /// The version of the model that it was trained from.
    pub parent: Option<String>,
    /// The service that made it.
    pub made_by: String,
    /// The number of training rows, by source.
    pub rows: BTreeMap<String, u64>,
    /// The kind of the model and its settings.
    pub kind: String,
    /// The metrics of its evaluation, by name.
    pub metrics: BTreeMap<String, f64>,
    /// The periods in which it was the champion.
    pub reigns: Vec<Reign>,
}

/// A decision about a model.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DecisionFigures {
    /// The number of the decision, from 1.
    pub number: u64,
    /// When the decision was made, in milliseconds since the epoch.
    pub decided_ms: Option<i64>,
    /// The decision: adopted, promoted, rolled back to or rejected.
    pub action: String,
    /// The model version of the decision.
    pub model_version: String,
    /// The previous champion.
    pub replaces: Option<String>,
    /// The service that decided.
    pub by: String,
    /// The reason.
    pub reason: String,
    /// The figures behind the decision, by name.
    pub figures: BTreeMap<String, f64>,
}

/// The registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Models {
    /// The model version that classifiers serve.
    pub champion: Option<String>,
    /// The models, newest first.
    pub models: Vec<ModelFigures>,
    /// The decisions, newest first.
    pub decisions: Vec<DecisionFigures>,
}

impl Models {
    /// Returns the models and decisions of a registry.
    #[must_use]
    pub fn of(registry: &Registry) -> Self {
        let champion = registry.champion();
        let mut registered: Vec<(ModelVersion, &Registered)> = registry.models().collect();
        registered.sort_by_key(|(_, model)| std::cmp::Reverse((model.timestamp, model.offset)));
        let reigns = reigns(registry);
        let model = |(version, model): (ModelVersion, &Registered)| {
            let reigns = reigns.get(&version).cloned().unwrap_or_default();
            figures(version, model, champion == Some(version), reigns)
        };
        Self {
            champion: champion.map(|version| version.to_string()),
            models: registered.into_iter().map(model).collect(),
            decisions: registry.decisions().rev().map(decision).collect(),
        }
    }
}

fn figures(
    version: ModelVersion,
    model: &Registered,
    is_champion: bool,
    reigns: Vec<Reign>,
) -> ModelFigures {
    let mut figures = ModelFigures {
        model_version: version.to_string(),
        is_champion,
        registered_ms: model.timestamp,
        refused: None,
        parent: None,
        made_by: String::new(),
        rows: BTreeMap::new(),
        kind: String::new(),
        metrics: BTreeMap::new(),
        reigns,
    };
    match &model.description {
        Err(problem) => figures.refused = Some(problem.to_string()),
        Ok(description) => {
            let lineage = &description.lineage;
            figures.parent = lineage.parent.map(|parent| parent.to_string());
            figures.made_by = lineage.made_by.clone();
            for (source, rows) in &lineage.rows {
                *figures.rows.entry(source.clone()).or_default() += rows;
            }
            figures.kind = description.content.kind().to_string();
            figures.metrics = lineage.metrics.clone();
        }
    }
    figures
}

/// Returns the periods in which each model was the champion, the earliest first.
fn reigns(registry: &Registry) -> BTreeMap<ModelVersion, Vec<Reign>> {
    let mut reigns: BTreeMap<ModelVersion, Vec<Reign>> = BTreeMap::new();
    let mut reigning: Option<ModelVersion> = None;
    for Recorded {
        decision,
        timestamp,
    } in registry.decisions()
    {
        if !decision.action.makes_champion() {
            continue;
        }
        if let Some(reign) = reigning
            .and_then(|version| reigns.get_mut(&version))
            .and_then(|reigns| reigns.last_mut())
        {
            reign.until_ms = *timestamp;
        }
        reigning = Some(decision.version);
        reigns.entry(decision.version).or_default().push(Reign {
            from_ms: *timestamp,
            until_ms: None,
        });
    }
    reigns
}

fn decision(recorded: &Recorded) -> DecisionFigures {
    let decision = &recorded.decision;
    DecisionFigures {
        number: decision.number,
        decided_ms: recorded.timestamp,
        action: decision.action.to_string(),
        model_version: decision.version.to_string(),
        replaces: decision.replaces.map(|version| version.to_string()),
        by: decision.by.clone(),
        reason: decision.reason.clone(),
        figures: decision.figures.clone(),
    }
}

#[cfg(test)]
mod tests {
    use iris_contract::registry::Entry;
    use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
    use iris_registry::Grounds;

    use super::*;

    fn artefact(neighbors: usize, parent: Option<ModelVersion>) -> Artefact {
        let rows: [([f64; 4], &str); 2] = [([0.0; 4], "a"), ([1.0; 4], "b")];
        let rows = rows.iter().map(|(row, label)| (row.as_slice(), *label));
        let model = Model::fit(TrainingSet::new(Schema::default(), rows), neighbors).unwrap();
        let lineage = Lineage {
            parent,
            rows: vec![("dataset".to_owned(), 1), ("dataset".to_owned(), 1)],
            ..Lineage::default()
        };
        Artefact { model, lineage }
    }

    fn write(registry: &mut Registry, at: i64, entries: Vec<Entry>) {
        for (offset, entry) in entries.into_iter().enumerate() {
            let (key, value) = (entry.key.as_bytes(), entry.value.as_deref());
            registry
                .apply(at + offset as i64, Some(at), key, value)
                .unwrap();
        }
    }

    #[test]
    fn reigns_follow_from_the_decisions() {
        let mut registry = Registry::default();
        let first = artefact(1, None);
        let second = artefact(2, Some(first.model.version()));
        let entries = registry.enter(&first, true, Grounds::default());
        write(&mut registry, 100, entries);
        let entries = registry.enter(&second, true, Grounds::default());
        write(&mut registry, 200, entries);
        let entries = registry.roll_back(Grounds::default()).unwrap();
        write(&mut registry, 300, entries);

        let models = Models::of(&registry);
        assert_eq!(models.champion, Some(first.model.version().to_string()));
        let [newer, older] = &models.models[..] else {
            panic!("there are two models");
        };
        let reign = |from, until| Reign {
            from_ms: Some(from),
            until_ms: until,
        };
        assert_eq!(newer.parent.as_ref(), Some(&older.model_version));
        assert_eq!(newer.reigns, [reign(200, Some(300))]);
        assert_eq!(older.reigns, [reign(100, Some(200)), reign(300, None)]);
        assert!(older.is_champion);
        assert_eq!(older.rows, [("dataset".to_owned(), 2)].into());
        let actions: Vec<&str> = models
            .decisions
            .iter()
            .map(|decision| decision.action.as_str())
            .collect();
        assert_eq!(actions, ["rolled back to", "promoted", "adopted"]);
    }
}
