//! The bounds of the registry: models in several records, models that are too large, and rows that are deleted.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;

use iris_contract::registry::{Action, Entry};
use iris_kafka::Headers;
use iris_registry::{Registry, RegistryTopic};
use iris_testkit::{Fixture, TIMEOUT, eventually};
use serde_json::{Value, json};

/// The number of features and of training rows of the large model.
const FEATURES: usize = 54;
const ROWS: usize = 8_000;

fn registry_topic(fixture: &Fixture) -> RegistryTopic {
    RegistryTopic::new(&fixture.kafka, &fixture.topics.models, "iris-testkit")
}

fn registry(fixture: &Fixture) -> Registry {
    registry_topic(fixture).read().unwrap()
}

/// Sends records with random features and labels, so that a model mispredicts about half of them.
fn send(fixture: &Fixture, features: &[String], ids: Range<u32>) {
    let mut random = fastrand::Rng::with_seed(u64::from(ids.start));
    let values: Vec<String> = ids
        .map(|id| {
            let label = ["a", "b"][id as usize % 2];
            let mut record = json!({ "Id": id, "Species": label });
            for feature in features {
                record[feature] = json!(random.f64());
            }
            record.to_string()
        })
        .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
    let topic = &fixture.topics.input;
    fixture
        .produce(topic, 0, None, &values, &Headers::default())
        .unwrap();
}

/// A dataset of random rows of two classes.
fn write_dataset(fixture: &Fixture, features: &[String], rows: usize) -> String {
    let mut random = fastrand::Rng::with_seed(7);
    let mut csv = format!("Id,{},Species\n", features.join(","));
    for id in 0..rows {
        write!(csv, "{id}").unwrap();
        for _ in features {
            write!(csv, ",{}", random.f64()).unwrap();
        }
        writeln!(csv, ",{}", ["a", "b"][id % 2]).unwrap();
    }
    let path = fixture.directory().join("large.csv");
    fs::write(&path, csv).unwrap();
    format!(
        "[dataset]\npath = {:?}\nfeatures = {features:?}\n[model]\ntest_size = 0.01\n",
        path.to_str().unwrap()
    )
}

fn promotions(registry: &Registry) -> usize {
    let decisions = registry.decisions();
    let promoted = decisions.filter(|made| made.decision.action == Action::Promoted);
    promoted.count()
}

fn prune(fixture: &Fixture, args: &[&str]) -> Value {
    let args = [&["models", "prune", "--json"], args].concat();
    let ended = fixture.run("iris-admin", &args).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn a_trainer_of_a_model_of_8000_rows_with_54_features_goes_on_and_its_models_are_served_and_pruned()
{
    let fixture = Fixture::new().unwrap();
    // The brokers' default limit.
    let mut specs = iris_admin::topic_specs(&fixture.topics);
    for spec in &mut specs {
        spec.config.retain(|(key, _)| *key != "max.message.bytes");
    }
    fixture.create(&specs).unwrap();
    let features: Vec<String> = (0..FEATURES).map(|n| format!("f{n}")).collect();
    let dataset = write_dataset(&fixture, &features, ROWS * 100 / 99 + 1);
    let trainer =
        "[trainer]\nretrain_after_rows = 8\npromotion_margin = 1\nprobation_records = 0\n";
    let settings = "[registry]\nmax_retired_models = 1\n[telemetry]\nlog = \"info,record=off\"\n";
    fixture
        .set(&format!("{dataset}{trainer}{settings}"))
        .unwrap();
    let classifier = fixture.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    let mut wanted = 0;
    for part in 0..3 {
        let mut trainer = fixture.start("iris-trainer", &[]).unwrap();
        trainer.line_with("learning from ", TIMEOUT).unwrap();
        send(&fixture, &features, 60 * part..60 * (part + 1));
        wanted += 2;
        let known = eventually("promotions", TIMEOUT, || {
            Some(registry(&fixture)).filter(|known| promotions(known) >= wanted)
        })
        .unwrap_or_else(|problem| panic!("{problem}: {:#?}", trainer.lines()));
        wanted = promotions(&known);
        assert!(trainer.terminate(TIMEOUT).unwrap().success());
    }
    let topic = registry_topic(&fixture);
    let known = topic.read().unwrap();
    let champion = known.champion().unwrap();
    classifier
        .line_with(&format!("now serving model {champion}"), TIMEOUT)
        .unwrap();
    let rows = topic.load(&known, champion).unwrap().model;
    assert!(rows.training_set().len() > ROWS);
    assert!(
        known.row_bytes(champion) > 5 << 20,
        "{}",
        known.row_bytes(champion)
    );
    let with_rows = |known: &Registry| {
        let models = known.models();
        models
            .filter(|&(version, _)| known.has_rows(version))
            .count()
    };
    // The champion, its predecessor, a former champion, and the first one.
    assert_eq!(with_rows(&known), 4);
    assert_eq!(known.models().len(), known.decisions().count());
    let largest = fixture.records(&fixture.topics.models).unwrap();
    let largest = largest.iter().filter_map(|record| record.value.as_ref());
    assert!(largest.map(Vec::len).max().unwrap() <= iris_core::MAX_BLOCK_BYTES);

    let planned = prune(&fixture, &["--keep", "0", "--dry-run"]);
    let deleted = prune(&fixture, &["--keep", "0"]);
    assert_eq!(planned["models"], deleted["models"]);
    let pruned = deleted["models"].as_object().unwrap();
    assert_eq!(pruned.len(), 1, "{deleted:#}");
    assert_eq!(prune(&fixture, &["--keep", "0"])["records"], 0);
    assert_eq!(with_rows(&topic.read().unwrap()), 3);
    let pruned = pruned.keys().next().unwrap();
    let promote = fixture
        .run("iris-admin", &["models", "promote", pruned])
        .unwrap();
    assert_eq!(promote.code, Some(1));
    let problem = format!("model {pruned} has no rows in the registry");
    assert!(promote.stderr.contains(&problem), "{}", promote.stderr);
    let late = fixture.start("iris-classifier", &[]).unwrap();
    late.line_with(&format!("serving model {champion}"), TIMEOUT)
        .unwrap();
    let rolled_back = fixture.run("iris-admin", &["models", "rollback"]).unwrap();
    assert_eq!(rolled_back.code, Some(0), "{}", rolled_back.stderr);
}

#[test]
fn a_challenger_that_the_topic_refuses_as_too_large_is_rejected_with_that_reason() {
    let fixture = Fixture::new().unwrap();
    let mut specs = iris_admin::topic_specs(&fixture.topics);
    for spec in &mut specs {
        if spec.name == fixture.topics.models {
            spec.config = vec![
                ("cleanup.policy", "compact".to_owned()),
                ("max.message.bytes", "6000".to_owned()),
            ];
        }
    }
    fixture.create(&specs).unwrap();
    let features: Vec<String> = ["x", "y", "z"].map(str::to_owned).into();
    let dataset = write_dataset(&fixture, &features, 60);
    fixture
        .set(&format!(
            "{dataset}[trainer]\nretrain_after_rows = 15\npromotion_margin = 1\nprobation_records = 0\n"
        ))
        .unwrap();
    let classifier = fixture.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    let mut trainer = fixture.start("iris-trainer", &[]).unwrap();
    trainer.line_with("learning from ", TIMEOUT).unwrap();
    let too_large = |known: &Registry| {
        let decisions = known.decisions();
        let too_large = decisions.filter(|made| {
            made.decision.action == Action::Rejected
                && made
                    .decision
                    .reason
                    .contains("too large: the topic refuses its records")
        });
        too_large.count()
    };
    for part in 0..3 {
        send(&fixture, &features, 400 * part..400 * (part + 1));
        let wanted = 2 * (part as usize + 1);
        eventually("challengers that are too large", TIMEOUT, || {
            (too_large(&registry(&fixture)) >= wanted).then_some(())
        })
        .unwrap_or_else(|problem| panic!("{problem}: {:#?}", trainer.lines()));
        if part == 1 {
            assert!(trainer.terminate(TIMEOUT).unwrap().success());
            trainer = fixture.start("iris-trainer", &[]).unwrap();
            trainer.line_with("learning from ", TIMEOUT).unwrap();
        }
    }
    assert!(trainer.terminate(TIMEOUT).unwrap().success());
    let known = registry(&fixture);
    assert!(promotions(&known) > 0, "smaller ones are promoted");
    assert!(known.has_rows(known.champion().unwrap()));
    let champion = registry_topic(&fixture)
        .load(&known, known.champion().unwrap())
        .unwrap();
    let sizes: Vec<usize> = Entry::model(&champion).iter().map(Entry::bytes).collect();
    let bytes: usize = sizes.iter().sum();
    assert!(bytes < 20_000, "{bytes}");
    let largest = sizes.iter().max().unwrap();
    for made in known.decisions() {
        let reason = &made.decision.reason;
        if let Some((_, bytes)) =
            reason.split_once("too large: the topic refuses its records, of up to ")
        {
            let bytes: usize = bytes.split(' ').next().unwrap().parse().unwrap();
            assert!(bytes > *largest, "{largest} bytes are promoted: {reason}");
        }
    }
}
