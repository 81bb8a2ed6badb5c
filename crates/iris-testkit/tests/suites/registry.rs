//! The registry of models: adoption, promotion and rollback with several classifiers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use iris_contract::registry::{Action, Entry};
use iris_contract::{PROVENANCE_HEADER, Provenance};
use iris_core::{Artefact, ModelKind, ModelVersion};
use iris_kafka::{Headers, StoredRecord};
use iris_registry::{Registry, RegistryTopic};
use iris_testkit::swaps::{grounds, with_one_more_row};
use iris_testkit::{Fixture, Running, TIMEOUT, eventually};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The time limit for every replica to serve a new champion.
const SERVE_TIME_LIMIT: Duration = Duration::from_secs(5);

fn fixture() -> Fixture {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    fixture
}

fn registry(fixture: &Fixture) -> RegistryTopic {
    RegistryTopic::new(&fixture.kafka, &fixture.topics.models, "iris-testkit")
}

fn admin(fixture: &Fixture, args: &[&str]) -> Value {
    let ended = fixture
        .run("iris-admin", &[&["models"], args, &["--json"]].concat())
        .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Enters a model with one row more than the champion, as the new champion or as rejected.
fn enter(fixture: &Fixture, row: [f64; 4], is_promoted: bool) -> ModelVersion {
    write(fixture, row, &|registry, artefact| {
        registry.enter(artefact, is_promoted, grounds())
    })
}

/// Registers a model with one row more than the champion.
fn offer(fixture: &Fixture, row: [f64; 4]) -> ModelVersion {
    write(fixture, row, &|registry, artefact| {
        registry.offer(artefact, grounds())
    })
}

/// Writes the entries for a model with one row more than the champion.
fn write(
    fixture: &Fixture,
    row: [f64; 4],
    entries: &dyn Fn(&Registry, &Artefact) -> Vec<Entry>,
) -> ModelVersion {
    let topic = registry(fixture);
    let known = topic.read().unwrap();
    let champion = known.champion().unwrap();
    let parent = topic.load(&known, champion).unwrap().model;
    let artefact = with_one_more_row(&parent, row).unwrap();
    topic
        .update(&CancellationToken::new(), &mut |registry| {
            Ok(entries(registry, &artefact))
        })
        .unwrap();
    artefact.model.version()
}

fn header(prediction: &StoredRecord) -> &str {
    std::str::from_utf8(prediction.header(PROVENANCE_HEADER).unwrap()).unwrap()
}

fn version(prediction: &StoredRecord) -> ModelVersion {
    let provenance: Provenance = header(prediction).parse().unwrap();
    provenance.model_version
}

/// Waits until all classifiers serve `version`, and checks the time limit.
fn all_serve(classifiers: &[Running], version: ModelVersion, since: Instant) {
    let line = format!("serving model {version}");
    for classifier in classifiers {
        classifier.line_with(&line, TIMEOUT).unwrap();
    }
    let took = since.elapsed();
    assert!(took < SERVE_TIME_LIMIT, "it took {took:?}");
}

#[test]
fn several_classifiers_that_start_together_adopt_one_model() {
    let fixture = fixture();
    let classifiers: Vec<Running> = (0..5)
        .map(|partition| {
            let partition = format!("--partition={partition}");
            fixture.start("iris-classifier", &[&partition]).unwrap()
        })
        .collect();
    for classifier in &classifiers {
        classifier.line_with("serving model ", TIMEOUT).unwrap();
    }
    let listed = admin(&fixture, &["list"]);
    assert_eq!(listed["models"].as_array().unwrap().len(), 1, "{listed:#}");
    let decisions = listed["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 1, "{listed:#}");
    assert_eq!(decisions[0]["action"], "adopted");
    assert_eq!(decisions[0]["version"], listed["champion"]);
    let champion = listed["champion"].as_str().unwrap().parse().unwrap();
    let topic = registry(&fixture);
    let model = topic.load(&topic.read().unwrap(), champion).unwrap();
    let written = fixture.records(&fixture.topics.models).unwrap();
    assert_eq!(
        written.len(),
        Entry::model(&model).len() + 2,
        "the rows and a description, a decision and a pointer"
    );
    let lineage = &listed["models"][0]["lineage"];
    assert_eq!(lineage["rows"], json!([["dataset", 120]]));
    assert_eq!(lineage["metrics"]["holdout_accuracy"], 1.0);
}

#[test]
fn promotion_and_rollback_take_effect_in_every_replica_between_transactions() {
    let fixture = fixture();
    fixture
        .set("[producer]\ninterval_ms = 1\nrounds = 100000\n[telemetry]\nlog = \"info,record=off\"\n")
        .unwrap();
    let classifiers: Vec<Running> = (0..2)
        .map(|_| fixture.start("iris-classifier", &[]).unwrap())
        .collect();
    for classifier in &classifiers {
        classifier.line_with("serving model ", TIMEOUT).unwrap();
    }
    let first: ModelVersion = admin(&fixture, &["list"])["champion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let mut producer = fixture.start("iris-producer", &[]).unwrap();
    let predicted_with = |wanted: ModelVersion| {
        eventually("predictions with the new champion", TIMEOUT, || {
            let predictions = fixture.records(&fixture.topics.predictions).ok()?;
            let partitions: BTreeSet<i32> = predictions
                .iter()
                .filter(|prediction| version(prediction) == wanted)
                .map(|prediction| prediction.partition)
                .collect();
            (partitions.len() == 5).then_some(())
        })
        .unwrap();
    };
    predicted_with(first);

    let since = Instant::now();
    let second = enter(&fixture, [9.0, 9.0, 9.0, 9.0], true);
    all_serve(&classifiers, second, since);
    predicted_with(second);
    let since = Instant::now();
    let rolled_back = admin(&fixture, &["rollback", "--reason", "it was a test"]);
    assert_eq!(rolled_back["action"], "rolled_back");
    let now_serving =
        format!("now serving model {first}: rolled back to by iris-admin, it was a test");
    for classifier in &classifiers {
        classifier.line_with(&now_serving, TIMEOUT).unwrap();
    }
    let took = since.elapsed();
    assert!(took < SERVE_TIME_LIMIT, "it took {took:?}");
    let rejected = enter(&fixture, [9.0, -9.0, 9.0, 9.0], false).to_string();
    let refused = fixture
        .run("iris-admin", &["models", "promote", &rejected])
        .unwrap();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("has no rows in the registry"),
        "{}",
        refused.stderr
    );
    assert_eq!(admin(&fixture, &["show", &rejected])["has_rows"], false);
    let third = offer(&fixture, [-9.0, 9.0, 9.0, 9.0]);
    let promoted = admin(&fixture, &["promote", &third.to_string()[..8]]);
    assert_eq!(promoted["replaces"], first.to_string());
    predicted_with(third);
    assert!(producer.terminate(TIMEOUT).unwrap().success());
    let sent = fixture.records(&fixture.topics.input).unwrap().len();
    let predictions = eventually("every record to be classified", TIMEOUT, || {
        let predictions = fixture.records(&fixture.topics.predictions).unwrap();
        (predictions.len() == sent).then_some(predictions)
    })
    .unwrap();

    // In each partition, each version follows its predecessor once.
    for partition in 0..5 {
        let mut versions: Vec<ModelVersion> = predictions
            .iter()
            .filter(|prediction| prediction.partition == partition)
            .map(version)
            .collect();
        versions.dedup();
        assert_eq!(
            versions,
            [first, second, first, third],
            "partition {partition}"
        );
    }
    // Each prediction is the same when its version predicts again.
    for index in [0, predictions.len() / 2, predictions.len() - 1] {
        let provenance: Provenance = header(&predictions[index]).parse().unwrap();
        let answer = admin(
            &fixture,
            &[
                "answered",
                "--partition",
                &provenance.partition.to_string(),
                "--offset",
                &provenance.offset.to_string(),
            ],
        );
        assert_eq!(
            answer["model_version"],
            provenance.model_version.to_string()
        );
        assert_eq!(answer["is_same_when_replayed"], true);
    }
    let at_first = admin(&fixture, &["answered", "--time", "2020-01-01T00:00:00Z"]);
    let versions: Vec<&Value> = at_first
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["model_version"])
        .collect();
    assert_eq!(versions, vec![&Value::from(first.to_string()); 5]);
    let missing = fixture
        .run(
            "iris-admin",
            &[
                "models",
                "answered",
                "--partition",
                "0",
                "--offset",
                "999999",
            ],
        )
        .unwrap();
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.stderr.contains("has no record at offset 999999"),
        "{}",
        missing.stderr
    );

    let listed = admin(&fixture, &["list"]);
    let actions: Vec<&str> = listed["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["action"].as_str().unwrap())
        .collect();
    assert_eq!(
        actions,
        ["adopted", "promoted", "rolled_back", "rejected", "promoted"]
    );
}

#[test]
fn an_unusable_champion_is_rejected_once_and_its_predecessor_is_served() {
    let fixture = fixture();
    let classifier = fixture.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    let topic = &fixture.topics.models;
    let put = |key: &str, value: String| {
        let value = Some(value.as_bytes());
        fixture
            .produce(
                topic,
                0,
                Some(key.as_bytes()),
                &[value],
                &Headers::default(),
            )
            .unwrap();
    };
    put(
        "0123456789abcdef",
        "{\"format\": 1, \"neighbors\"".to_owned(),
    );
    let pointer =
        |version: &str| format!("{{\"format\": 1, \"version\": \"{version}\", \"decision\": 2}}");
    put("champion", pointer("0123456789abcdef"));
    let refusal = classifier
        .line_with("model 0123456789abcdef is refused: it is corrupt", TIMEOUT)
        .unwrap();
    assert!(
        refusal.ends_with("still serving the previous model"),
        "{refusal}"
    );
    // A classifier that starts now serves the predecessor, too.
    let late = fixture.start("iris-classifier", &[]).unwrap();
    late.line_with("model 0123456789abcdef is refused: it is corrupt", TIMEOUT)
        .unwrap();
    late.line_with("serving model ", TIMEOUT).unwrap();
    put("champion", "{\"format\": 2}".to_owned());
    classifier
        .line_with(
            "record `champion` has format 2, and the newest that this program reads is 1",
            TIMEOUT,
        )
        .unwrap();
    let refusals = |running: &Running| {
        running
            .lines()
            .iter()
            .filter(|line| line.contains("is refused"))
            .count()
    };
    assert_eq!(refusals(&classifier), 1);
    let promote = fixture
        .run("iris-admin", &["models", "promote", "0123456789abcdef"])
        .unwrap();
    assert_eq!(promote.code, Some(1));
    assert!(
        promote.stderr.contains("is refused: it is corrupt"),
        "{}",
        promote.stderr
    );
}

#[test]
fn the_error_for_a_model_with_other_columns_or_too_large_for_its_topic_names_the_setting() {
    let fixture = Fixture::new().unwrap();
    let mut specs = iris_admin::topic_specs(&fixture.topics);
    for spec in &mut specs {
        if spec.name == fixture.topics.models {
            spec.config = vec![("max.message.bytes", "500".to_owned())];
        }
    }
    fixture.create(&specs).unwrap();
    let refused = |code| {
        let ended = fixture.run("iris-classifier", &[]).unwrap();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        ended.stderr
    };
    let too_large = refused(1);
    assert!(
        too_large.contains(": raise the topic's max.message.bytes, or train on fewer rows"),
        "{too_large}"
    );

    let other = self::fixture();
    let classifier = other.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    other
        .set("[dataset]\nfeatures = [\"PetalLengthCm\", \"PetalWidthCm\"]\n")
        .unwrap();
    let ended = other.run("iris-classifier", &[]).unwrap();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("another dataset needs another topics.models"),
        "{}",
        ended.stderr
    );
    assert_eq!(registry(&other).read().unwrap().models().len(), 1);
}

#[test]
fn concurrent_decisions_are_ordered_and_each_sees_the_earlier_ones() {
    const DECIDERS: usize = 4;
    let fixture = fixture();
    let classifier = fixture.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    std::thread::scope(|scope| {
        for decider in 0..DECIDERS {
            let fixture = &fixture;
            scope.spawn(move || enter(fixture, [decider as f64; 4], true));
        }
    });
    let registry = registry(&fixture).read().unwrap();
    let decisions: Vec<_> = registry.decisions().collect();
    let numbers: Vec<u64> = decisions.iter().map(|d| d.decision.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    for pair in decisions.windows(2) {
        assert_eq!(pair[1].decision.action, Action::Promoted);
        assert_eq!(pair[1].decision.replaces, Some(pair[0].decision.version));
    }
    let distinct: BTreeSet<ModelVersion> = decisions.iter().map(|d| d.decision.version).collect();
    assert_eq!(distinct.len(), DECIDERS + 1);
}

/// Writes a record of the registry as an earlier version did.
fn write_record(fixture: &Fixture, key: &str, value: &Value) {
    let (topic, json) = (&fixture.topics.models, value.to_string());
    let values = [Some(json.as_bytes())];
    fixture
        .produce(topic, 0, Some(key.as_bytes()), &values, &Headers::default())
        .unwrap();
}

/// Writes a model of format 1, whose rows are in its description, and one of format 2, whose rows are in two parts.
#[test]
fn a_registry_of_an_earlier_version_is_read_and_its_rows_are_pruned() {
    let fixture = fixture();
    let classifier = fixture.start("iris-classifier", &[]).unwrap();
    classifier.line_with("serving model ", TIMEOUT).unwrap();
    let topic = registry(&fixture);
    let known = topic.read().unwrap();
    let champion = known.champion().unwrap();
    let parent = topic.load(&known, champion).unwrap().model;
    let mut earlier = Vec::new();
    for format in [1, 2] {
        let artefact = with_one_more_row(&parent, [f64::from(format) * 9.0; 4]).unwrap();
        let ModelKind::Neighbors(kind) = artefact.model.kind() else {
            panic!("{}", artefact.model.kind());
        };
        let rows = artefact.model.training_set();
        let version = artefact.model.version();
        let mut description = json!({
            "format": format, "lineage": artefact.lineage, "schema": rows.schema(),
            "neighbors": kind.neighbors, "classes": rows.classes()
        });
        if format == 1 {
            description["class_of_row"] = json!(rows.class_of_row());
            description["features"] = json!(rows.features());
        } else {
            let classes = rows.class_of_row().chunks(100);
            for (part, (classes, features)) in classes.zip(rows.features().chunks(400)).enumerate()
            {
                let part_json =
                    json!({ "format": 2, "class_of_row": classes, "features": features });
                write_record(&fixture, &format!("rows-{version}-{part:04}"), &part_json);
            }
            description["parts"] = json!(2);
        }
        write_record(&fixture, &version.to_string(), &description);
        admin(&fixture, &["promote", &version.to_string()]);
        classifier
            .line_with(&format!("now serving model {version}"), TIMEOUT)
            .unwrap();
        earlier.push(version);
    }
    for row in 1..4 {
        enter(&fixture, [f64::from(row) * 10.0; 4], true);
    }
    let before = topic.read().unwrap();
    let pruned = admin(&fixture, &["prune", "--keep", "0"]);
    let known = topic.read().unwrap();
    for version in earlier {
        assert!(
            pruned["models"][version.to_string()].as_u64().unwrap() > 1_000,
            "{pruned:#}"
        );
        assert!(before.has_rows(version) && !known.has_rows(version));
        let times = [&before, &known].map(|known| known.model(version).unwrap().timestamp);
        assert_eq!(times[0], times[1]);
    }
}
