//! A writer and a reader on one SQLite file.

use futures_util::TryStreamExt as _;

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
