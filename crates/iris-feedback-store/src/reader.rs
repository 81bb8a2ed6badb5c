//! Read-only access to the rows.

use std::future::Future;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use sqlx::{AnyPool, AssertSqlSafe};
use tokio::time;

use crate::connection::{self, Access};
use crate::row::FeedbackRow;
use crate::statement::{COUNT, MATCHES, NEWEST_FIRST, OLDEST_FIRST, contains, select};
use crate::url::StoreUrl;

/// Why a store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database cannot be opened, or a statement failed.
    #[error("the feedback store {store} cannot be read: {cause}")]
    Failed {
        /// The address of the database, without its password.
        store: String,
        /// The cause.
        cause: sqlx::Error,
    },
    /// The database did not answer in time.
    #[error("the feedback store {store} did not answer within {} s", timeout.as_secs())]
    NoAnswer {
        /// The address of the database, without its password.
        store: String,
        /// How long the answer was waited for.
        timeout: Duration,
    },
}

/// Reads the rows of a store that a sink fills. The database refuses to write for it.
#[derive(Clone, Debug)]
pub struct FeedbackReader {
    url: StoreUrl,
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
        let (options, address) = connection::pool(url, Access::ReadOnly(statement_timeout));
        let pool = options
            .connect_lazy(&address)
            .map_err(|cause| failed(url, cause))?;
        Ok(Self {
            url: url.clone(),
            pool,
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
        rows.map(|row| row.map_err(|cause| failed(&self.url, cause)))
    }

    /// Waits for a statement, no longer than the timeout.
    async fn in_time<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, ReadError> {
        let result = match self.statement_timeout {
            None => statement.await,
            Some(timeout) => match time::timeout(timeout, statement).await {
                Ok(result) => result,
                Err(_) => {
                    return Err(ReadError::NoAnswer {
                        store: self.url.to_string(),
                        timeout,
                    });
                }
            },
        };
        result.map_err(|cause| failed(&self.url, cause))
    }
}

fn failed(url: &StoreUrl, cause: sqlx::Error) -> ReadError {
    ReadError::Failed {
        store: url.to_string(),
        cause,
    }
}
