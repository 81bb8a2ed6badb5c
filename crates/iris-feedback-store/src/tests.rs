//! A writer and a reader on one SQLite file, and servers that cannot be the store.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use sqlx::{AnyConnection, Connection as _};

use crate::{FeedbackReader, FeedbackRow, FeedbackStore, StoreError, StoreUrl, StoredOffsets};

fn url(directory: &tempfile::TempDir) -> StoreUrl {
    let file = directory.path().join("feedback.db");
    format!("sqlite://{}", file.display()).as_str().into()
}

fn row(offset: i64) -> FeedbackRow {
    FeedbackRow {
        source_topic: "t".to_owned(),
        source_offset: offset,
        created_ms: Some(1_000 + offset),
        value: format!("{{\"Id\":{offset}}}"),
        ..FeedbackRow::default()
    }
}

#[tokio::test]
async fn offsets_move_only_from_the_expected_ones_and_only_with_the_rows() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory);
    let store = FeedbackStore::open(&url).await.unwrap();
    let (none, one, two) = (StoredOffsets::new(), [(0, 1)].into(), [(0, 2)].into());
    store.append("t", &[row(0)], &none, &one).await.unwrap();
    for stale in [&none, &two] {
        let refused = store.append("t", &[row(1)], stale, &two).await;
        assert!(
            matches!(refused, Err(StoreError::Conflict { partition: 0 })),
            "{refused:?}"
        );
    }
    let twice = store.append("t", &[row(0)], &one, &two).await;
    assert!(
        matches!(twice, Err(StoreError::Statement { .. })),
        "{twice:?}"
    );
    assert_eq!(store.offsets("t").await.unwrap(), one);
    store.append("t", &[row(1)], &one, &two).await.unwrap();
    let reopened = FeedbackStore::open(&url).await.unwrap();
    assert_eq!(reopened.offsets("t").await.unwrap(), two);
    assert_eq!(reopened.row("t", 0, 1).await.unwrap(), Some(row(1)));
    assert_eq!(reopened.row("t", 0, 2).await.unwrap(), None);
}

#[tokio::test]
async fn each_column_comes_back_as_it_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory);
    let store = FeedbackStore::open(&url).await.unwrap();
    let some = |text: &str| Some(text.to_owned());
    let full = FeedbackRow {
        source_topic: "t".to_owned(),
        source_partition: 1,
        source_offset: 2,
        created_ms: Some(3),
        record_id: some("4"),
        label: some("five"),
        predicted: some("six"),
        model_version: some("seven"),
        input_partition: Some(8),
        input_offset: Some(9),
        votes: some("1.0"),
        value: "{\"a\": \"\u{1f33c} it's\"}".to_owned(),
        problem: some("eleven"),
    };
    let (none, after) = (StoredOffsets::new(), [(1, 3)].into());
    store
        .append("t", std::slice::from_ref(&full), &none, &after)
        .await
        .unwrap();
    assert_eq!(store.row("t", 1, 2).await.unwrap(), Some(full));
}

#[tokio::test]
async fn a_reader_orders_searches_and_counts_rows_and_cannot_write() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory);
    let reader = FeedbackReader::new(&url, None).unwrap();
    let missing = reader.count().await.unwrap_err().to_string();
    assert!(missing.contains("cannot be read: "), "{missing}");

    let store = FeedbackStore::open(&url).await.unwrap();
    let rows: Vec<FeedbackRow> = (0..12).map(row).collect();
    let (none, after) = (StoredOffsets::new(), [(0, 12)].into());
    store.append("t", &rows, &none, &after).await.unwrap();
    assert_eq!(reader.count().await.unwrap(), 12);
    assert_eq!(reader.newest(2).await.unwrap(), [row(11), row(10)]);
    assert_eq!(
        reader.search("\"id\":1", 2).await.unwrap(),
        [row(11), row(10)]
    );
    assert_eq!(reader.search("id\":1}", 2).await.unwrap(), [row(1)]);
    assert_eq!(reader.search("%", 2).await.unwrap(), []);
    assert_eq!(reader.all().try_collect::<Vec<_>>().await.unwrap(), rows);
    let delete = sqlx::query("DELETE FROM feedback");
    let refused = delete.execute(&reader.pool).await;
    assert!(refused.is_err(), "{refused:?}");
}

/// Creates a SQLite file with these statements.
async fn database(path: &Path, statements: &'static str) {
    let url = format!("sqlite:{}?mode=rwc", path.display());
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Returns the error of opening a store, without its address.
async fn refusal(url: &StoreUrl) -> String {
    match FeedbackStore::open(url).await {
        Err(StoreError::Unusable { cause, .. }) => cause,
        other => panic!("{url} was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_stays_unchanged() {
    for (statements, expected) in [
        (
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum TEXT NOT NULL, \
             execution_time BIGINT NOT NULL); \
             INSERT INTO _sqlx_migrations VALUES (20240101000000, 'users', '', TRUE, 'x', 1)",
            "its table `_sqlx_migrations` has migrations of another program; name another database",
        ),
        (
            "CREATE TABLE feedback (stars INTEGER)",
            "it has a table `feedback` that another program created; name another database",
        ),
        (
            "CREATE VIEW feedback_offsets AS SELECT 1",
            "it has a table `feedback_offsets` that another program created; name another database",
        ),
        (
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
             execution_time BIGINT NOT NULL); \
             INSERT INTO _sqlx_migrations VALUES (20240101000000, 'users', '', TRUE, x'00', 1)",
            "its table `_sqlx_migrations` has migrations of another program; name another database",
        ),
        (
            "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
             execution_time BIGINT NOT NULL); \
             INSERT INTO _sqlx_migrations VALUES (1, 'users', '', TRUE, x'00', 1)",
            "its table `_sqlx_migrations` has migrations of another program; name another database",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("feedback.db");
        database(&path, statements).await;
        assert_eq!(refusal(&url(&directory)).await, expected);
        let reader = FeedbackReader::new(&url(&directory), None).unwrap();
        let schema = sqlx::query_scalar(
            "SELECT COUNT(*) FROM sqlite_master WHERE type IN ('table', 'view')",
        );
        let objects: i64 = schema.fetch_one(&reader.pool).await.unwrap();
        assert_eq!(objects, 1, "{statements}");
    }
}

#[tokio::test]
async fn a_schema_that_is_newer_or_was_changed_is_refused() {
    for (statements, expected) in [
        (
            "INSERT INTO _sqlx_migrations SELECT 7, description, installed_on, success, checksum, execution_time \
             FROM _sqlx_migrations WHERE version = 1",
            "its schema has version 7, which is newer than this program",
        ),
        (
            "ALTER TABLE feedback RENAME COLUMN votes TO vote",
            "its table `feedback` is not one of this program (no such column: votes)",
        ),
        (
            "UPDATE _sqlx_migrations SET checksum = x'00'",
            "its schema is not one of this program (migration 1 was previously applied but has been modified)",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        FeedbackStore::open(&url(&directory)).await.unwrap();
        database(&directory.path().join("feedback.db"), statements).await;
        let refusal = refusal(&url(&directory)).await;
        assert!(refusal.starts_with(expected), "{refusal}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_at_once_and_stays_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("feedback.db");
    let text = "Id,Species\n".repeat(1_000);
    std::fs::write(&path, &text).unwrap();
    let started = Instant::now();
    let refusal = refusal(&url(&directory)).await;
    assert_eq!(refusal, "file is not a database; name another file");
    let reader = FeedbackReader::new(&url(&directory), None).unwrap();
    let error = reader.count().await.unwrap_err().to_string();
    assert!(
        error.ends_with("cannot be read: file is not a database; name another file"),
        "{error}"
    );
    assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_missing_directory_is_refused_and_a_reader_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing: StoreUrl = format!("sqlite://{}/no/such.db", directory.path().display()).into();
    let refusal = refusal(&missing).await;
    assert!(
        refusal.starts_with("unable to open database file; check that the file's directory exists"),
        "{refusal}"
    );
    for parameters in ["", "?mode=rwc"] {
        let file = directory.path().join("feedback.db");
        let url: StoreUrl = format!("sqlite://{}{parameters}", file.display()).into();
        let reader = FeedbackReader::new(&url, None).unwrap();
        reader.count().await.unwrap_err();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
    std::fs::write(directory.path().join("feedback.db"), "").unwrap();
    let reader = FeedbackReader::new(&url(&directory), None).unwrap();
    let error = reader.count().await.unwrap_err().to_string();
    assert!(
        error.contains("it has no table of feedback; iris-feedback-sink creates it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_locked_file_and_an_unreachable_server_may_become_usable() {
    let directory = tempfile::tempdir().unwrap();
    FeedbackStore::open(&url(&directory)).await.unwrap();
    let path = format!("sqlite:{}", directory.path().join("feedback.db").display());
    let mut other = AnyConnection::connect(&path).await.unwrap();
    sqlx::raw_sql("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
        .execute(&mut other)
        .await
        .unwrap();
    for (url, expected) in [
        (url(&directory), "database is locked"),
        ("postgres://a:b@localhost:1/c".into(), "refused"),
    ] {
        match FeedbackStore::open(&url).await {
            Err(StoreError::Open { cause, .. }) => assert!(cause.contains(expected), "{cause}"),
            other => panic!("{url}: {other:?}"),
        }
    }
    let unreachable = "postgres://a:b@localhost:1/c".into();
    let reader = FeedbackReader::new(&unreachable, Some(Duration::from_secs(1))).unwrap();
    let error = reader.count().await.unwrap_err().to_string();
    assert!(
        error.contains("refused"),
        "the cause and not that the pool timed out: {error}"
    );
}

/// Starts a server that reads a request for TLS, sends some bytes and closes the connection. Returns its address.
fn answering(answer: &'static [u8]) -> StoreUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 8];
            connection.read_exact(&mut request).unwrap();
            connection.write_all(answer).unwrap();
            let _ = connection.shutdown(Shutdown::Write);
            // The rest of the request is read, so that the client does not lose the answer.
            let _ = connection.read_to_end(&mut Vec::new());
        }
    });
    let url = format!("postgres://iris@127.0.0.1:{port}/iris?sslmode=require");
    url.as_str().into()
}

#[tokio::test]
async fn a_server_without_tls_is_refused_and_one_that_closes_the_connection_is_not() {
    // No TLS; TLS, and then bytes that are not; TLS, and then a fatal alert; TLS, and then nothing; nothing.
    for (answer, is_refused) in [
        (&b"N"[..], true),
        (b"SHTTP/1.1 400 Bad Request\r\n\r\n", true),
        (b"S\x15\x03\x03\x00\x02\x02\x28", true),
        (b"S", false),
        (b"", false),
    ] {
        let error = FeedbackStore::open(&answering(answer)).await.unwrap_err();
        let text = error.to_string();
        let found = matches!(error, StoreError::Unusable { .. });
        assert_eq!(found, is_refused, "{answer:?}: {text}");
        assert!(text.contains("postgres://127.0.0.1:"), "{text}");
    }
}
