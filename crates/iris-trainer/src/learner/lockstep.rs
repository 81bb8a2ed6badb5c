//! The loop on streams of known concepts, without a broker: records are predicted in blocks, and each block is learned before
//! the next one.

use std::sync::Arc;

use fastrand::Rng;
use iris_contract::registry::Action;
use iris_core::{Artefact, Lineage, Model, Schema, TrainingSet};
use iris_kafka::PartitionOffset;

use super::{Due, Learner, LearnerState, Models};
use crate::drift::Drift;
use crate::observation::{Prediction, RawPrediction};
use crate::property;
use crate::settings::TrainerSettings;

/// The number of records that are predicted before they are learned.
const BLOCK: usize = 50;

/// A record: features, the label by the concept, and the label that is learned.
struct Record {
    features: Vec<f64>,
    concept: &'static str,
    label: &'static str,
}

fn class(is_b: bool) -> &'static str {
    if is_b { "b" } else { "a" }
}

/// Records above or below a sine curve; `is_reversed` swaps the classes.
fn sine(random: &mut Rng, is_reversed: bool) -> Record {
    let (x, y) = (random.f64(), random.f64());
    let is_above = y > 0.5 + 0.3 * (std::f64::consts::TAU * x).sin();
    let concept = class(is_above ^ is_reversed);
    Record {
        features: vec![x, y],
        concept,
        label: concept,
    }
}

/// Records whose class is whether the sum of two of three features exceeds a threshold. The label is wrong with a probability.
fn sum(random: &mut Rng, threshold: f64, wrong: f64) -> Record {
    let features: Vec<f64> = (0..3).map(|_| 10.0 * random.f64()).collect();
    let is_above = features[0] + features[1] > threshold;
    let is_wrong = random.f64() < wrong;
    Record {
        features,
        concept: class(is_above),
        label: class(is_above ^ is_wrong),
    }
}

/// The result of a run.
struct Run {
    /// For each record, whether the served model was right by the concept, and whether the first model was.
    correct: Vec<(bool, bool)>,
    /// The number of records before each promotion.
    promotions: Vec<usize>,
    /// The number of records before each rollback.
    rollbacks: Vec<usize>,
    /// The number of records before each alarm of the error rate.
    alarms: Vec<usize>,
}

impl Run {
    /// The accuracy of the loop and that of the first model.
    fn accuracy(
        &self,
        records: impl std::slice::SliceIndex<[(bool, bool)], Output = [(bool, bool)]>,
    ) -> (f64, f64) {
        let records = &self.correct[records];
        let share = |correct: &dyn Fn(&(bool, bool)) -> bool| {
            records.iter().filter(|record| correct(record)).count() as f64 / records.len() as f64
        };
        (share(&|record| record.0), share(&|record| record.1))
    }
}

/// Runs the loop at its default settings on records, after the first `training` of them have made the first model.
fn run(records: &[Record], training: usize) -> Run {
    let schema = Schema {
        features: (0..records[0].features.len())
            .map(|feature| format!("f{feature}"))
            .collect(),
        ..Schema::default()
    };
    let (training, stream) = records.split_at(training);
    let rows = training.iter().map(|row| (&row.features[..], row.label));
    let first = Arc::new(Artefact {
        model: Model::fit(TrainingSet::new(schema.clone(), rows), 5).unwrap(),
        lineage: Lineage {
            rows: vec![("dataset".to_owned(), training.len() as u64)],
            ..Lineage::default()
        },
    });
    let models = Models {
        champion: Arc::clone(&first),
        predecessor: None,
        shadow: None,
        kinds: crate::settings::Settings::default().competing_kinds(),
        dataset: Arc::clone(&first),
    };
    let mut learner = Learner::restore(
        TrainerSettings::default(),
        schema,
        LearnerState::default(),
        models,
    );
    let mut run = Run {
        correct: Vec::new(),
        promotions: Vec::new(),
        rollbacks: Vec::new(),
        alarms: Vec::new(),
    };
    for block in stream.chunks(BLOCK) {
        let first_offset = run.correct.len();
        let champion = Arc::clone(learner.champion());
        let predictions: Vec<Prediction> = (first_offset..)
            .zip(block)
            .map(|(offset, record)| predict(&champion.model, offset, record))
            .collect();
        for (prediction, record) in predictions.iter().zip(block) {
            let by_first = predict(&first.model, 0, record).predicted;
            run.correct.push((
                prediction.predicted == record.concept,
                by_first == record.concept,
            ));
        }
        for (learned, prediction) in predictions.into_iter().enumerate() {
            learner.predicted(prediction);
            let is_alarm = |drift: &Drift| matches!(drift, Drift::Errors { .. });
            let alarms = learner.take_drifts().into_iter().filter(is_alarm);
            run.alarms.extend(alarms.map(|_| first_offset + learned));
            while let Some(due) = learner.due(false) {
                let records = first_offset + learned;
                match decide(&mut learner, due) {
                    Some(Action::Promoted) => run.promotions.push(records),
                    Some(Action::RolledBack) => run.rollbacks.push(records),
                    _ => (),
                }
            }
        }
    }
    run
}

fn predict(model: &Model, offset: usize, record: &Record) -> Prediction {
    let place = PartitionOffset::new(0, i64::try_from(offset).unwrap());
    Prediction {
        raw: RawPrediction {
            place,
            timestamp: place.offset,
            key: None,
            value: String::new(),
            provenance: None,
        },
        id: offset.to_string(),
        version: Some(model.version()),
        features: record.features.clone(),
        predicted: model.predict_label(&record.features).to_owned(),
        own_label: Some(record.label.to_owned()),
    }
}

/// Carries out a decision. Returns how it changed the champion.
fn decide(learner: &mut Learner, due: Due) -> Option<Action> {
    let number = learner.decision() + 1;
    if due == Due::RollBack {
        let predecessor = Arc::clone(&learner.probation.as_ref().unwrap().predecessor);
        learner.follow(number, Action::RolledBack, predecessor, None);
        return Some(Action::RolledBack);
    }
    let challenger = Arc::new(learner.train_challenger(&[].into())?);
    if !learner.judge(&challenger.model, &[]).is_passed() {
        return None;
    }
    let predecessor = Arc::clone(learner.champion());
    learner.follow(number, Action::Promoted, challenger, Some(predecessor));
    Some(Action::Promoted)
}

#[test]
fn after_the_labels_are_reversed_the_loop_recovers_with_one_alarm() {
    let mut random = Rng::with_seed(1);
    let records: Vec<Record> = (0..4_500).map(|n| sine(&mut random, n >= 2_500)).collect();
    let run = run(&records, 500);
    let (before, _) = run.accuracy(1_000..2_000);
    let (after, never_learning) = run.accuracy(2_300..);
    assert!(before > 0.95, "{before}");
    assert!(after > before - 0.03, "{before} {after}");
    assert!(never_learning < 0.1, "{never_learning}");
    let [alarm] = run.alarms[..] else {
        panic!("{:?}", run.alarms);
    };
    assert!((2_000..2_100).contains(&alarm), "{alarm}");
    // A challenger is trained when a few records of the new concept are there, not after the usual number of rows.
    let promoted = run.promotions.iter().find(|&&promotion| promotion > alarm);
    let promoted = promoted.is_some_and(|&promotion| promotion <= alarm + 20);
    assert!(promoted, "{alarm} {:?}", run.promotions);
}

#[test]
fn the_loop_follows_a_moved_threshold_although_labels_are_wrong() {
    let mut random = Rng::with_seed(2);
    let threshold = |n: usize| if n < 3_000 { 8.0 } else { 11.0 };
    let records: Vec<Record> = (0..6_000)
        .map(|n| sum(&mut random, threshold(n), 0.1))
        .collect();
    let run = run(&records, 500);
    let (after, never_learning) = run.accuracy(4_000..);
    assert!(after > never_learning + 0.05, "{after} {never_learning}");
}

#[test]
fn on_a_stream_that_does_not_change_the_loop_is_never_worse_than_not_learning() {
    let settings = TrainerSettings::default();
    let seeds = u64::from(property::config(1).cases / 1_000).clamp(1, 4);
    for seed in 0..seeds {
        let mut random = Rng::with_seed(seed);
        let records: Vec<Record> = (0..3_000).map(|_| sum(&mut random, 9.0, 0.1)).collect();
        let run = run(&records, 1_000);
        let (accuracy, never_learning) = run.accuracy(..);
        assert!(
            accuracy > never_learning - 0.005,
            "{seed}: {accuracy} {never_learning}"
        );
        assert!(run.alarms.is_empty(), "{seed}");
        let (promotions, rollbacks) = (run.promotions.len(), run.rollbacks.len());
        assert!(promotions >= 20, "{seed}: {promotions}");
        assert!(
            rollbacks as f64 <= promotions as f64 * settings.rollback_error_rate,
            "{seed}: {rollbacks} of {promotions} champions were rolled back"
        );
    }
}
