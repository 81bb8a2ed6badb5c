use iris_core::{Lineage, ModelVersion};
use iris_registry::RegistrySettings;

use super::*;
use crate::example::{learner, model, predict, registry, write};

/// A learner with three pending examples above the champion's threshold, labelled `a`, and the registry.
fn ready_to_train(shadow_records: usize) -> (Learner, Registry) {
    let mut learner = learner(|settings| {
        settings.shadow_records = shadow_records;
        settings.shadow_sample_ratio = 1.0;
        settings.promotion_margin = 0.02;
    });
    let registry = registry(&[&model(0.0)]);
    learner.follow(1, Action::Adopted, model(0.0), None);
    for (offset, x) in [(0, 1.0), (1, 1.5), (2, 2.0)] {
        predict(&mut learner, offset, x, Some("a"));
    }
    (learner, registry)
}

/// A challenger that was trained from `model(0.0)`.
fn challenger(threshold: f64) -> Artefact {
    Artefact {
        lineage: Lineage {
            parent: Some(model(0.0).model.version()),
            ..Lineage::default()
        },
        ..(*model(threshold)).clone()
    }
}

fn row(x: f64, label: &str) -> Row {
    (vec![x], label.to_owned())
}

/// Carries out the decision that is due.
fn decided(learner: &mut Learner, registry: &Registry, holdout: &[Row]) -> Option<DecisionResult> {
    decided_within(
        &Storage::new(RegistrySettings::default()),
        learner,
        registry,
        holdout,
    )
}

/// Carries out the decision that is due within these bounds.
fn decided_within(
    storage: &Storage,
    learner: &mut Learner,
    registry: &Registry,
    holdout: &[Row],
) -> Option<DecisionResult> {
    let sources = [("predictions".to_owned(), [(0, 3)].into())].into();
    let input = TrainingInput {
        sources: &sources,
        holdout,
        storage,
    };
    let due = learner.due(true).unwrap();
    decide(learner, registry, due, input)
}

/// The number, action and version of the only decision among these entries.
fn recorded(registry: &Registry, result: &DecisionResult) -> (u64, Action, ModelVersion) {
    let mut after = registry.clone();
    write(&mut after, &result.entries);
    let number = registry.next_decision();
    let new: Vec<_> = after
        .decisions()
        .map(|recorded| &recorded.decision)
        .filter(|decision| decision.number >= number)
        .collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert_eq!(new[0].by, "iris-trainer");
    (new[0].number, new[0].action, new[0].version)
}

#[test]
fn a_challenger_records_its_figures_and_the_offsets_it_has_read() {
    let (mut learner, _) = ready_to_train(0);
    let sources = [("predictions".to_owned(), [(0, 3)].into())].into();
    let holdout = [row(1.2, "a"), row(-1.0, "a")];
    let input = TrainingInput {
        sources: &sources,
        holdout: &holdout,
        storage: &Storage::new(RegistrySettings::default()),
    };
    let trained = train(&mut learner, input, TrainingCause::Drift).unwrap();
    let lineage = &trained.challenger.lineage;
    assert_eq!(lineage.parent, Some(model(0.0).model.version()));
    assert_eq!(lineage.sources["predictions"], [(0, 3)].into());
    assert_eq!(lineage.metrics, Figures::from(&trained.gate));
    assert_eq!(lineage.metrics["holdout_accuracy"], 1.0);
    assert_eq!(lineage.metrics["champion_holdout_accuracy"], 0.5);
    let training = Training {
        rows: 7,
        cause: TrainingCause::Drift,
        other_kind: None,
    };
    assert_eq!(trained.training, training);
    assert_eq!(learner.due(true), None, "no example is new");
}

#[test]
fn a_challenger_that_passes_the_gate_is_promoted_and_followed() {
    let (mut learner, registry) = ready_to_train(0);
    let result = decided(&mut learner, &registry, &[row(1.2, "a")]).unwrap();
    let Outcome::Promoted(version, Verdict::Gate(..)) = result.outcome else {
        panic!("{result:?}");
    };
    assert_eq!(recorded(&registry, &result), (2, Action::Promoted, version));
    assert_eq!(learner.champion().model.version(), version);
    assert_eq!(learner.decision(), 2);
    assert_eq!(learner.probation().unwrap().records, 0);
}

#[test]
fn a_challenger_that_fails_the_gate_is_rejected_with_or_without_shadow_runs() {
    for shadow_records in [0, 2] {
        let (mut learner, registry) = ready_to_train(shadow_records);
        let result = decided(&mut learner, &registry, &[row(1.2, "b")]).unwrap();
        let Outcome::Rejected(version, _) = result.outcome else {
            panic!("{result:?}");
        };
        assert_eq!(recorded(&registry, &result), (2, Action::Rejected, version));
        let champion = model(0.0).model.version();
        assert_eq!(learner.champion().model.version(), champion);
        assert_eq!(learner.decision(), 1);
    }
}

#[test]
fn with_shadow_runs_a_challenger_is_registered_first_and_promoted_after_its_run() {
    let (mut learner, mut registry) = ready_to_train(2);
    let result = decided(&mut learner, &registry, &[row(1.2, "a")]).unwrap();
    let Outcome::InShadow(version, _) = result.outcome else {
        panic!("{result:?}");
    };
    write(&mut registry, &result.entries);
    assert!(registry.model(version).is_some());
    assert_eq!(registry.next_decision(), 2, "no decision is recorded");
    assert_eq!(learner.decision(), 1);
    for offset in 3..5 {
        assert_eq!(learner.due(true), None);
        predict(&mut learner, offset, 1.2, Some("a"));
    }
    assert_eq!(learner.due(false), Some(Due::Shadow));
    let result = decided(&mut learner, &registry, &[]).unwrap();
    assert!(matches!(
        result.outcome,
        Outcome::Promoted(_, Verdict::Shadow(_))
    ));
    assert_eq!(recorded(&registry, &result), (2, Action::Promoted, version));
}

#[test]
fn training_that_gives_the_champion_again_changes_nothing() {
    let mut learner = learner(|settings| settings.max_learned_rows = 0);
    for offset in 0..3 {
        predict(&mut learner, offset, 1.0, Some("a"));
    }
    assert!(learner.due(false).is_some());
    assert_eq!(decided(&mut learner, &Registry::default(), &[]), None);
    assert_eq!(learner.due(true), None);
}

fn failed_probation() -> Learner {
    let mut learner = learner(|_| ());
    learner.follow(2, Action::Promoted, model(1.0), Some(model(0.0)));
    for offset in 0..9 {
        predict(&mut learner, offset, 0.5, Some("b"));
    }
    assert_eq!(learner.due(false), Some(Due::RollBack));
    learner
}

#[test]
fn a_champion_that_fails_its_probation_is_replaced_by_its_predecessor() {
    let mut learner = failed_probation();
    let (predecessor, champion) = (model(0.0), model(1.0));
    let registry = registry(&[&predecessor, &champion]);
    let result = decided(&mut learner, &registry, &[]).unwrap();
    let version = predecessor.model.version();
    let Outcome::RolledBack(to, verdict) = result.outcome else {
        panic!("{result:?}");
    };
    assert_eq!(to, version);
    let reason = format!(
        "{} is worse than its predecessor {version}: of 9 labelled records, only the predecessor is correct on 9 and only its \
         successors on 0: evidence ",
        champion.model.version()
    );
    assert!(verdict.to_string().starts_with(&reason), "{verdict}");
    assert_eq!(
        recorded(&registry, &result),
        (3, Action::RolledBack, version)
    );
    assert_eq!(learner.champion().model.version(), version);
    assert_eq!(learner.decision(), 3);
    assert_ne!(learner.due(false), Some(Due::RollBack));
}

#[test]
fn the_rows_of_the_model_to_roll_back_to_are_kept_during_the_probation_and_written_if_they_are_missing()
 {
    let storage = Storage::new(RegistrySettings {
        max_retired_models: 0,
        ..RegistrySettings::default()
    });
    let former = challenger(0.0);
    let version = former.model.version();
    let others = [7.0, 8.0, 9.0].map(challenger);
    let mut known = registry(&[&model(-9.0), &former]);
    for next in &others {
        let entries = known.enter(next, true, Grounds::default());
        write(&mut known, &entries);
    }
    let pruned = |known: &Registry, against| known.with(&storage.prune(known, None, against));
    assert!(pruned(&known, Some(version)).has_rows(version));
    let without = pruned(&known, None);
    assert!(!without.has_rows(version));
    for registry in [&known, &without] {
        let result = decided_within(&storage, &mut failed_probation(), registry, &[]).unwrap();
        assert_eq!(
            recorded(registry, &result),
            (6, Action::RolledBack, version)
        );
        assert!(result.registry.has_rows(version));
        let first = model(-9.0).model.version();
        assert_eq!(result.registry.succession(), [version, first]);
    }
}

#[test]
fn without_a_probation_nothing_is_rolled_back() {
    let (mut learner, registry) = ready_to_train(0);
    assert_eq!(roll_back(&mut learner, &registry), None);
}

#[test]
fn only_a_later_champion_is_followed() {
    let mut registry = registry(&[&model(0.0), &model(1.0)]);
    let later = |registry: &Registry, known| {
        later_champion(registry, known).map(|decision| (decision.number, decision.version))
    };
    let second = (2, model(1.0).model.version());
    assert_eq!(later(&Registry::default(), 0), None);
    assert_eq!(later(&registry, 0), Some(second));
    assert_eq!(later(&registry, 1), Some(second));
    assert_eq!(later(&registry, 2), None);
    assert_eq!(
        later(&registry, 3),
        None,
        "the registry as read may be older"
    );
    let rejected = registry.enter(&model(2.0), false, Grounds::default());
    write(&mut registry, &rejected);
    assert_eq!(later(&registry, 2), None, "a rejection makes no champion");
}

#[test]
fn a_challenger_that_cannot_be_stored_is_rejected_with_that_reason_and_not_written() {
    for shadow_records in [0, 2] {
        let (mut learner, registry) = ready_to_train(shadow_records);
        let storage = Storage::new(RegistrySettings {
            max_model_bytes: 100,
            ..RegistrySettings::default()
        });
        let holdout = [row(1.2, "a")];
        let result = decided_within(&storage, &mut learner, &registry, &holdout).unwrap();
        let Outcome::TooLarge(version, Verdict::Gate(..), problem) = result.outcome else {
            panic!("{result:?}");
        };
        assert_eq!(recorded(&registry, &result), (2, Action::Rejected, version));
        let mut after = registry.clone();
        write(&mut after, &result.entries);
        assert!(after.model(version).is_some() && !after.has_rows(version));
        let decision = &after.decisions().next_back().unwrap().decision;
        assert_eq!(decision.reason, problem.to_string());
        assert_eq!(decision.figures["holdout_accuracy"], 1.0);
        assert_eq!(
            learner.champion().model.version(),
            model(0.0).model.version()
        );
        assert_eq!(
            learner.due(true),
            None,
            "its examples are not trained on again"
        );
    }
}

#[test]
fn the_rows_that_a_decision_makes_superfluous_are_deleted_with_it() {
    let (mut learner, mut registry) = ready_to_train(0);
    for threshold in [7.0, 8.0, 9.0] {
        let former = registry.offer(&challenger(threshold), Grounds::default());
        write(&mut registry, &former);
        let version = model(threshold).model.version();
        let promoted = registry.promote(version, Grounds::default()).unwrap();
        write(&mut registry, &promoted);
    }
    let storage = Storage::new(RegistrySettings {
        max_retired_models: 1,
        ..RegistrySettings::default()
    });
    let holdout = [row(1.2, "b")];
    let result = decided_within(&storage, &mut learner, &registry, &holdout).unwrap();
    assert!(matches!(result.outcome, Outcome::Rejected(..)));
    let mut again = ready_to_train(0).0;
    let same = decided_within(&storage, &mut again, &registry, &holdout).unwrap();
    assert_eq!(result, same, "also when it is made again");
    write(&mut registry, &result.entries);
    let kept = [0.0, 7.0, 8.0, 9.0].map(|x| registry.has_rows(model(x).model.version()));
    assert_eq!(kept, [true, true, true, true]);
    let version = model(7.0).model.version();
    let decisions = [9.5, 9.75].map(challenger);
    for next in &decisions {
        let mut entries = registry.enter(next, true, Grounds::default());
        entries.extend(storage.prune(&registry.with(&entries), None, None));
        write(&mut registry, &entries);
    }
    assert!(!registry.has_rows(version));
    assert!(registry.model(version).is_some());
}
