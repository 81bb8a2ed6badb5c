//! The trainer's decisions: the same after kills, and never for a worse model because of wrong labels.

use std::time::Duration;

use iris_contract::LoopFigures;
use iris_contract::registry::Action;
use iris_core::{ModelSettings, ModelVersion};
use iris_kafka::StoredRecord;
use iris_testkit::{Fixture, TIMEOUT};
use rustix::process::Signal;
use serde_json::Value;

use super::trainer::{
    classify, decisions, iris, learn_all, loop_figures, registry, registry_topic,
    use_other_registry,
};

/// The number of times that the trainer is killed.
const KILLS: usize = 30;

/// Fails unless the figures are those of a stream that the first champion alone has predicted.
fn assert_never_learned(fixture: &Fixture, figures: &LoopFigures, records: u64) {
    let first = registry(fixture)
        .decisions()
        .next()
        .unwrap()
        .decision
        .version;
    assert_eq!(figures.never_learning.model_version, Some(first));
    let (total, window) = (&figures.total, &figures.window);
    assert_eq!(
        (total.scores.records, window.scores.records),
        (records, 1_000)
    );
    let right = |record: &StoredRecord| {
        let value: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        value["Species"] == value["PredictedSpecies"]
    };
    let predictions = fixture.records(&fixture.topics.predictions).unwrap();
    let right = predictions.iter().filter(|record| right(record)).count();
    let accuracy = total.scores.accuracy.unwrap();
    assert!(
        (accuracy - right as f64 / records as f64).abs() < 1e-12,
        "{accuracy}"
    );
    for span in [total, window] {
        let never_learning = span.never_learning.unwrap();
        assert_eq!(never_learning.scores, span.scores, "it predicted the same");
        assert_eq!(
            (never_learning.lead(), never_learning.is_ahead()),
            (Some(0.0), false)
        );
        let no_change = span.no_change.unwrap();
        assert!(no_change.lead().unwrap() > 0.3, "{no_change:?}");
    }
    let listed = fixture
        .run("iris-admin", &["models", "list", "--json"])
        .unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["learning"]["total"]["loop"]["records"], records);
}

#[test]
fn a_trainer_that_is_killed_makes_the_same_decisions_in_the_same_order() {
    let settings = "[trainer]\nretrain_after_rows = 40\ncheckpoint_interval_ms = 20\n";
    let mut fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture.set(settings).unwrap();
    classify(&fixture, 0..3_000, 0.0);
    learn_all(&fixture);
    let undisturbed = decisions(&fixture);
    let is_promoted = |(action, _): &&(Action, ModelVersion)| *action == Action::Promoted;
    assert!(undisturbed.iter().filter(is_promoted).count() > 10);
    assert!(undisturbed.len() > KILLS, "{}", undisturbed.len());
    let figures = loop_figures(&fixture);
    assert_never_learned(&fixture, &figures, 3_000);

    use_other_registry(&mut fixture, settings);
    let mut random = fastrand::Rng::with_seed(3);
    for kill in 0..KILLS {
        let mut trainer = fixture.start("iris-trainer", &["--once"]).unwrap();
        // A third of the kills each: at the start, between a decision and its commit, and after a commit.
        let line = ["learning from ", "trained challenger ", "promoted "][kill % 3];
        trainer.line_with(line, TIMEOUT).unwrap();
        // A random delay, to kill it at another point each time.
        std::thread::sleep(Duration::from_millis(random.u64(..20)));
        trainer.signal(Signal::KILL).unwrap();
        let _ = trainer.wait(TIMEOUT);
    }
    let killed = decisions(&fixture);
    assert!(
        killed.len() < undisturbed.len(),
        "it must be killed before the last decision"
    );
    learn_all(&fixture);
    assert_eq!(decisions(&fixture), undisturbed);
    assert_eq!(loop_figures(&fixture), figures);
}

#[test]
fn wrong_labels_never_promote_a_worse_model() {
    // All former champions are loaded below.
    let settings = "[trainer]\nretrain_after_rows = 20\npromotion_margin = 0\n[registry]\nmax_retired_models = 1000\n";
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture.set(settings).unwrap();
    classify(&fixture, 0..1_500, 0.3);
    learn_all(&fixture);
    let known = registry(&fixture);
    let rejected = known
        .decisions()
        .filter(|recorded| recorded.decision.action == Action::Rejected);
    assert!(rejected.count() > 3, "the gate must have rejected models");
    // Measured here, not taken from the gate's figures.
    let rows = iris();
    let settings = ModelSettings::default();
    let held_out = rows
        .split(settings.test_size, settings.random_state)
        .unwrap()
        .test;
    let accuracy = |version: ModelVersion| {
        let model = registry_topic(&fixture)
            .load(&known, version)
            .unwrap()
            .model;
        let held_out = held_out
            .iter()
            .filter_map(|&row| Some((rows.features(row), rows.label(row)?)));
        model.accuracy(held_out).unwrap()
    };
    let mut best = 0.0;
    for recorded in known.decisions() {
        if recorded.decision.action.makes_champion() {
            let accuracy = accuracy(recorded.decision.version);
            assert!(accuracy >= best, "{accuracy} after {best}");
            best = accuracy;
        }
    }
}
