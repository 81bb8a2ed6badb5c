//! The feedback store, on SQLite and on PostgreSQL.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use iris_feedback_store::{FeedbackReader, FeedbackRow, FeedbackStore, StoreError, StoredOffsets};
use iris_kafka::Headers;
use iris_testkit::{Fixture, Running, TIMEOUT, dataset, eventually, runtime};
use sqlx::{AnyConnection, Connection as _, Executor as _};

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
        eventually("the rows", TIMEOUT, || {
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
    sink.line_with("storing", TIMEOUT).unwrap();
    assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
    assert_eq!(stored(), ["107", "107", "71", "71", "73", "73", "84", "84"]);
}

#[test]
fn a_store_without_topic_ids_is_not_filled_from_a_recreated_topic() {
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
    eventually("sixteen rows", TIMEOUT, || {
        let stored = sink
            .lines()
            .iter()
            .filter(|line| line.contains("Stored: "))
            .count();
        (stored == 16).then_some(())
    })
    .unwrap();
    sink.terminate(Duration::from_secs(10)).unwrap();
    // As an earlier version leaves it.
    execute(&store, &["DELETE FROM feedback_topics"]);
    fixture
        .run("iris-admin", &["topics", "delete", "--yes"])
        .unwrap();
    eventually("the topics to exist again", TIMEOUT, || {
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
        .line_with("cannot open the feedback store", TIMEOUT)
        .unwrap();
    assert!(
        warning.contains("postgres://localhost:1/postgres: ") && warning.contains("refused"),
        "{warning}"
    );
    // Long enough for several attempts.
    std::thread::sleep(Duration::from_secs(3));
    assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
    let lines = sink.lines();
    assert_eq!(count(&lines, "refused"), 1, "{lines:?}");
    assert!(!lines.join("\n").contains("swordfish"));
}

/// Returns the number of lines that contain a text.
fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_locked_store_is_logged_once_when_it_is_locked_and_once_when_it_works_again() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let url = fixture.sqlite();
    let runtime = runtime().unwrap();
    runtime
        .block_on(FeedbackStore::open(&url.as_str().into()))
        .unwrap();
    execute(&url, &[]);
    let mut other = runtime.block_on(AnyConnection::connect(&url)).unwrap();
    let lock = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE";
    runtime.block_on(other.execute(lock)).unwrap();
    let mut sink = fixture
        .start("iris-feedback-sink", &["--store", &url])
        .unwrap();
    let warning = sink.line_with("locked", TIMEOUT).unwrap();
    assert!(warning.contains("database is locked"), "{warning}");
    std::thread::sleep(Duration::from_secs(8));
    runtime.block_on(other.close()).unwrap();
    sink.line_with("the feedback store works again", TIMEOUT)
        .unwrap();
    assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
    let lines = sink.lines();
    assert_eq!(count(&lines, "locked"), 1, "{lines:?}");
    assert_eq!(count(&lines, "works again"), 1, "{lines:?}");
    assert_eq!(count(&lines, "ERROR"), 0, "{lines:?}");
}

/// Executes statements on a database.
fn execute(url: &str, statements: &[&str]) {
    sqlx::any::install_default_drivers();
    runtime().unwrap().block_on(async {
        let mut connection = AnyConnection::connect(url).await.unwrap();
        for statement in statements {
            let statement = sqlx::AssertSqlSafe(statement.to_string());
            connection.execute(statement).await.unwrap();
        }
    });
}

/// Returns the only line of a sink that refuses its store; nothing else is logged as a warning or an error.
fn refusal(fixture: &Fixture, store: &str, code: i32) -> String {
    let started = Instant::now();
    let ended = fixture
        .run("iris-feedback-sink", &["--store", store])
        .unwrap();
    assert_eq!(ended.code, Some(code), "{store}: {}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(10), "{store}");
    let problems: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| !line.contains(" INFO "))
        .collect();
    assert_eq!(problems.len(), 1, "{store}: {}", ended.stderr);
    problems[0].to_owned()
}

/// The table of migrations of another program, for both databases.
const FOREIGN_MIGRATIONS: [&str; 2] = [
    "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum TEXT NOT NULL, \
     execution_time BIGINT NOT NULL)",
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     VALUES (20240101000000, 'users', TRUE, 'x', 1)",
];

#[test]
fn a_sqlite_file_that_cannot_be_the_store_is_refused_at_once() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let path = |name: &str| fixture.directory().join(name);
    let url = |name: &str| format!("sqlite://{}", path(name).display());
    std::fs::write(path("text.csv"), "Id,Species\n".repeat(1_000)).unwrap();
    for (name, statements) in [
        ("table.db", &["CREATE TABLE feedback (stars INTEGER)"][..]),
        ("migrations.db", &FOREIGN_MIGRATIONS),
    ] {
        std::fs::write(path(name), "").unwrap();
        execute(&url(name), statements);
    }
    for (name, expected) in [
        ("text.csv", "file is not a database; name another file"),
        (
            "table.db",
            "it has a table `feedback` that another program created; name another database",
        ),
        (
            "migrations.db",
            "its table `_sqlx_migrations` has migrations of another program; name another database",
        ),
        ("no/such.db", "unable to open database file; check that"),
    ] {
        let before = std::fs::read(path(name)).ok();
        let error = refusal(&fixture, &url(name), 1);
        let expected = format!(
            "error: the feedback store {} cannot be used: {expected}",
            url(name)
        );
        assert!(error.starts_with(&expected), "{error}");
        let tables = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .matches("CREATE TABLE")
                .count()
        };
        let after = std::fs::read(path(name)).ok();
        assert_eq!(
            before.as_deref().map(tables),
            after.as_deref().map(tables),
            "{name}"
        );
    }
}

#[test]
fn a_postgres_database_that_cannot_be_the_store_is_refused_at_once() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let store = fixture.postgres().unwrap();
    let (server, name) = store.rsplit_once('/').unwrap();
    let (scheme, host) = server.split_once("://").unwrap();
    let host = host.rsplit('@').next().unwrap();
    let database = |suffix: &str| format!("{name}_{suffix}");
    let url = |suffix: &str| format!("{server}/{}", database(suffix));
    let role = format!("{name}_role");
    execute(
        &store,
        &[
            &format!("CREATE DATABASE {}", database("table")),
            &format!("CREATE DATABASE {}", database("migrations")),
            &format!("CREATE DATABASE {}", database("rights")),
            &format!(
                "CREATE DATABASE {} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
                database("latin1")
            ),
            &format!("CREATE ROLE {role} LOGIN PASSWORD 'swordfish'"),
        ],
    );
    execute(&url("table"), &["CREATE TABLE feedback (stars INTEGER)"]);
    execute(
        &url("migrations"),
        &FOREIGN_MIGRATIONS
            .map(|statement| statement.replace("checksum TEXT", "checksum BYTEA"))
            .each_ref()
            .map(String::as_str),
    );
    execute(
        &url("rights"),
        &["REVOKE CREATE ON SCHEMA public FROM PUBLIC"],
    );
    let with_role =
        |suffix: &str| format!("{scheme}://{role}:swordfish@{host}/{}", database(suffix));
    for (store, expected) in [
        (
            url("table"),
            "it has a table `feedback` that another program created",
        ),
        (
            url("migrations"),
            "its table `_sqlx_migrations` has migrations of another program",
        ),
        (
            url("latin1"),
            "its encoding is LATIN1, which cannot store every text",
        ),
        (
            with_role("rights"),
            "may not create tables; run `iris-feedback-sink migrate` as a user who may",
        ),
        (
            url("missing"),
            "does not exist; create the database, or name another one",
        ),
    ] {
        let error = refusal(&fixture, &store, 1);
        assert!(
            error.starts_with("error: the feedback store postgres://"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
        assert!(
            !error.contains("swordfish") && !error.contains(&role),
            "{error}"
        );
    }
    // A reader creates nothing.
    let list = ["list", "--store", &store];
    let ended = fixture.run("iris-feedback-sink", &list).unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("it has no table of feedback"),
        "{}",
        ended.stderr
    );
    execute(
        &store,
        &[
            "CREATE TABLE _sqlx_migrations ()",
            "CREATE TABLE feedback ()",
        ],
    );
    execute(&url("rights"), &[&format!("DROP ROLE {role}")]);
}

#[test]
fn a_password_of_any_characters_is_read_from_a_file_and_never_shown() {
    let fixture = Fixture::new().unwrap();
    fixture.create_topics().unwrap();
    let store = fixture.postgres().unwrap();
    let (server, name) = store.rsplit_once('/').unwrap();
    let (scheme, host) = server.split_once("://").unwrap();
    let host = host.rsplit('@').next().unwrap();
    let role = format!("{name}_role");
    let password = "s/w?o#r@d:f%41i s&h+";
    execute(
        &store,
        &[
            &format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"),
            &format!("GRANT CREATE, USAGE ON SCHEMA public TO {role}"),
        ],
    );
    let file = fixture.directory().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    let store = format!("{scheme}://{role}@{host}/{name}");
    let section = |file: &std::path::Path| {
        let file = file.display();
        format!("[feedback_sink]\nstore = \"{store}\"\nstore_password_file = \"{file}\"\n")
    };
    fixture.set(&section(&file)).unwrap();
    let mut sink = fixture.start("iris-feedback-sink", &[]).unwrap();
    sink.line_with("storing ", TIMEOUT).unwrap();
    assert!(sink.terminate(Duration::from_secs(10)).unwrap().success());
    let list = fixture.run("iris-feedback-sink", &["list"]).unwrap();
    assert_eq!(list.code, Some(0), "{}", list.stderr);
    let shown = fixture
        .run("iris-feedback-sink", &["--print-config"])
        .unwrap();
    let all = format!("{}{}{}", sink.lines().join("\n"), shown.stdout, list.stderr);
    assert!(!all.contains("s/w?") && !all.contains("s%2F"), "{all}");
    for store in [
        format!("{scheme}://{role}:{password}@{host}/{name}"),
        format!("{scheme}://{role}@{host}/{name}?password={password}"),
    ] {
        for service in ["iris-feedback-sink", "iris-dashboard"] {
            fixture.set("").unwrap();
            let ended = fixture.run(service, &["--store", &store]).unwrap();
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            let is_shown = ["s/w", "o#r", "f%41i"]
                .iter()
                .any(|part| ended.stderr.contains(part));
            assert!(!is_shown, "{}", ended.stderr);
            assert!(
                ended.stderr.contains("store_password_file"),
                "{}",
                ended.stderr
            );
        }
    }
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
