//! The feedback store, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use iris_feedback_store::{FeedbackReader, FeedbackRow, FeedbackStore, StoreError, StoredOffsets};
use iris_kafka::Headers;
use iris_testkit::{Fixture, Running, dataset, eventually, runtime};

const TIMEOUT: Duration = Duration::from_secs(120);

fn row(topic: &str, partition: i64, offset: i64) -> FeedbackRow {
    FeedbackRow {
        source_topic: topic.to_owned(),
        source_partition: partition,
        source_offset: offset,
        created_ms: Some(1_000 + offset),
        record_id: Some(format!("{partition}/{offset}")),
        label: None,
        predicted: Some("Iris-setosa".to_owned()),
        value: "{\"a\": \"\u{1f33c} it's\"}".to_owned(),
        ..FeedbackRow::default()
    }
}

/// Checks every guarantee of the store on one database; `topic` must be unused.
async fn keeps_its_promises(url: &str, topic: &str) {
    let store = FeedbackStore::open(&url.into()).await.unwrap();
    let reader = FeedbackReader::new(&url.into(), None).unwrap();
    let before = reader.count().await.unwrap();
    let none = StoredOffsets::new();
    assert_eq!(store.offsets(topic).await.unwrap(), none);

    // A full batch and the offsets of two partitions, in one transaction.
    let rows: Vec<FeedbackRow> = (0..999)
        .map(|offset| row(topic, 0, offset))
        .chain([row(topic, 3, 7)])
        .collect();
    let first: StoredOffsets = [(0, 999), (3, 8)].into();
    store.append(topic, &rows, &none, &first).await.unwrap();
    assert_eq!(store.offsets(topic).await.unwrap(), first);
    assert_eq!(reader.count().await.unwrap(), before + 1_000);

    // The same batch from a second sink is rejected as a whole.
    let again = store.append(topic, &rows, &none, &first).await;
    assert!(
        matches!(again, Err(StoreError::Conflict { partition: 0 })),
        "{again:?}"
    );
    let stale: StoredOffsets = [(0, 500)].into();
    let next: StoredOffsets = [(0, 1_000)].into();
    let behind = store
        .append(topic, &[row(topic, 0, 999)], &stale, &next)
        .await;
    assert!(
        matches!(behind, Err(StoreError::Conflict { partition: 0 })),
        "{behind:?}"
    );

    // A row that exists already rolls the new offsets back.
    let torn = store
        .append(topic, &[row(topic, 0, 5)], &first, &next)
        .await;
    assert!(
        matches!(torn, Err(StoreError::Statement { .. })),
        "{torn:?}"
    );
    assert_eq!(store.offsets(topic).await.unwrap(), first);
    assert_eq!(reader.count().await.unwrap(), before + 1_000);

    store
        .append(topic, &[row(topic, 0, 999)], &first, &next)
        .await
        .unwrap();
    assert_eq!(
        store.offsets(topic).await.unwrap(),
        [(0, 1_000), (3, 8)].into()
    );

    // Reopening the store changes nothing, and rows are read back as written.
    FeedbackStore::open(&url.into()).await.unwrap();
    assert_eq!(reader.count().await.unwrap(), before + 1_001);
    let mine = |rows: Vec<FeedbackRow>| {
        rows.into_iter()
            .filter(|row| row.source_topic == topic)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        mine(reader.newest(10_000).await.unwrap())[0],
        row(topic, 0, 999)
    );
    assert_eq!(
        mine(reader.all().try_collect().await.unwrap())[0],
        row(topic, 0, 0)
    );
}

#[tokio::test]
async fn sqlite_keeps_the_stores_promises() {
    let directory = tempfile::tempdir().unwrap();
    keeps_its_promises(
        &format!(
            "sqlite://{}",
            directory.path().join("feedback.db").display()
        ),
        "topic",
    )
    .await;
}

#[tokio::test]
async fn postgres_keeps_the_stores_promises() {
    let url = tokio::task::spawn_blocking(|| Fixture::for_broker("nowhere:1").unwrap().postgres());
    keeps_its_promises(&url.await.unwrap().unwrap(), "topic").await;
}

#[test]
fn the_sink_resumes_at_the_offsets_in_postgres() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let file = dataset("iris.csv").display().to_string();
    let store = fixture.postgres().unwrap();
    let stored = || {
        let list = fixture
            .run(
                "iris-feedback-sink",
                &["export", "--format", "csv", "--store", &store],
            )
            .unwrap();
        let mut csv = csv::Reader::from_reader(list.stdout.as_bytes());
        let rows: Vec<FeedbackRow> = csv
            .records()
            .map(|record| record.unwrap())
            .filter_map(|record| {
                (record[0] == fixture.topics.feedback).then(|| FeedbackRow {
                    record_id: Some(record[4].to_owned()),
                    ..FeedbackRow::default()
                })
            })
            .collect();
        let mut ids: Vec<String> = rows.into_iter().filter_map(|row| row.record_id).collect();
        ids.sort();
        ids
    };
    for round in 1..=2 {
        fixture
            .run("iris-producer", &["--file", &file, "--interval-ms", "0"])
            .unwrap();
        fixture
            .run("iris-classifier", &["--idle-timeout-ms", "1500"])
            .unwrap();
        let mut sink = fixture
            .start("iris-feedback-sink", &["--store", &store])
            .unwrap();
        eventually("the rows", Duration::from_secs(60), || {
            (stored().len() == 4 * round).then_some(())
        })
        .unwrap();
        // The second time it is killed, and the next sink resumes at the database's offsets.
        if round == 1 {
            assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
        }
    }
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", &store])
        .unwrap();
    sink.line_with("storing", Duration::from_secs(60)).unwrap();
    assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
    assert_eq!(stored(), ["107", "107", "71", "71", "73", "73", "84", "84"]);
}

#[test]
fn a_recreated_topic_is_distinguished_from_the_one_in_the_store() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let (file, store) = (dataset("iris.csv").display().to_string(), fixture.sqlite());
    fixture
        .run(
            "iris-producer",
            &["--file", &file, "--interval-ms", "0", "--rounds", "4"],
        )
        .unwrap();
    fixture
        .run("iris-classifier", &["--idle-timeout-ms", "1500"])
        .unwrap();
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", &store])
        .unwrap();
    eventually("sixteen rows", Duration::from_secs(60), || {
        let stored = sink
            .lines()
            .iter()
            .filter(|line| line.contains("Stored: "))
            .count();
        (stored == 16).then_some(())
    })
    .unwrap();
    sink.terminate(Duration::from_secs(10)).unwrap();
    fixture
        .run("iris-admin", &["topics", "delete", "--yes"])
        .unwrap();
    eventually("the topics to exist again", Duration::from_secs(60), || {
        fixture.create_topics().ok()
    })
    .unwrap();
    fixture
        .run("iris-producer", &["--file", &file, "--interval-ms", "0"])
        .unwrap();
    fixture
        .run("iris-classifier", &["--idle-timeout-ms", "1500"])
        .unwrap();
    let ended = fixture
        .run("iris-feedback-sink", &["--store", &store])
        .unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("it was deleted and created again; name another store with --store"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_unreachable_store_is_reported_and_waited_for() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let url = "postgres://iris:swordfish@localhost:1/postgres";
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", url])
        .unwrap();
    let warning = sink
        .line_with("cannot open the store", Duration::from_secs(60))
        .unwrap();
    assert!(
        warning.contains("postgres://iris:hidden@localhost:1/postgres"),
        "{warning}"
    );
    assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
    assert!(!sink.lines().join("\n").contains("swordfish"));
}

/// Kills a sink 50 times, each time after it has stored some more rows, and compares all rows with the topic.
fn kill_while_storing(url: &str) {
    const KILLS: usize = 50;
    /// The number of sinks that must be killed after they have stored some rows and before they have stored all.
    const KILLS_AT_WORK: usize = 45;
    /// More records than the killed sinks store.
    const RECORDS: usize = 200_000;
    /// The most rows that a sink stores before it is killed.
    const MAX_ROWS: usize = 2_000;
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let mut random = fixture.random().unwrap();
    let topic = &fixture.topics.feedback;
    let value = br#"{"Id":1,"Species":"a","PredictedSpecies":"b"}"#;
    let values = vec![Some(value.as_slice()); RECORDS / 5];
    for partition in 0..5 {
        fixture
            .produce(topic, partition, None, &values, &Headers::default())
            .unwrap();
    }
    let runtime = runtime().unwrap();
    runtime.block_on(FeedbackStore::open(&url.into())).unwrap();
    let reader = runtime
        .block_on(async { FeedbackReader::new(&url.into(), None) })
        .unwrap();
    let count = || usize::try_from(runtime.block_on(reader.count()).unwrap()).unwrap();
    let start = |run: usize| {
        let mut command = fixture.command("iris-feedback-sink", &["--store", url]);
        // Another group each time: Kafka has no earlier offsets, and a dead member delays no rebalance.
        command
            .env(
                "IRIS__FEEDBACK_SINK__GROUP_ID",
                format!("{}-{run}", fixture.name()),
            )
            .env("IRIS__TELEMETRY__LOG", "info,record=off");
        let sink = Running::start("iris-feedback-sink", command, false).unwrap();
        // The database has finished the previous sink's work by now.
        sink.line_with("storing", TIMEOUT).unwrap();
        sink
    };
    let mut kills_at_work = 0;
    for run in 0..KILLS {
        let sink = start(run);
        let before = count();
        let wanted = RECORDS.min(before + random.usize(1..=MAX_ROWS));
        eventually("the sink to store rows", TIMEOUT, || {
            (count() >= wanted).then_some(())
        })
        .unwrap();
        drop(sink);
        let rows = count();
        kills_at_work += usize::from(before < rows && rows < RECORDS);
    }
    println!("{kills_at_work} of {KILLS} kills met a sink at work");
    assert!(kills_at_work >= KILLS_AT_WORK, "{kills_at_work}");
    let last = start(KILLS);
    eventually("every record to be stored", TIMEOUT, || {
        (count() >= RECORDS).then_some(())
    })
    .unwrap();
    drop(last);
    let places: BTreeSet<(i64, i64)> = fixture
        .records(topic)
        .unwrap()
        .iter()
        .map(|record| (record.partition.into(), record.offset))
        .collect();
    assert_eq!(places.len(), RECORDS);
    let rows: Vec<FeedbackRow> = runtime.block_on(reader.all().try_collect()).unwrap();
    assert_eq!(rows.len(), RECORDS);
    let rows = rows.iter();
    let rows: BTreeSet<(i64, i64)> = rows
        .map(|row| (row.source_partition, row.source_offset))
        .collect();
    assert_eq!(rows, places);
}

#[test]
fn a_sink_that_is_killed_stores_each_record_once_in_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("feedback.db");
    kill_while_storing(&format!("sqlite://{}", path.display()));
}

#[test]
fn a_sink_that_is_killed_stores_each_record_once_in_postgres() {
    let url = Fixture::new().unwrap().postgres().unwrap();
    kill_while_storing(&url);
}
