//! Values for unit tests: records with one feature `x` and the classes `a` and `b`, models that separate the classes by a
//! threshold, a learner that starts with one, and a verdict of each kind.

use std::sync::Arc;

use iris_contract::LabelRecord;
use iris_contract::registry::Entry;
use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
use iris_kafka::PartitionOffset;
use iris_registry::{Grounds, Registry};

use crate::gate::{Accuracy, Comparison, Evidence, GateVerdict};
use crate::learner::{Learner, LearnerState, Models};
use crate::observation::{Prediction, RawPrediction};
use crate::settings::{Learn, TrainerSettings};
use crate::verdict::{ProbationVerdict, ShadowVerdict, Training, TrainingCause, Verdict};

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

/// A learner with the champion `model(0.0)` that trains after three mispredictions.
pub(crate) fn learner(change: impl FnOnce(&mut TrainerSettings)) -> Learner {
    let mut settings = TrainerSettings {
        retrain_after_rows: 3,
        learn: Learn::Errors,
        holdout_ratio: 0.0,
        ..TrainerSettings::default()
    };
    change(&mut settings);
    let models = Models {
        champion: model(0.0),
        predecessor: None,
        shadow: None,
        kinds: Vec::new(),
        dataset: model(0.0),
    };
    Learner::restore(settings, schema(), LearnerState::default(), models)
}

/// A model's prediction of `x`, as it is read from partition 0, with the record's label if it has one.
fn raw_prediction_by(model: &Model, offset: i64, x: f64, label: Option<&str>) -> RawPrediction {
    let is_a = model.accuracy([(&[x][..], "a")].into_iter()) == Some(1.0);
    let predicted = if is_a { "a" } else { "b" };
    let label = label.map_or_else(|| "null".to_owned(), |label| format!("\"{label}\""));
    RawPrediction {
        place: PartitionOffset {
            partition: 0,
            offset,
        },
        timestamp: offset,
        key: None,
        value: format!(
            "{{\"Id\":{offset},\"x\":{x},\"Species\":{label},\"PredictedSpecies\":\"{predicted}\"}}"
        ),
        provenance: Some(format!("00-{}-0-{offset}-0", model.version())),
    }
}

/// The champion's prediction of `x`, as it is read from partition 0, with the record's label if it has one.
pub(crate) fn raw_prediction(
    learner: &Learner,
    offset: i64,
    x: f64,
    label: Option<&str>,
) -> RawPrediction {
    raw_prediction_by(&learner.champion().model, offset, x, label)
}

/// The prediction of `x` by `model(0.0)`, without a label.
pub(crate) fn prediction(offset: i64, x: f64) -> Prediction {
    let raw = raw_prediction_by(&model(0.0).model, offset, x, None);
    Prediction::read(&schema(), raw).unwrap()
}

/// Adds the champion's prediction of `x` to the learner.
pub(crate) fn predict(learner: &mut Learner, offset: i64, x: f64, label: Option<&str>) {
    let raw = raw_prediction(learner, offset, x, label);
    learner.predicted(Prediction::read(&schema(), raw).unwrap());
}

/// Adds a label to the learner; `None` withdraws the previous one.
pub(crate) fn label(learner: &mut Learner, id: i64, label: Option<&str>, timestamp: i64) {
    let label = LabelRecord {
        id: id.to_string(),
        label: label.map(str::to_owned),
    };
    learner.labelled(label, timestamp);
}

/// A registry in which each of these models has replaced its predecessor, by decisions numbered from 1.
pub(crate) fn registry(champions: &[&Artefact]) -> Registry {
    let mut registry = Registry::default();
    for champion in champions {
        let entries = registry.enter(champion, true, Grounds::default());
        write(&mut registry, &entries);
    }
    registry
}

/// Applies entries to a registry, as reading them does.
pub(crate) fn write(registry: &mut Registry, entries: &[Entry]) {
    for entry in entries {
        registry
            .apply(0, Some(0), entry.key.as_bytes(), entry.value.as_deref())
            .unwrap();
    }
}

fn comparison(rows: u64, challenger: f64, champion: f64) -> Comparison {
    Comparison {
        rows,
        accuracy: Some(Accuracy {
            challenger,
            champion,
        }),
    }
}

/// A challenger that passes the gate, one that fails its shadow run, and a champion that fails its probation.
pub(crate) fn verdicts() -> [Verdict; 3] {
    let gate = GateVerdict {
        margin: 0.02,
        holdout: comparison(30, 0.95, 0.9),
        recent: Comparison::default(),
        evidence: Evidence::default(),
        error_rate: 0.1,
        ..GateVerdict::default()
    };
    let training = Training {
        rows: 7,
        cause: TrainingCause::Drift,
        other_kind: None,
    };
    let shadow = ShadowVerdict {
        gate: GateVerdict {
            margin: 0.25,
            holdout: Comparison::default(),
            recent: comparison(2, 1.0, 0.5),
            evidence: Evidence {
                champion_wins: 0,
                challenger_wins: 1,
                value: 1.0,
            },
            error_rate: 0.1,
            ..GateVerdict::default()
        },
        records: 4,
        accuracy: Accuracy {
            challenger: 0.75,
            champion: 1.0,
        },
        evidence: 20.0,
        error_rate: 0.1,
    };
    let probation = ProbationVerdict {
        champion: "0123456789abcdef".parse().unwrap(),
        predecessor: "00c0ffee00c0ffee".parse().unwrap(),
        records: 20,
        predecessor_wins: 9,
        champion_wins: 1,
        evidence: 64.0,
        error_rate: 0.02,
    };
    [
        Verdict::Gate(gate, training),
        Verdict::Shadow(shadow),
        Verdict::Probation(probation),
    ]
}
