//! The database: SQLite or PostgreSQL, one schema, the same statements for both.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use iris_kafka::Offsets;
use iris_service::StoreUrl;
use sqlx::any::AnyArguments;
use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor, FromRow, SqlSafeStr as _};

use crate::feedback::Feedback;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("cannot open the store {store}")]
    Open {
        /// The database's URL, without its password.
        store: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema cannot be brought up to date.
    #[error("cannot bring the schema of the store {store} up to date")]
    Migrate {
        /// The database's URL, without its password.
        store: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// A statement failed.
    #[error("the store failed to {operation}")]
    Statement {
        /// What it was to do.
        operation: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database does not answer. Whether it has done what it was asked for is unknown; the offsets will tell.
    #[error("the store did not answer in time when asked to {operation}")]
    NoAnswer {
        /// What it was to do.
        operation: &'static str,
    },
    /// Somebody else has stored this partition's records meanwhile.
    #[error("another sink has stored records of partition {partition} meanwhile")]
    Conflict {
        /// The partition.
        partition: i32,
    },
}

/// An open database with the schema up to date.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    is_sqlite: bool,
}

const COLUMNS: [&str; 13] = [
    "source_topic",
    "source_partition",
    "source_offset",
    "created_ms",
    "record_id",
    "label",
    "predicted",
    "model_version",
    "input_partition",
    "input_offset",
    "votes",
    "value",
    "problem",
];

/// How long a connection may take to be had. Less than an answer may take, so that the cause is told.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows of one INSERT: enough that a statement costs little, and few enough that most are of the same length and so are
/// prepared once.
const ROWS_A_STATEMENT: usize = 250;

/// What reading rows is called in errors.
const READ: &str = "read feedback";

/// The order in which feedback came in, as far as there is one across partitions.
const OLDEST_FIRST: &str = "ORDER BY created_ms, source_topic, source_partition, source_offset";
const NEWEST_FIRST: &str =
    "ORDER BY created_ms DESC, source_topic DESC, source_partition DESC, source_offset DESC";

impl Store {
    /// Opens the database, making it if it is a SQLite file that is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] if the database is out of reach or its schema was made by something else.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        install_default_drivers();
        let store = StoreUrl::from(url).to_string();
        let is_sqlite = url.starts_with("sqlite:");
        let url = if is_sqlite && !url.contains('?') {
            format!("{url}?mode=rwc")
        } else {
            url.to_owned()
        };
        let pool = AnyPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let settings = if is_sqlite {
                        // Readers do not block the writer. What a power cut may take with it is read again from Kafka.
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
                    } else {
                        // As long as SQLite's driver waits: then the cause can be told.
                        "SET lock_timeout = '5s'"
                    };
                    connection.execute(settings).await.map(|_| ())
                })
            })
            .connect(&url)
            .await
            .map_err(|source| StoreError::Open {
                store: store.clone(),
                source,
            })?;
        migrations()
            .run(&pool)
            .await
            .map_err(|source| StoreError::Migrate { store, source })?;
        Ok(Self { pool, is_sqlite })
    }

    /// The offsets at which reading `topic` goes on.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn offsets(&self, topic: &str) -> Result<Offsets, StoreError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT source_partition, next_offset FROM feedback_offsets WHERE source_topic = $1",
        )
        .bind(topic)
        .fetch_all(&self.pool)
        .await
        .map_err(failed("read the offsets"))?;
        Ok(rows
            .into_iter()
            .filter_map(|(partition, offset)| Some((i32::try_from(partition).ok()?, offset)))
            .collect())
    }

    /// Stores rows of `topic` and moves its offsets from `before` to `after`, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the offsets are not those of `before`; [`StoreError::Statement`] if the database
    /// fails. In both cases nothing has changed.
    pub async fn append(
        &self,
        topic: &str,
        rows: &[Feedback],
        before: &Offsets,
        after: &Offsets,
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "store feedback";
        let mut transaction = self.pool.begin().await.map_err(failed(OPERATION))?;
        for (&partition, &next) in after {
            let moved = match before.get(&partition) {
                None => sqlx::query(
                    "INSERT INTO feedback_offsets (source_topic, source_partition, next_offset) VALUES ($1, $2, $3) \
                     ON CONFLICT DO NOTHING",
                )
                .bind(topic)
                .bind(i64::from(partition))
                .bind(next),
                Some(&before) => sqlx::query(
                    "UPDATE feedback_offsets SET next_offset = $3 \
                     WHERE source_topic = $1 AND source_partition = $2 AND next_offset = $4",
                )
                .bind(topic)
                .bind(i64::from(partition))
                .bind(next)
                .bind(before),
            };
            let moved = moved
                .execute(&mut *transaction)
                .await
                .map_err(failed(OPERATION))?;
            if moved.rows_affected() != 1 {
                return Err(StoreError::Conflict { partition });
            }
        }
        for rows in rows.chunks(ROWS_A_STATEMENT) {
            let insert = AssertSqlSafe(insert_statement(rows.len(), self.is_sqlite));
            let insert = rows.iter().fold(sqlx::query(insert), bind_row);
            insert
                .execute(&mut *transaction)
                .await
                .map_err(failed(OPERATION))?;
        }
        transaction.commit().await.map_err(failed(OPERATION))
    }

    /// The row of the record that was read from this place; `None` if none was.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn row(
        &self,
        topic: &str,
        partition: i64,
        offset: i64,
    ) -> Result<Option<Feedback>, StoreError> {
        const PLACE: &str =
            "WHERE source_topic = $1 AND source_partition = $2 AND source_offset = $3";
        let row: Option<Row> =
            sqlx::query_as(AssertSqlSafe(format!("{} {PLACE}", select_statement())))
                .bind(topic)
                .bind(partition)
                .bind(offset)
                .fetch_optional(&self.pool)
                .await
                .map_err(failed(READ))?;
        Ok(row.map(|row| row.0))
    }

    /// The number of rows.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn count(&self) -> Result<i64, StoreError> {
        let counted = sqlx::query_scalar("SELECT COUNT(*) FROM feedback")
            .fetch_one(&self.pool)
            .await;
        counted.map_err(failed("count feedback"))
    }

    /// The newest rows, newest first.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Feedback>, StoreError> {
        let select = AssertSqlSafe(format!("{} {NEWEST_FIRST} LIMIT $1", select_statement()));
        let rows: Vec<Row> = sqlx::query_as(select)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed(READ))?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// All rows, oldest first, as one statement sees them.
    pub fn all(&self) -> impl Stream<Item = Result<Feedback, StoreError>> + '_ {
        let select = AssertSqlSafe(format!("{} {OLDEST_FIRST}", select_statement()));
        let rows = sqlx::query_as::<_, Row>(select).fetch(&self.pool);
        rows.map(|row| row.map(|row| row.0).map_err(failed(READ)))
    }
}

fn select_statement() -> String {
    format!("SELECT {} FROM feedback", COLUMNS.join(", "))
}

/// An INSERT of so many rows. PostgreSQL wants its parameters numbered. To SQLite a number is a name, and its driver looks
/// for each name among all those before it, which takes longer than everything else.
fn insert_statement(rows: usize, is_sqlite: bool) -> String {
    let row = |row: usize| {
        let first = row * COLUMNS.len() + 1;
        let parameter = |number: usize| {
            if is_sqlite {
                "?".to_owned()
            } else {
                format!("${number}")
            }
        };
        let values: Vec<String> = (first..first + COLUMNS.len()).map(parameter).collect();
        format!("({})", values.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO feedback ({}) VALUES {}",
        COLUMNS.join(", "),
        rows.join(", ")
    )
}

/// Binds a row's values in the order of [`COLUMNS`].
fn bind_row<'q>(
    insert: Query<'q, Any, AnyArguments>,
    row: &'q Feedback,
) -> Query<'q, Any, AnyArguments> {
    insert
        .bind(&row.source_topic)
        .bind(row.source_partition)
        .bind(row.source_offset)
        .bind(row.created_ms)
        .bind(&row.record_id)
        .bind(&row.label)
        .bind(&row.predicted)
        .bind(&row.model_version)
        .bind(row.input_partition)
        .bind(row.input_offset)
        .bind(&row.votes)
        .bind(&row.value)
        .bind(&row.problem)
}

/// The steps that make the schema, each once and in order: a step that has shipped never changes.
const MIGRATIONS: [(i64, &str, &str); 1] = [(
    1,
    "feedback",
    include_str!("../migrations/0001_feedback.sql"),
)];

fn migrations() -> Migrator {
    let steps = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(steps.into())
}

fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Statement { operation, source }
}

struct Row(Feedback);

impl<'r> FromRow<'r, sqlx::any::AnyRow> for Row {
    fn from_row(row: &'r sqlx::any::AnyRow) -> Result<Self, sqlx::Error> {
        use sqlx::Row as _;
        Ok(Self(Feedback {
            source_topic: row.try_get("source_topic")?,
            source_partition: row.try_get("source_partition")?,
            source_offset: row.try_get("source_offset")?,
            created_ms: row.try_get("created_ms")?,
            record_id: row.try_get("record_id")?,
            label: row.try_get("label")?,
            predicted: row.try_get("predicted")?,
            model_version: row.try_get("model_version")?,
            input_partition: row.try_get("input_partition")?,
            input_offset: row.try_get("input_offset")?,
            votes: row.try_get("votes")?,
            value: row.try_get("value")?,
            problem: row.try_get("problem")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_has_a_parameter_for_each_value_in_each_databases_way() {
        let postgres = insert_statement(2, false);
        assert!(
            postgres.starts_with("INSERT INTO feedback (source_topic, source_partition, "),
            "{postgres}"
        );
        assert!(
            postgres.ends_with(
                "$12, $13), ($14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)"
            ),
            "{postgres}"
        );
        let sqlite = insert_statement(2, true);
        assert_eq!(sqlite.matches('?').count(), 26);
        assert!(!sqlite.contains('$'), "{sqlite}");
    }

    #[tokio::test]
    async fn sqlite_moves_offsets_only_from_where_they_are_and_only_with_the_rows() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feedback.db");
        let url = format!("sqlite://{}", file.display());
        let store = Store::open(&url).await.unwrap();
        let row = |offset| Feedback {
            source_topic: "t".to_owned(),
            source_offset: offset,
            ..Feedback::default()
        };
        let (none, one, two) = (Offsets::new(), [(0, 1)].into(), [(0, 2)].into());
        store.append("t", &[row(0)], &none, &one).await.unwrap();
        let stale = store.append("t", &[row(1)], &none, &two).await;
        assert!(
            matches!(stale, Err(StoreError::Conflict { partition: 0 })),
            "{stale:?}"
        );
        let twice = store.append("t", &[row(0)], &one, &two).await;
        assert!(
            matches!(twice, Err(StoreError::Statement { .. })),
            "{twice:?}"
        );
        assert_eq!(store.offsets("t").await.unwrap(), one);
        assert_eq!(store.count().await.unwrap(), 1);
        store.append("t", &[row(1)], &one, &two).await.unwrap();
        let again = Store::open(&url).await.unwrap();
        assert_eq!(again.offsets("t").await.unwrap(), two);
        assert_eq!(again.row("t", 0, 1).await.unwrap(), Some(row(1)));
        assert_eq!(again.row("t", 0, 2).await.unwrap(), None);
    }
}
