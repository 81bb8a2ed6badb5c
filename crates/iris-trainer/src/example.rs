//! For unit tests: records of one feature `x` with the classes `a` and `b`, models that tell them apart by a threshold, and
//! a learner that starts from one.

use std::sync::Arc;

use iris_core::{Artefact, Lineage, Model, Registry, Schema, TrainingSet};

use crate::learner::{Learner, Models, Stored};
use crate::observation::{Announced, Place, Prediction, Said};
use crate::settings::TrainerSettings;

pub(crate) fn schema() -> Schema {
    Schema {
        features: vec!["x".into()],
        ..Schema::default()
    }
}

/// A model that predicts `a` below the threshold, and `b` above it.
pub(crate) fn model(threshold: f64) -> Arc<Artefact> {
    let rows = [
        ([threshold - 0.25], "a"),
        ([threshold + 0.25], "b"),
        ([threshold - 3.0], "a"),
        ([threshold + 3.0], "b"),
    ];
    let rows = rows.iter().map(|(features, label)| (&features[..], *label));
    Arc::new(Artefact {
        model: Model::fit(TrainingSet::new(schema(), rows), 1).unwrap(),
        lineage: Lineage {
            rows: vec![("dataset".to_owned(), 4)],
            ..Lineage::default()
        },
    })
}

/// A learner under `model(0.0)`, for which three mispredicted rows are enough to train on.
pub(crate) fn learner(change: impl FnOnce(&mut TrainerSettings)) -> Learner {
    let mut settings = TrainerSettings {
        retrain_after_rows: 3,
        correct_sample_ratio: 0.0,
        ..TrainerSettings::default()
    };
    change(&mut settings);
    let models = Models {
        champion: model(0.0),
        predecessor: None,
        shadow: None,
    };
    Learner::restore(settings, schema(), Stored::default(), models)
}

/// The champion's prediction of `x` as it is read from partition 0, with the record's label if it has one.
pub(crate) fn announced(learner: &Learner, offset: i64, x: f64, label: Option<&str>) -> Announced {
    let champion = &learner.champion().model;
    let is_a = champion.accuracy([(&[x][..], "a")].into_iter()) == Some(1.0);
    let predicted = if is_a { "a" } else { "b" };
    let label = label.map_or_else(|| "null".to_owned(), |label| format!("\"{label}\""));
    Announced {
        place: Place {
            partition: 0,
            offset,
        },
        timestamp: offset,
        key: None,
        value: format!(
            "{{\"Id\":{offset},\"x\":{x},\"Species\":{label},\"PredictedSpecies\":\"{predicted}\"}}"
        ),
        provenance: Some(format!("00-{}-0-{offset}-0", champion.version())),
    }
}

/// The learner takes in the champion's prediction of `x`.
pub(crate) fn predict(learner: &mut Learner, offset: i64, x: f64, label: Option<&str>) {
    let announced = announced(learner, offset, x, label);
    learner.predicted(Prediction::read(&schema(), announced).unwrap());
}

/// The learner takes in a label that comes by itself; `None` withdraws the one before.
pub(crate) fn say(learner: &mut Learner, id: i64, label: Option<&str>, timestamp: i64) {
    let said = Said {
        id: id.to_string(),
        label: label.map(str::to_owned),
    };
    learner.said(said, timestamp);
}

/// A registry in which each of these models has replaced the one before, by decisions numbered from 1.
pub(crate) fn registry(champions: &[&Artefact]) -> Registry {
    let mut registry = Registry::default();
    for champion in champions {
        let entries = registry.enter(champion, true, iris_core::registry::Grounds::default());
        write(&mut registry, &entries);
    }
    registry
}

/// Applies entries to a registry, as reading them does.
pub(crate) fn write(registry: &mut Registry, entries: &[iris_core::registry::Entry]) {
    for entry in entries {
        registry
            .apply(0, Some(0), entry.key.as_bytes(), Some(&entry.value))
            .unwrap();
    }
}
