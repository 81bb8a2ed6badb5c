use iris_contract::registry::Action;

use super::*;
use crate::example::{label, learner, model, predict, schema};
use crate::gate::GateVerdict;
use crate::settings::{Learn, OnDrift};
use crate::verdict::TrainingCause;

const ENOUGH_ROWS: Due = Due::Training(TrainingCause::EnoughRows);

#[test]
fn mispredictions_are_learned() {
    let mut learner = learner(|_| ());
    for (offset, x) in [(0, 1.0), (1, 2.0), (2, -1.0), (3, 1.5)] {
        predict(&mut learner, offset, x, Some("a"));
    }
    assert_eq!(learner.due(false), Some(ENOUGH_ROWS));
    let challenger = learner.train_challenger(&[].into()).unwrap().model;
    assert_eq!(challenger.training_set().len(), 7);
    assert_eq!(
        challenger.accuracy([(&[1.2][..], "a")].into_iter()),
        Some(1.0)
    );
    assert_eq!(learner.due(true), None);
}

#[test]
fn every_labelled_record_is_learned_unless_only_errors_are() {
    for (learn, expected) in [(Learn::All, Some(ENOUGH_ROWS)), (Learn::Errors, None)] {
        let mut learner = learner(|settings| settings.learn = learn);
        for offset in 0..3 {
            predict(&mut learner, offset, 1.0, Some("b"));
        }
        assert_eq!(learner.due(false), expected);
    }
}

#[test]
fn records_that_are_held_out_are_learned_when_newer_ones_take_their_place() {
    let mut learner = learner(|settings| {
        settings.learn = Learn::All;
        settings.holdout_ratio = 1.0;
        settings.holdout_records = 4;
    });
    for offset in 0..6 {
        predict(&mut learner, offset, 1.0, Some("a"));
    }
    assert_eq!(learner.due(false), None);
    assert_eq!(learner.judge(&model(9.0).model, &[]).recent.rows, 4);
    predict(&mut learner, 6, 1.0, Some("a"));
    assert_eq!(learner.due(false), Some(ENOUGH_ROWS));
    let challenger = learner.train_challenger(&[].into()).unwrap();
    assert_eq!(challenger.model.training_set().len(), 7);
}

#[test]
fn a_challenger_is_judged_by_the_records_that_are_held_out() {
    let mut learner = learner(|settings| settings.holdout_ratio = 1.0);
    for offset in 0..12 {
        predict(&mut learner, offset, 0.5, Some("b"));
    }
    let worse = learner.judge(&model(1.0).model, &[]);
    assert!(!worse.is_passed(), "{worse}");
    assert_eq!(
        (worse.evidence.champion_wins, worse.evidence.challenger_wins),
        (12, 0)
    );
    let same = learner.judge(&model(-1.0).model, &[]);
    assert!(same.is_passed(), "{same}");
}

#[test]
fn a_correction_takes_an_example_back_before_and_after_it_was_learned() {
    let mut learner = learner(|_| ());
    predict(&mut learner, 0, 1.0, Some("a"));
    label(&mut learner, 0, Some("b"), 1);
    assert_eq!(learner.due(true), None, "the prediction was correct");
    label(&mut learner, 0, None, 2);
    let challenger = learner.train_challenger(&[].into()).unwrap();
    learner.follow(1, Action::Promoted, Arc::new(challenger), None);
    label(&mut learner, 0, Some("b"), 3);
    let corrected = learner.train_challenger(&[].into()).unwrap();
    assert_eq!(corrected.model.version(), model(0.0).model.version());
}

#[test]
fn a_late_label_of_a_misprediction_becomes_feedback_once() {
    let mut learner = learner(|_| ());
    predict(&mut learner, 0, 1.0, None);
    predict(&mut learner, 1, 1.0, Some("a"));
    label(&mut learner, 1, Some("a"), 2);
    assert_eq!(
        learner.take_feedback(),
        [],
        "the classifier has written this feedback"
    );
    label(&mut learner, 0, Some("a"), 3);
    label(&mut learner, 0, Some("a"), 4);
    let feedback = learner.take_feedback();
    assert_eq!(feedback.len(), 1);
    assert_eq!(
        feedback[0].value,
        r#"{"Id":0,"x":1,"Species":"a","PredictedSpecies":"b"}"#
    );
    label(&mut learner, 0, Some("b"), 5);
    assert_eq!(learner.take_feedback(), []);
}

#[test]
fn a_champion_that_is_worse_than_its_predecessor_is_rolled_back() {
    let mut learner = learner(|_| ());
    learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
    for offset in 0..2 {
        predict(&mut learner, offset, 0.5, Some("b"));
    }
    assert_eq!(learner.due(false), None);
    for offset in 2..20 {
        predict(&mut learner, offset, 0.5, Some("b"));
    }
    assert_eq!(learner.due(false), Some(Due::RollBack));
    learner.follow(3, Action::RolledBack, model(0.0), Some(model(1.0)));
    assert_eq!(
        learner.due(false),
        Some(ENOUGH_ROWS),
        "its errors are examples"
    );
}

/// Trains a challenger from the records since the last one, and promotes it.
fn promote_next(learner: &mut Learner, number: u64) -> Arc<Artefact> {
    let challenger = Arc::new(learner.train_challenger(&[].into()).unwrap());
    let predecessor = Arc::clone(learner.champion());
    learner.follow(
        number,
        Action::Promoted,
        Arc::clone(&challenger),
        Some(predecessor),
    );
    challenger
}

#[test]
fn the_probation_continues_against_the_last_champion_that_passed_until_one_passes() {
    let mut learner = learner(|settings| {
        settings.probation_records = 9;
        settings.learn = Learn::All;
    });
    let first = Arc::clone(learner.champion());
    let last_passed = |learner: &Learner| learner.last_passed().unwrap().model.version();
    let mut champion = Arc::clone(&first);
    for (number, offset) in (0..12_u64).zip(0..) {
        let x = 2.0 + offset as f64;
        predict(&mut learner, offset, x, Some("a"));
        let before = champion;
        champion = promote_next(&mut learner, number + 2);
        let records = learner.probation().unwrap().records;
        if offset < 9 {
            assert_eq!(last_passed(&learner), first.model.version());
            assert_eq!(records, number);
        } else if offset == 9 {
            assert_eq!(last_passed(&learner), before.model.version());
            assert_eq!(records, 0);
        }
        learner = restart(learner);
    }
    assert_eq!(learner.champion().model.training_set().len(), 4 + 12);
}

#[test]
fn a_champion_that_was_promoted_by_hand_is_on_probation_against_its_predecessor() {
    let mut learner = learner(|_| ());
    predict(&mut learner, 0, 2.0, Some("a"));
    let second = promote_next(&mut learner, 2);
    predict(&mut learner, 1, 3.0, Some("a"));
    learner.follow(3, Action::Promoted, model(5.0), Some(Arc::clone(&second)));
    let last_passed = learner.last_passed().unwrap().model.version();
    assert_eq!(last_passed, second.model.version());
    assert_eq!(learner.probation().unwrap().records, 0);
}

#[test]
fn a_probation_ends_when_it_is_passed() {
    let mut learner = learner(|settings| settings.probation_records = 5);
    learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
    for offset in 0..5 {
        assert!(learner.probation().is_some());
        predict(&mut learner, offset, 5.0, Some("b"));
    }
    assert_eq!(learner.probation(), None);
}

#[test]
fn only_a_promoted_champion_is_on_probation() {
    for (action, probation_records, is_on_probation) in [
        (Action::Promoted, 5, true),
        (Action::Promoted, 0, false),
        (Action::RolledBack, 5, false),
        (Action::Adopted, 5, false),
    ] {
        let mut learner = learner(|settings| settings.probation_records = probation_records);
        learner.follow(2, action, model(1.0), Some(model(0.0)));
        assert_eq!(learner.probation().is_some(), is_on_probation, "{action}");
    }
}

#[test]
fn a_challenger_in_shadow_is_judged_by_the_evidence() {
    for (threshold, records, is_passed) in [(1.0, 20, false), (-1.0, 20, true)] {
        let mut learner = learner(|settings| {
            settings.shadow_records = records;
            settings.shadow_sample_ratio = 1.0;
        });
        learner.start_shadow_run(model(threshold), GateVerdict::default());
        let mut offset = 0;
        while learner.due(true).is_none() {
            predict(&mut learner, offset, 0.5, Some("b"));
            offset += 1;
        }
        assert_eq!(learner.due(false), Some(Due::Shadow));
        let (_, verdict) = learner.end_shadow_run().unwrap();
        assert_eq!(verdict.is_passed(), is_passed, "{verdict}");
        assert_eq!(offset == 20, is_passed, "evidence ends the run early");
    }
}

#[test]
fn drift_is_found_in_errors_and_in_features() {
    let mut learner = learner(|settings| {
        settings.psi_records = 40;
        settings.drift_false_alarm_records = 10_000;
        settings.on_drift = OnDrift::Retrain;
        settings.retrain_after_rows = 1_000;
    });
    for offset in 0..40 {
        let x = if offset % 2 == 0 { -2.0 } else { 2.0 };
        let label = if x < 0.0 { "a" } else { "b" };
        predict(&mut learner, offset, x, Some(label));
    }
    assert_eq!(learner.take_drifts(), []);
    for offset in 40..80 {
        predict(&mut learner, offset, 9.0, Some("a"));
    }
    let kinds: Vec<_> = learner.take_drifts().iter().map(Drift::kind).collect();
    assert!(
        kinds.contains(&"errors") && kinds.contains(&"feature"),
        "{kinds:?}"
    );
    assert_eq!(
        learner.due(false),
        Some(Due::Training(TrainingCause::Drift))
    );
}

#[test]
fn a_trial_without_its_model_ends_and_learning_continues() {
    let mut learner = learner(|settings| settings.shadow_records = 4);
    learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
    learner.start_shadow_run(model(2.0), GateVerdict::default());
    let state = learner.state();
    assert!(state.predecessor().is_some() && state.shadow().is_some());
    let models = Models {
        champion: model(1.0),
        predecessor: None,
        shadow: None,
        kinds: Vec::new(),
        dataset: model(0.0),
    };
    let mut learner = Learner::restore(learner.settings, schema(), state, models);
    let state = learner.state();
    assert_eq!((state.predecessor(), state.shadow()), (None, None));
    for offset in 0..3 {
        predict(&mut learner, offset, 2.0, Some("a"));
    }
    assert_eq!(learner.due(false), Some(ENOUGH_ROWS));
}

#[test]
fn a_restored_learner_makes_the_same_decisions() {
    let mut random = fastrand::Rng::with_seed(7);
    let events: Vec<(f64, bool, bool)> = (0..400)
        .map(|_| (random.f64() * 6.0 - 3.0, random.bool(), random.u8(..8) == 0))
        .collect();
    let run = |is_killed: &mut dyn FnMut() -> bool| {
        let mut learner = learner(|settings| {
            settings.learn = Learn::All;
            settings.holdout_ratio = 0.3;
            settings.holdout_records = 30;
            settings.retrain_after_rows = 10;
            settings.max_join_records = 50;
        });
        let mut decisions = Vec::new();
        for (offset, &(x, has_label, is_flipped)) in (0..).zip(&events) {
            let class = if (x < 0.5) ^ is_flipped { "a" } else { "b" };
            predict(&mut learner, offset, x, has_label.then_some(class));
            if !has_label && offset % 3 == 0 {
                label(&mut learner, offset - 9, Some(class), offset);
            }
            if learner.due(false).is_some() {
                decisions.extend(decide(&mut learner, decisions.len() as u64 + 1));
            }
            if is_killed() {
                learner = restart(learner);
            }
        }
        decisions
    };
    let undisturbed = run(&mut || false);
    assert!(undisturbed.iter().any(|(_, is_passed)| *is_passed));
    let mut random = fastrand::Rng::with_seed(8);
    assert_eq!(run(&mut || random.u8(..4) == 0), undisturbed);
}

/// Carries out the decision that is due: rolls back, or trains a challenger and follows it if it passes the gate. Returns the
/// model's version, and whether it is the champion now.
fn decide(learner: &mut Learner, number: u64) -> Option<(iris_core::ModelVersion, bool)> {
    let due = learner.due(false)?;
    if due == Due::RollBack {
        let predecessor = Arc::clone(&learner.probation.as_ref()?.predecessor);
        let version = predecessor.model.version();
        learner.follow(number, Action::RolledBack, predecessor, None);
        return Some((version, true));
    }
    let challenger = Arc::new(learner.train_challenger(&[].into())?);
    let is_passed = learner.judge(&challenger.model, &[]).is_passed();
    let version = challenger.model.version();
    if is_passed {
        let predecessor = Arc::clone(learner.champion());
        learner.follow(number, Action::Promoted, challenger, Some(predecessor));
    }
    Some((version, is_passed))
}

/// Stores a learner as JSON and restores it.
fn restart(learner: Learner) -> Learner {
    let json = serde_json::to_string(&learner.state()).unwrap();
    let state: LearnerState = serde_json::from_str(&json).unwrap();
    let models = Models {
        champion: learner.champion,
        predecessor: learner.probation.map(|probation| probation.predecessor),
        shadow: learner.shadow.map(|shadow| shadow.challenger),
        kinds: Vec::new(),
        dataset: model(0.0),
    };
    Learner::restore(learner.settings, learner.schema, state, models)
}

#[cfg(feature = "onnx")]
mod imported {
    use iris_core::{Lineage, Model, ModelKind};

    use super::*;
    use crate::settings::OnDrift;

    /// An imported model that predicts `a` below 0, and `b` above it.
    fn imported() -> Arc<Artefact> {
        let bytes = include_bytes!("../../../iris-core/src/kinds/onnx/threshold.onnx");
        Arc::new(Artefact {
            model: Model::import_onnx(bytes.to_vec(), None, schema()).unwrap(),
            lineage: Lineage::default(),
        })
    }

    /// A learner with an imported champion.
    fn learner(settings: TrainerSettings) -> Learner {
        let models = Models {
            champion: imported(),
            predecessor: None,
            shadow: None,
            kinds: Vec::new(),
            dataset: model(0.0),
        };
        Learner::restore(settings, schema(), LearnerState::default(), models)
    }

    /// Adds records that are `a` below 1, and `b` above it.
    fn add_records(learner: &mut Learner, records: std::ops::Range<i64>) {
        let mut random = fastrand::Rng::with_seed(3);
        for offset in records {
            let x = 6.0 * random.f64() - 3.0;
            let label = if x < 1.0 { "a" } else { "b" };
            predict(learner, offset, x, Some(label));
        }
    }

    fn settings() -> TrainerSettings {
        TrainerSettings {
            retrain_after_rows: 50,
            holdout_records: 20,
            ..TrainerSettings::default()
        }
    }

    #[test]
    fn a_challenger_is_trained_on_the_rows_of_the_dataset_and_of_the_stream() {
        let mut learner = learner(settings());
        add_records(&mut learner, 0..400);
        assert_eq!(learner.due(false), Some(ENOUGH_ROWS));
        let challenger = learner.train_challenger(&[].into()).unwrap();
        let version = imported().model.version();
        assert_eq!(challenger.lineage.parent, Some(version));
        assert_eq!(challenger.model.kind(), ModelKind::from(1));
        let rows = challenger.model.training_set().len();
        assert!(rows > 300, "{rows}");
        let of_dataset = ("dataset".to_owned(), 4);
        assert_eq!(challenger.lineage.rows[0], of_dataset);
        let verdict = learner.judge(&challenger.model, &[]);
        let evidence = verdict.evidence;
        assert!(evidence.challenger_wins > evidence.champion_wins && verdict.is_passed());
        assert_eq!(verdict.left_out.rows, 0, "its rows are not known");

        // It replaces the imported model, and is replaced by it.
        let champion = Arc::new(challenger);
        learner.follow(2, Action::Promoted, champion, Some(imported()));
        assert!(learner.probation().is_some());
        learner.follow(3, Action::RolledBack, imported(), None);
        assert_eq!(learner.champion().model.version(), version);
        let again = learner.train_challenger(&[].into()).unwrap();
        assert_eq!(again.model.training_set().len(), rows);
    }

    #[test]
    fn values_are_not_compared_with_rows_that_are_not_there() {
        let mut learner = learner(TrainerSettings {
            psi_records: 50,
            on_drift: OnDrift::Retrain,
            ..settings()
        });
        for offset in 0..200 {
            predict(&mut learner, offset, 1e6 * offset as f64, None);
        }
        assert_eq!(learner.take_drifts(), []);
        assert!(learner.stability_indices().all(|(_, index)| index == 0.0));
    }
}
