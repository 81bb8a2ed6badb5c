//! Every format as it is in Kafka. A difference here is a change of the contract: see `docs/FORMATS.md` for which changes are
//! compatible.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use iris_contract::dead_letter::{DeadLetter, Origin, REMOVED_BY_REDRIVE};
use iris_contract::loop_figures::{FIGURES_KEY, NeverLearning};
use iris_contract::redrive_receipt::{self, RECEIPT_HEADER};
use iris_contract::registry::{Action, ChampionPointer, Decision, Entry, RegistryRecord};
use iris_contract::{
    BaselineScores, Classifier, LabelRecord, LoopFigures, PROVENANCE_HEADER, PartitionProgress,
    PredictionRecord, Provenance, RedriveReceipt, Rejection, Scores, Scratch, SpanFigures, Topic,
    Topics, TransactionSummary, prediction,
};
use iris_core::{
    Artefact, Confusion, Dataset, Description, ForestKind, Lineage, Metric, Model, ModelKind,
    ModelSettings, RowRecords, ScaleSetting, Schema, TrainingSet, Weights,
};

/// A dataset of two features, with an id and a column that the schema does not name.
const CSV: &[u8] =
    b"Id,x,y,note,Species\n1,0.5,1,first,low\n2,9,8.25,\"a \"\"quoted\"\" note\",high\n";

/// Headers as lines of text.
fn lines<N: std::fmt::Display, V: std::fmt::Display>(
    headers: impl IntoIterator<Item = (N, V)>,
) -> String {
    let lines: Vec<String> = headers
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    lines.join("\n")
}

fn schema() -> Schema {
    Schema {
        features: vec!["x".to_owned(), "y".to_owned()],
        ..Schema::default()
    }
}

fn model() -> Model {
    let rows: [(&[f64], &str); 2] = [(&[0.5, 1.0], "low"), (&[9.0, 8.25], "high")];
    Model::fit(TrainingSet::new(schema(), rows.into_iter()), 1).unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn topics() {
    let topics = Topics::default();
    let described = Topic::ALL.map(|topic| {
        let config: Vec<String> = topic
            .config()
            .iter()
            .map(|(key, value)| format!(" {key}={value}"))
            .collect();
        format!(
            "{}: {} partitions={}{}",
            topic.key(),
            topics.name(topic),
            topics.partitions_of(topic),
            config.concat()
        )
    });
    insta::assert_snapshot!(described.join("\n"), @r#"
    input: iris_demo2_topic partitions=5
    feedback: feedback_topic_demo2 partitions=5 max.message.bytes=4194304
    predictions: predictions_topic_demo2 partitions=5 max.message.bytes=4194304
    dead_letters: dead_letter_topic_demo2 partitions=5 max.message.bytes=4194304
    models: models_topic_demo2 partitions=1 max.message.bytes=4194304 cleanup.policy=compact segment.bytes=16777216
    labels: labels_topic_demo2 partitions=5
    trainer_state: trainer_topic_demo2 partitions=1 cleanup.policy=compact segment.bytes=16777216
    summaries: summaries_topic_demo2 partitions=5
    "#);
}

#[test]
fn input_record() {
    let dataset = Dataset::parse(CSV, &schema()).unwrap();
    let records = [0, 1].map(|row| text(dataset.to_json(row)));
    insta::assert_snapshot!(records.join("\n"), @r#"
    {"Id":1,"x":0.5,"y":1.0,"note":"first","Species":"low"}
    {"Id":2,"x":9.0,"y":8.25,"note":"a \"quoted\" note","Species":"high"}
    "#);
}

#[test]
fn prediction_and_feedback() {
    let classifier = Classifier::new(Arc::new(model()));
    let mut scratch = Scratch::default();
    let input = br#"{"Id":3,"x":8,"y":8.0,"Species":"low"}"#;
    let classification = classifier.classify(Some(input), &mut scratch).unwrap();
    assert!(classification.mispredicted);
    let (mut value, mut header) = (Vec::new(), String::new());
    classifier.write_value(&classification, &mut value);
    classifier
        .provenance()
        .write(4, 12, scratch.votes(), &mut header);
    let record = PredictionRecord::read(&schema(), Some(&value), Some(header.as_bytes())).unwrap();
    assert_eq!(record.predicted.as_deref(), Some("high"));
    assert_eq!(record.provenance, header.parse::<Provenance>().ok());
    let value = text(value);
    let late = prediction::with_label(&schema(), &value, "middle");
    insta::assert_snapshot!(lines([(PROVENANCE_HEADER, header)]), @"iris-provenance: 00-389bfdc5344095bb-4-12-1.0");
    insta::assert_snapshot!(value, @r#"{"Id":3,"x":8,"y":8.0,"Species":"low","PredictedSpecies":"high"}"#);
    insta::assert_snapshot!(late, @r#"{"Id":3,"x":8,"y":8.0,"Species":"middle","PredictedSpecies":"high"}"#);
}

#[test]
fn label() {
    let label = |label: Option<&str>| LabelRecord {
        id: "3".to_owned(),
        label: label.map(str::to_owned),
    };
    let (labelled, withdrawn) = (label(Some("middle")), label(None));
    let value = labelled.value(&schema());
    assert_eq!(
        LabelRecord::read(&schema(), Some(b"3"), value.as_deref()),
        Ok(labelled)
    );
    assert_eq!(withdrawn.value(&schema()), None);
    insta::assert_snapshot!(text(value.unwrap()), @r#"{"Species":"middle"}"#);
}

#[test]
fn dead_letter() {
    let rejection = Rejection::MissingFeature {
        name: "y".to_owned(),
        hint: String::new(),
    };
    let message = DeadLetter::message(rejection.reason(), &rejection.to_string());
    let dead_letter = DeadLetter {
        stage: "classify",
        message: &message,
        service: "iris-classifier",
        version: "0.1.0",
    };
    let headers = dead_letter.headers("input", 4, 12, |_| None);
    let origin = Origin::read(|name| {
        let (_, value) = headers.iter().find(|(found, _)| *found == name)?;
        Some(value.as_bytes())
    })
    .unwrap();
    assert_eq!(
        (origin.partition, origin.offset, origin.attempt),
        (4, 12, 1)
    );
    let (name, attempt) = origin.next_attempt();
    assert!(!REMOVED_BY_REDRIVE.contains(&name));
    insta::assert_snapshot!(lines(headers), @r#"
    __iris.errors.topic: input
    __iris.errors.partition: 4
    __iris.errors.offset: 12
    __iris.errors.stage: classify
    __iris.errors.message: missing_feature: the feature `y` is missing
    __iris.errors.service: iris-classifier
    __iris.errors.version: 0.1.0
    __iris.errors.attempt: 1
    "#);
    insta::assert_snapshot!(lines([(name, attempt)]), @"__iris.errors.attempt: 2");
}

#[test]
fn dead_letter_reasons() {
    let name = || "y".to_owned();
    let rejections = [
        Rejection::NoValue,
        Rejection::NotJson("expected value at line 1 column 1".to_owned()),
        Rejection::NotAnObject("an array"),
        Rejection::DuplicateField(name()),
        Rejection::MissingFeature {
            name: name(),
            hint: String::new(),
        },
        Rejection::FeatureNotANumber {
            name: name(),
            found: "a string",
            hint: "",
        },
        Rejection::FeatureOutOfRange(name()),
        Rejection::LabelNotAString {
            name: "Species".to_owned(),
            found: "a boolean",
        },
    ];
    let reasons = rejections.map(|rejection| (rejection.reason(), rejection));
    insta::assert_snapshot!(lines(reasons), @r#"
    no_value: the record has no value
    not_json: not JSON: expected value at line 1 column 1
    not_an_object: not a JSON object but an array
    duplicate_field: the field `y` appears more than once
    missing_feature: the feature `y` is missing
    feature_not_a_number: the feature `y` is a string, not a number
    feature_out_of_range: the feature `y` is beyond the range of a 64-bit float
    label_not_a_string: the label `Species` is a boolean, neither a string nor a number
    "#);
}

#[test]
fn redrive_receipt() {
    let receipt = RedriveReceipt {
        redriven: vec![(3, 5), (9, 9)],
        topic_id: Some("4Yy1GbkqTBqqG6KrqGAyeQ".to_owned()),
    };
    insta::assert_snapshot!(lines([(RECEIPT_HEADER, redrive_receipt::VERSION)]), @"__iris.redrive.receipt: 00");
    insta::assert_snapshot!(text(receipt.value()), @r#"{"redriven":[[3,5],[9,9]],"topic_id":"4Yy1GbkqTBqqG6KrqGAyeQ"}"#);
}

#[test]
fn transaction_summary() {
    let progress = |records, next_offset| PartitionProgress {
        records,
        next_offset,
    };
    let mut evaluations = Confusion::default();
    evaluations.add("low", "high");
    let summary = TransactionSummary {
        group: "iris-classifier".to_owned(),
        worker: Some("host-0 worker 1".to_owned()),
        model_version: "00c0ffee00c0ffee".parse().unwrap(),
        partitions: [(3, progress(3, 30)), (4, progress(1, 31))].into(),
        predictions: [("high".to_owned(), 3)].into(),
        evaluations,
        dead_letters: [("not_json".to_owned(), 1)].into(),
        latency_ms: [(5, 3), (u64::MAX, 1)].into(),
    };
    let json = serde_json::to_string(&summary).unwrap();
    let read: TransactionSummary = serde_json::from_str(&json).unwrap();
    assert_eq!((read.records(), &read), (4, &summary));
    let former = TransactionSummary {
        worker: None,
        ..summary
    };
    let json_of_former = json.replace(r#""worker":"host-0 worker 1","#, "");
    assert_eq!(
        serde_json::from_str::<TransactionSummary>(&json_of_former).unwrap(),
        former
    );
    insta::assert_snapshot!(json, @r#"{"group":"iris-classifier","worker":"host-0 worker 1","model_version":"00c0ffee00c0ffee","partitions":{"3":{"records":3,"next_offset":30},"4":{"records":1,"next_offset":31}},"predictions":{"high":3},"evaluations":{"low":{"high":1}},"dead_letters":{"not_json":1},"latency_ms":{"5":3,"18446744073709551615":1}}"#);
}

#[test]
fn registry_entries() {
    let artefact = Artefact {
        model: model(),
        lineage: Lineage {
            made_by: "iris-trainer".to_owned(),
            ..Lineage::default()
        },
    };
    let version = artefact.model.version();
    let decision = Decision {
        number: 2,
        action: Action::Promoted,
        version,
        replaces: Some("00c0ffee00c0ffee".parse().unwrap()),
        by: "iris-trainer".to_owned(),
        reason: "more accurate on the holdout rows".to_owned(),
        figures: [("holdout_accuracy".to_owned(), 0.9667)].into(),
    };
    let pointer = ChampionPointer {
        version,
        decision: 2,
    };
    let mut entries = Entry::model(&artefact);
    let [block] = &artefact.blocks()[..] else {
        panic!("{:?}", artefact.blocks());
    };
    let values = || entries.iter().map(|entry| entry.value.clone().unwrap());
    let rows = RowRecords {
        blocks: [block.id].into_iter().zip(values()).collect(),
        ..RowRecords::default()
    };
    let read = Artefact::read(version, &values().nth(1).unwrap(), &rows).unwrap();
    assert_eq!(read.model.training_set(), artefact.model.training_set());
    entries.extend([Entry::decision(&decision), Entry::champion(pointer)]);
    let read = |entry: &Entry| {
        let record = RegistryRecord::read(entry.key.as_bytes(), entry.value.as_deref()).unwrap();
        match record {
            RegistryRecord::Model(read, _) => assert_eq!(read, version),
            RegistryRecord::Block(read, json) => {
                assert_eq!(read, block.id);
                assert_eq!(json.map(|json| read.check(json)), Some(Ok(())));
            }
            RegistryRecord::Part(..) => panic!("{record:?}"),
            RegistryRecord::Decision(number, read) => {
                assert_eq!((number, read.as_ref()), (2, Some(&decision)));
            }
            RegistryRecord::Champion(read) => assert_eq!(read, Some(pointer)),
        }
    };
    entries.iter().for_each(read);
    let deletions = [
        Entry::without_block(block.id),
        Entry::without_part(version, 0),
        Entry::without_description(version),
        Entry::without_decision(2),
    ];
    let text_of = |Entry { key, value }| (key, value.map_or_else(|| "null".to_owned(), text));
    let deletions = deletions.map(text_of);
    let entries: Vec<(String, String)> = entries.into_iter().map(text_of).collect();
    insta::assert_snapshot!(lines(deletions), @r#"
    rows-96a30955fd9c0ee2: null
    rows-389bfdc5344095bb-0000: null
    389bfdc5344095bb: null
    decision-000000000002: null
    "#);
    insta::assert_snapshot!(lines(entries), @r#"
    rows-96a30955fd9c0ee2: {"format":3,"classes":["low","high"],"class_of_row":[0,1],"features":[0.5,1.0,9.0,8.25]}
    389bfdc5344095bb: {"format":3,"blocks":["96a30955fd9c0ee2"],"lineage":{"parent":null,"made_by":"iris-trainer","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["high","low"]}
    decision-000000000002: {"format":1,"number":2,"action":"promoted","version":"389bfdc5344095bb","replaces":"00c0ffee00c0ffee","by":"iris-trainer","reason":"more accurate on the holdout rows","figures":{"holdout_accuracy":0.9667}}
    champion: {"format":1,"version":"389bfdc5344095bb","decision":2}
    "#);
}

#[test]
fn loop_figures() {
    let mut confusion = Confusion::default();
    confusion.add_many("low", "low", 3);
    confusion.add("high", "low");
    let scores = Scores::from(&confusion);
    let baseline = BaselineScores {
        scores,
        loop_accuracy: Some(1.0),
        standard_error: 0.25,
    };
    let span = SpanFigures {
        scores,
        never_learning: Some(baseline),
        no_change: None,
    };
    let figures = LoopFigures {
        window_records: 1_000,
        never_learning: NeverLearning {
            model_version: Some("00c0ffee00c0ffee".parse().unwrap()),
            sample_ratio: 1.0,
            problem: None,
        },
        total: span,
        window: span,
    };
    let value = figures.value();
    assert_eq!(LoopFigures::read(&value), Ok(figures));
    insta::assert_snapshot!(lines([(FIGURES_KEY, text(value))]), @r#"figures: {"format":1,"window_records":1000,"never_learning":{"model_version":"00c0ffee00c0ffee","sample_ratio":1.0,"problem":null},"total":{"loop":{"records":4,"accuracy":0.75,"kappa":0.0,"balanced_accuracy":0.5},"never_learning":{"records":4,"accuracy":0.75,"kappa":0.0,"balanced_accuracy":0.5,"loop_accuracy":1.0,"standard_error":0.25},"no_change":null},"window":{"loop":{"records":4,"accuracy":0.75,"kappa":0.0,"balanced_accuracy":0.5},"never_learning":{"records":4,"accuracy":0.75,"kappa":0.0,"balanced_accuracy":0.5,"loop_accuracy":1.0,"standard_error":0.25},"no_change":null}}"#);
}

/// The description and a prediction's header of a model with settings that format 3 does not have.
#[test]
fn registry_artefact_of_format_4() {
    let settings = ModelSettings {
        neighbors: 2,
        scale: ScaleSetting::Standard,
        weights: Weights::Distance,
        metric: Metric::Manhattan,
        ..ModelSettings::default()
    };
    let rows = model().training_set().clone();
    let kind = settings.kind(&rows);
    let artefact = Artefact {
        model: Model::fit(rows, kind).unwrap(),
        lineage: Lineage::default(),
    };
    let description = Entry::description(artefact.model.version(), &artefact.describe());
    insta::assert_snapshot!(text(description.value.unwrap()), @r#"{"format":4,"blocks":[],"lineage":{"parent":null,"made_by":"","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"kind":"neighbors","neighbors":2,"weights":"distance","metric":"manhattan","scaling":{"means":[4.75,4.625],"deviations":[4.25,3.625]},"classes":["high","low"]}"#);
    let classifier = Classifier::new(Arc::new(artefact.model));
    let (mut scratch, mut header) = (Scratch::default(), String::new());
    classifier
        .classify(Some(br#"{"Id":3,"x":8,"y":8.0}"#), &mut scratch)
        .unwrap();
    let writer = classifier.provenance();
    writer.write(4, 12, scratch.votes(), &mut header);
    insta::assert_snapshot!(lines([(PROVENANCE_HEADER, header)]), @"iris-provenance: 01-c3c383f52d4981c0-4-12-924.76");
}

/// The description of a forest, the block with its trees, and a prediction's header.
#[test]
fn registry_artefact_of_a_forest() {
    let forest = ForestKind {
        max_depth: Some(4),
        min_samples_leaf: 1,
        ..ForestKind::from(3)
    };
    let rows: [(&[f64], &str); 3] = [
        (&[0.5, 1.0], "low"),
        (&[9.0, 8.25], "high"),
        (&[9.0, 8.25], "low"),
    ];
    let set = TrainingSet::new(schema(), rows.into_iter());
    let artefact = Artefact {
        model: Model::fit(set, ModelKind::Forest(forest)).unwrap(),
        lineage: Lineage::default(),
    };
    let entries = Entry::model(&artefact).into_iter();
    let entries = entries.map(|entry| (entry.key, text(entry.value.unwrap())));
    insta::assert_snapshot!(lines(entries), @r#"
    rows-6549603cdf676496: {"format":5,"bytes":"AABAEwAAAAAAAAADAAH//wACAACQYAABSDAAAw=="}
    rows-350be175024c976a: {"format":3,"classes":["low","high"],"class_of_row":[0,1,0],"features":[0.5,1.0,9.0,8.25,9.0,8.25]}
    96ce8e4e88ddd2eb: {"format":5,"blocks":["6549603cdf676496","350be175024c976a"],"content_blocks":1,"lineage":{"parent":null,"made_by":"","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"kind":"forest","trees":3,"max_depth":4,"min_samples_leaf":1,"min_samples_split":2,"seed":42,"classes":["high","low"]}
    "#);
    let classifier = Classifier::new(Arc::new(artefact.model));
    let (mut scratch, mut header) = (Scratch::default(), String::new());
    classifier
        .classify(Some(br#"{"Id":3,"x":8,"y":8.0}"#), &mut scratch)
        .unwrap();
    let writer = classifier.provenance();
    writer.write(4, 12, scratch.votes(), &mut header);
    insta::assert_snapshot!(lines([(PROVENANCE_HEADER, header)]), @"iris-provenance: 01-96ce8e4e88ddd2eb-4-12-556.444");
}

/// A registry's artefact in one record, as versions before the parts wrote it.
#[test]
fn registry_artefact_of_format_1() {
    let json = br#"{"format":1,"lineage":{"parent":null,"made_by":"iris-trainer","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["high","low"],"class_of_row":[1,0],"features":[0.5,1.0,9.0,8.25]}"#;
    let record = RegistryRecord::read(b"389bfdc5344095bb", Some(json)).unwrap();
    let RegistryRecord::Model(version, Some(json)) = record else {
        panic!("{record:?}");
    };
    let read = Artefact::read(version, json, &RowRecords::default()).unwrap();
    assert_eq!(read.model.training_set(), model().training_set());
    let without_rows = Entry::description(version, &Description::read(json).unwrap());
    insta::assert_snapshot!(text(without_rows.value.unwrap()), @r#"{"format":3,"blocks":[],"lineage":{"parent":null,"made_by":"iris-trainer","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["high","low"]}"#);
}

/// A registry's artefact with its rows in parts of its own, as versions before the blocks wrote it.
#[test]
fn registry_artefact_of_format_2() {
    let json = br#"{"format":2,"parts":2,"lineage":{"parent":null,"made_by":"iris-trainer","rows":[],"sources":{},"metrics":{}},"schema":{"id":"Id","features":["x","y"],"label":"Species"},"neighbors":1,"classes":["high","low"]}"#;
    let parts = [
        (
            &b"rows-389bfdc5344095bb-0000"[..],
            &br#"{"format":2,"class_of_row":[1],"features":[0.5,1.0]}"#[..],
        ),
        (
            b"rows-389bfdc5344095bb-0001",
            br#"{"format":2,"class_of_row":[0],"features":[9.0,8.25]}"#,
        ),
    ];
    let version = model().version();
    let part = |(key, value)| {
        let record = RegistryRecord::read(key, Some(value)).unwrap();
        let RegistryRecord::Part(of, number, Some(json)) = record else {
            panic!("{record:?}");
        };
        assert_eq!(of, version);
        (number, json.to_vec())
    };
    let rows = RowRecords {
        parts: parts.into_iter().map(part).collect(),
        ..RowRecords::default()
    };
    let read = Artefact::read(version, json, &rows).unwrap();
    assert_eq!(read.model.training_set(), model().training_set());
}
