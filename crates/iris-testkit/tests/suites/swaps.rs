//! Champion swaps while a classifier is under full load.

use std::collections::BTreeMap;

use iris_core::{Artefact, Buffers, Model, ModelSettings, Tally};
use iris_kafka::{GroupOffsets, Headers, TopicReader};
use iris_registry::RegistryTopic;
use iris_testkit::ledger::{BruteForce, ExpectedPrediction, Row};
use iris_testkit::swaps::{EXTRA_ROW, Swaps, of_another_kind, with_one_more_row};
use iris_testkit::{Fixture, Running, TIMEOUT, eventually};

const SWAPS: usize = 100;

/// The number of records that are added when fewer than this are left.
const STOCK: usize = 1_000_000;

/// The ids of the flowers that are sent repeatedly in this order. The paper's model and the one with one more row have
/// different votes for some of them, and different classes for 120 and 134.
const FLOWERS: [&str; 5] = ["1", "73", "120", "134", "150"];

/// Returns the flowers without their classes.
fn flowers() -> Vec<Row> {
    let rows = Row::iris().unwrap();
    let row = |id| rows.iter().find(|row| row.id == id).unwrap().clone();
    FLOWERS.map(|id| row(id).without_label()).to_vec()
}

/// The predictions of one model for the flowers.
type Predictions = Vec<ExpectedPrediction>;

#[test]
fn a_hundred_swaps_under_full_load_split_no_transaction_and_move_no_partition() {
    swap(
        |champion| with_one_more_row(champion, EXTRA_ROW),
        |flowers, _| {
            let model = BruteForce::of_the_paper().unwrap();
            let model = model.with_one_more_row(EXTRA_ROW);
            flowers.iter().map(|flower| model.predict(flower)).collect()
        },
    );
}

#[test]
fn a_hundred_swaps_between_kinds_split_no_transaction_and_move_no_partition() {
    swap(
        |champion| of_another_kind(champion, ModelSettings::default().forest()),
        |flowers, model| {
            let (mut buffers, mut shares) = (Buffers::default(), Vec::new());
            let predict = |flower: &Row| {
                let class = model
                    .predict(&flower.features, &mut buffers, &mut shares)
                    .class;
                ExpectedPrediction::of(flower, &model.classes()[class], &shares)
            };
            flowers.iter().map(predict).collect()
        },
    );
}

/// Swaps the paper's model and the one that `second` makes of it, which makes these predictions.
fn swap(
    second: impl FnOnce(&Model) -> anyhow::Result<Artefact>,
    predictions_of_second: impl FnOnce(&[Row], &Model) -> Predictions,
) {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    // Short transactions, so that each champion has several.
    let settings = "[classifier]\nworkers = 2\ncommit_interval_ms = 10\n[telemetry]\nlog = \"info,iris_kafka=debug,record=off\"\n";
    fixture.set(settings).unwrap();
    let flowers = flowers();
    let values = flowers.iter().map(|flower| Some(flower.value.as_slice()));
    let values: Vec<Option<&[u8]>> = values.cycle().take(STOCK / 5).collect();
    let mut produced = 0;
    let mut add_stock = || {
        for partition in 0..5 {
            let topic = &fixture.topics.input;
            fixture
                .produce(topic, partition, None, &values, &Headers::default())
                .unwrap();
        }
        produced += STOCK;
        produced
    };
    add_stock();
    let mut produced = add_stock();
    let mut classifier = fixture.start("iris-classifier", &[]).unwrap();
    let lines = |classifier: &Running, text: &str| {
        let lines = classifier.lines();
        lines.iter().filter(|line| line.contains(text)).count()
    };
    let group = fixture.classifier_group();
    // A transaction is almost always open.
    let input = &fixture.topics.input;
    let offsets =
        GroupOffsets::open_without_waiting(&fixture.kafka, &group, input, TIMEOUT).unwrap();
    let done = || {
        offsets
            .committed()
            .unwrap()
            .values()
            .sum::<i64>()
            .unsigned_abs()
    };
    let registry = RegistryTopic::new(&fixture.kafka, &fixture.topics.models, "iris-testkit");
    let mut swaps = Swaps::prepare(&registry, second).unwrap();
    let [_, other] = swaps.models();
    let other = registry
        .load(&registry.read().unwrap(), other)
        .unwrap()
        .model;
    let paper = BruteForce::of_the_paper().unwrap();
    let first: Predictions = flowers.iter().map(|flower| paper.predict(flower)).collect();
    let second = predictions_of_second(&flowers, &other);
    let different = first
        .iter()
        .zip(&second)
        .filter(|(a, b)| a.value != b.value);
    assert!(different.count() > 0);
    let versions = swaps.models().map(|version| version.to_string());
    let expected: BTreeMap<&str, Vec<ExpectedPrediction>> = versions
        .iter()
        .map(String::as_str)
        .zip([first, second])
        .collect();
    eventually("all partitions to be processed", TIMEOUT, || {
        (offsets.committed().ok()?.len() == 5).then_some(())
    })
    .unwrap();
    let changes = |classifier: &Running| {
        lines(classifier, "assigned partitions=") + lines(classifier, "revoked partitions=")
    };
    let (before, changes_before) = (done(), changes(&classifier));
    assert!(changes_before >= 2, "{:#?}", classifier.lines());
    for swap in 1..=SWAPS {
        if produced as u64 - done() < STOCK as u64 {
            produced = add_stock();
        }
        let version = swaps.swap().unwrap();
        eventually("a champion to be served", TIMEOUT, || {
            (lines(&classifier, "now serving model ") >= swap).then_some(())
        })
        .unwrap_or_else(|problem| panic!("swap {swap} to {version}: {problem}"));
        assert!(done() < produced as u64, "no records were left");
    }
    assert_eq!(changes(&classifier), changes_before);
    assert!(before < done(), "no records were processed meanwhile");
    assert!(classifier.terminate(TIMEOUT).unwrap().success());

    // Each transaction ends with a marker that takes an offset, so records without a gap are of one transaction.
    let mut last: BTreeMap<i32, (i64, String)> = BTreeMap::new();
    let mut swapped = 0;
    let topic = &fixture.topics.predictions;
    let mut reader = TopicReader::open(&fixture.kafka, topic).unwrap();
    while !reader.has_reached_the_end() {
        let record = reader.next(TIMEOUT).unwrap();
        let Some(record) = record else { continue };
        let provenance = std::str::from_utf8(record.header("iris-provenance").unwrap()).unwrap();
        let parts: Vec<&str> = provenance.split('-').collect();
        let &[format, version, _, source, votes] = parts.as_slice() else {
            panic!("{provenance}");
        };
        let is_share = version == versions[1] && other.kind().tally() == Tally::Thousandths;
        assert_eq!(format, if is_share { "01" } else { "00" }, "{provenance}");
        let (partition, offset) = (record.partition(), record.offset());
        let flower = source.parse::<usize>().unwrap() % FLOWERS.len();
        let prediction = &expected[version][flower];
        assert_eq!(record.value(), Some(&prediction.value[..]), "{provenance}");
        assert_eq!(votes, prediction.votes, "{provenance}");
        match last.get_mut(&partition) {
            Some((before, theirs)) if theirs == version => *before = offset,
            Some((before, theirs)) => {
                assert!(
                    offset > *before + 1,
                    "partition {partition}, offset {offset}: {version} predicted in a transaction of {theirs}"
                );
                swapped += 1;
                (*before, *theirs) = (offset, version.to_owned());
            }
            None => drop(last.insert(partition, (offset, version.to_owned()))),
        }
    }
    assert!(
        swapped >= SWAPS,
        "{swapped} swaps are visible in the predictions"
    );
}
