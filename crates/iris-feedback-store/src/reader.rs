//! Read-only access to the rows.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
use sqlx::{AnyPool, AssertSqlSafe};
use tokio::time;

use crate::cause::Cause;
use crate::connection::{Access, CONNECT_TIMEOUT, Target};
use crate::row::FeedbackRow;
use crate::statement::{COUNT, MATCHES, NEWEST_FIRST, OLDEST_FIRST, contains, select};
use crate::url::StoreUrl;

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database cannot be opened, or a statement failed.
    #[error("the feedback store {store} cannot be read: {cause}")]
    Failed {
        /// The address of the database, without user and password.
        store: String,
        /// The cause, and the fix if there is one.
        cause: String,
    },
    /// The database did not answer in time.
    #[error("the feedback store {store} did not answer within {} s", timeout.as_secs())]
    NoAnswer {
        /// The address of the database, without user and password.
        store: String,
        /// How long the answer was waited for.
        timeout: Duration,
    },
}

/// Reads the rows of a store that a sink fills. The database refuses to write for it.
#[derive(Clone)]
pub struct FeedbackReader {
    url: StoreUrl,
    target: Target,
    pub(crate) pool: AnyPool,
    statement_timeout: Option<Duration>,
}

impl FeedbackReader {
    /// Returns a reader that connects when it is first used. A statement that takes longer than `statement_timeout`, if it
    /// is set, fails. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`ReadError::Failed`] if `url` is not the address of a database.
    pub fn new(url: &StoreUrl, statement_timeout: Option<Duration>) -> Result<Self, ReadError> {
        let access = Access::ReadOnly(statement_timeout);
        let target = Target::new(url, access).map_err(|problem| ReadError::Failed {
            store: url.to_string(),
            cause: format!("its address {problem}"),
        })?;
        Ok(Self {
            url: url.clone(),
            pool: target.pool().connect_lazy_with(target.options.clone()),
            target,
            statement_timeout,
        })
    }

    /// Returns the number of rows.
    ///
    /// # Errors
    /// [`ReadError`] if the database fails or does not answer in time.
    pub async fn count(&self) -> Result<i64, ReadError> {
        self.in_time(sqlx::query_scalar(COUNT).fetch_one(&self.pool))
            .await
    }

    /// Returns the newest rows, newest first.
    ///
    /// # Errors
    /// [`ReadError`] if the database fails or does not answer in time.
    pub async fn newest(&self, limit: u32) -> Result<Vec<FeedbackRow>, ReadError> {
        let select = AssertSqlSafe(select(&format!("{NEWEST_FIRST} LIMIT $1")));
        let rows = sqlx::query_as(select)
            .bind(i64::from(limit))
            .fetch_all(&self.pool);
        self.in_time(rows).await
    }

    /// Returns the newest rows that contain a text in any case, newest first; an empty text is in every row.
    ///
    /// # Errors
    /// [`ReadError`] if the database fails or does not answer in time.
    pub async fn search(&self, text: &str, limit: u16) -> Result<Vec<FeedbackRow>, ReadError> {
        let select = AssertSqlSafe(select(&format!("{MATCHES} {NEWEST_FIRST} LIMIT $2")));
        let rows = sqlx::query_as(select)
            .bind(contains(text))
            .bind(i64::from(limit))
            .fetch_all(&self.pool);
        self.in_time(rows).await
    }

    /// Streams all rows of one statement's snapshot, oldest first.
    pub fn all(&self) -> impl Stream<Item = Result<FeedbackRow, ReadError>> + '_ {
        let select = AssertSqlSafe(select(OLDEST_FIRST));
        let rows = sqlx::query_as(select).fetch(&self.pool);
        rows.or_else(|cause| async { Err(self.failed(cause).await) })
    }

    /// Waits for a statement, no longer than the timeout.
    async fn in_time<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ReadError> {
        let result = async {
            match statement.await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.failed(error).await),
            }
        };
        let Some(timeout) = self.statement_timeout else {
            return result.await;
        };
        time::timeout(timeout, result).await.unwrap_or_else(|_| {
            let store = self.url.to_string();
            Err(ReadError::NoAnswer { store, timeout })
        })
    }

    /// Returns the error of a statement. The pool does not say why it could not connect: another attempt does.
    async fn failed(&self, error: sqlx::Error) -> ReadError {
        let error = match error {
            sqlx::Error::PoolTimedOut => {
                let attempt = time::timeout(CONNECT_TIMEOUT, self.target.connect()).await;
                attempt.ok().and_then(Result::err).unwrap_or(error)
            }
            other => other,
        };
        ReadError::Failed {
            store: self.url.to_string(),
            cause: Cause::of(&error, self.target.database).text,
        }
    }
}

impl fmt::Debug for FeedbackReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FeedbackReader").field(&self.url).finish()
    }
}
