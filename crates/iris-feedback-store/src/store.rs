//! Read-write access: rows and offsets change together.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::any::AnyQueryResult;
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection as _};
use tokio::time;

use crate::cause::Cause;
use crate::connection::{Access, Database, Target};
use crate::row::FeedbackRow;
use crate::schema::VERSION;
use crate::statement::{AT_SOURCE, INSERT_OFFSET, MOVE_OFFSET, OFFSETS, insert, select};
use crate::suitability::migrate;
use crate::url::StoreUrl;

/// For each partition of the feedback topic, the offset at which reading resumes.
pub type StoredOffsets = BTreeMap<i32, i64>;

/// The versions of a schema before and after its migration; 0 if there was no schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version before.
    pub from: i64,
    /// The version after.
    pub to: i64,
}

/// Why rows cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used, and retrying cannot help.
    #[error("the feedback store {store} cannot be used: {cause}")]
    Unusable {
        /// The address of the database, without user and password.
        store: String,
        /// The cause and the fix.
        cause: String,
    },
    /// The database cannot be opened now.
    #[error("cannot open the feedback store {store}: {cause}")]
    Open {
        /// The address of the database, without user and password.
        store: String,
        /// The cause.
        cause: String,
    },
    /// A statement failed.
    #[error("the store failed to {operation}")]
    Statement {
        /// The operation, as a verb.
        operation: &'static str,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// The database did not answer in time. Whether the operation took effect is unknown; the offsets show it.
    #[error("the store did not answer in time (operation: {operation})")]
    NoAnswer {
        /// The operation.
        operation: &'static str,
    },
    /// The stored offset of a partition is not the expected one.
    #[error("records of partition {partition} have been stored by another sink")]
    Conflict {
        /// The partition.
        partition: i32,
    },
}

/// Rows of one INSERT: enough to make the cost of a statement small, and few enough that most statements have the same length
/// and are prepared once.
const ROWS_PER_INSERT: usize = 250;

/// How long a database may take to answer when it is opened: twice as long as a statement waits for a lock (5 s), so that
/// the error names the lock on a slow disk, too, and shorter than the sink waits.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Operations in errors.
const READ_OFFSETS: &str = "read the offsets";
pub(crate) const READ_TOPIC: &str = "read the id of the topic";
const READ_ROW: &str = "read feedback";
const APPEND: &str = "store feedback";

/// An open database whose schema is up to date.
#[derive(Clone, Debug)]
pub struct FeedbackStore {
    pool: AnyPool,
    database: Database,
}

impl FeedbackStore {
    /// Opens the database, and migrates its schema if it is not up to date. A SQLite file that does not exist is created.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] if the database is not one of this store or the user has too few rights;
    /// [`StoreError::Open`] if it cannot be reached or is locked.
    pub async fn open(url: &StoreUrl) -> Result<Self, StoreError> {
        Self::open_and_migrate(url).await.map(|(store, _)| store)
    }

    /// Migrates the schema of a database, if it is not up to date, as [`FeedbackStore::open`] does.
    ///
    /// # Errors
    /// As [`FeedbackStore::open`].
    pub async fn migrate(url: &StoreUrl) -> Result<Migrated, StoreError> {
        let (store, from) = Self::open_and_migrate(url).await?;
        store.pool.close().await;
        Ok(Migrated { from, to: VERSION })
    }

    /// Opens the database. Also returns the version that its schema had.
    async fn open_and_migrate(url: &StoreUrl) -> Result<(Self, i64), StoreError> {
        let store = url.to_string();
        let target = Target::new(url, Access::ReadWrite).map_err(|problem| {
            let (store, cause) = (store.clone(), format!("its address {problem}"));
            StoreError::Unusable { store, cause }
        })?;
        let database = target.database;
        let failed = |Cause { text, may_clear }| {
            let (store, cause) = (store.clone(), text);
            if may_clear {
                StoreError::Open { store, cause }
            } else {
                StoreError::Unusable { store, cause }
            }
        };
        let error = |error| Cause::of(&error, database);
        // A pool would hide the cause, and retry where that cannot help.
        let connected = time::timeout(OPEN_TIMEOUT, target.connect()).await;
        let connected = connected.map_err(|_| {
            let cause = format!("it did not answer within {} s", OPEN_TIMEOUT.as_secs());
            failed(Cause::temporary(cause))
        })?;
        let mut connection = connected.map_err(error).map_err(failed)?;
        let migrated = migrate(&mut connection, database).await;
        let from = migrated.map_err(failed)?;
        connection.close().await.map_err(error).map_err(failed)?;
        let pool = target.pool().connect_with(target.options.clone());
        let pool = pool.await.map_err(error).map_err(failed)?;
        Ok((Self { pool, database }, from))
    }

    /// Returns the connections.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Returns the offsets at which reading `topic` resumes.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn offsets(&self, topic: &str) -> Result<StoredOffsets, StoreError> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(OFFSETS)
            .bind(topic)
            .fetch_all(&self.pool)
            .await
            .map_err(failed(READ_OFFSETS))?;
        Ok(rows
            .into_iter()
            .filter_map(|(partition, offset)| Some((i32::try_from(partition).ok()?, offset)))
            .collect())
    }

    /// Stores rows of `topic` and moves the offsets of the partitions in `after` from `before`, in one database transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the stored offsets are not those of `before`; [`StoreError::Statement`] if the database
    /// fails. In both cases nothing has changed.
    pub async fn append(
        &self,
        topic: &str,
        rows: &[FeedbackRow],
        before: &StoredOffsets,
        after: &StoredOffsets,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await.map_err(failed(APPEND))?;
        for (&partition, &next) in after {
            let expected = before.get(&partition).copied();
            let moved = move_offset(&mut transaction, topic, partition, expected, next)
                .await
                .map_err(failed(APPEND))?;
            if moved.rows_affected() != 1 {
                return Err(StoreError::Conflict { partition });
            }
        }
        for rows in rows.chunks(ROWS_PER_INSERT) {
            let insert = AssertSqlSafe(insert(rows.len(), self.database));
            let insert = rows
                .iter()
                .fold(sqlx::query(insert), |insert, row| row.bind(insert));
            insert
                .execute(&mut *transaction)
                .await
                .map_err(failed(APPEND))?;
        }
        transaction.commit().await.map_err(failed(APPEND))
    }

    /// Returns the row of a record of the feedback topic; `None` if it is not stored.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn row(
        &self,
        topic: &str,
        partition: i64,
        offset: i64,
    ) -> Result<Option<FeedbackRow>, StoreError> {
        sqlx::query_as(AssertSqlSafe(select(AT_SOURCE)))
            .bind(topic)
            .bind(partition)
            .bind(offset)
            .fetch_optional(&self.pool)
            .await
            .map_err(failed(READ_ROW))
    }
}

/// Moves the offset of a partition to `next` if it is the expected one; changes no row otherwise.
async fn move_offset(
    connection: &mut AnyConnection,
    topic: &str,
    partition: i32,
    expected: Option<i64>,
    next: i64,
) -> Result<AnyQueryResult, sqlx::Error> {
    let statement = sqlx::query(if expected.is_some() {
        MOVE_OFFSET
    } else {
        INSERT_OFFSET
    });
    let statement = statement.bind(topic).bind(i64::from(partition)).bind(next);
    let statement = match expected {
        Some(expected) => statement.bind(expected),
        None => statement,
    };
    statement.execute(connection).await
}

pub(crate) fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Statement { operation, source }
}
