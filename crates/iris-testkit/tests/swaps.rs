//! New champions one after the other, while a classifier has all it can do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::time::Duration;

use iris_core::{ModelVersion, PROVENANCE_HEADER, Provenance};
use iris_kafka::{GroupOffsets, Headers, RegistryTopic, TopicReader};
use iris_testkit::swaps::Swaps;
use iris_testkit::{Fixture, Running, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

const SWAPS: usize = 100;

/// Records that are added when fewer than these are left to do.
const STOCK: usize = 1_000_000;

#[test]
fn a_hundred_swaps_under_full_load_leave_transactions_whole_and_partitions_where_they_are() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    // Transactions that are short, so that each champion has some.
    let settings = "[classifier]\nworkers = 2\ncommit_interval_ms = 10\n[telemetry]\nlog = \"info,iris_kafka=debug,record=off\"\n";
    fixture.set(settings).unwrap();
    let value =
        br#"{"SepalLengthCm":5.1,"SepalWidthCm":3.5,"PetalLengthCm":1.4,"PetalWidthCm":0.2}"#;
    let values = vec![Some(&value[..]); STOCK / 5];
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
    let offsets = GroupOffsets::open(&fixture.kafka, &group, &fixture.topics.input).unwrap();
    let done = || {
        offsets
            .committed()
            .unwrap()
            .values()
            .sum::<i64>()
            .unsigned_abs()
    };
    let registry = RegistryTopic::new(&fixture.kafka, &fixture.topics.models, "iris-testkit");
    let mut swaps = Swaps::prepare(&registry).unwrap();
    eventually("all partitions to be worked on", PATIENCE, || {
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
        eventually("a champion to be served", PATIENCE, || {
            (lines(&classifier, "now serving model ") >= swap).then_some(())
        })
        .unwrap_or_else(|problem| panic!("swap {swap} to {version}: {problem}"));
        assert!(done() < produced as u64, "there was nothing left to do");
    }
    assert_eq!(changes(&classifier), changes_before);
    assert!(before < done(), "nothing was done meanwhile");
    assert!(classifier.terminate(PATIENCE).unwrap().success());

    // The marker of each transaction's end takes an offset: what has none in between is one transaction.
    let mut last: BTreeMap<i32, (i64, ModelVersion)> = BTreeMap::new();
    let mut swapped = 0;
    let topic = &fixture.topics.predictions;
    let mut reader = TopicReader::open(&fixture.kafka, topic).unwrap();
    while !reader.has_reached_the_end() {
        let record = reader.next(PATIENCE).unwrap();
        let Some(record) = record else { continue };
        let provenance = std::str::from_utf8(record.header(PROVENANCE_HEADER).unwrap()).unwrap();
        let version = provenance.parse::<Provenance>().unwrap().model_version;
        let (partition, offset) = (record.partition(), record.offset());
        if let Some((before, theirs)) = last.insert(partition, (offset, version))
            && theirs != version
        {
            swapped += 1;
            assert!(
                offset > before + 1,
                "partition {partition}, offset {offset}: {version} answered in a transaction of {theirs}"
            );
        }
    }
    assert!(swapped >= SWAPS, "{swapped} swaps are seen in the answers");
}
