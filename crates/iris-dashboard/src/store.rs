//! The feedback store, read: the newest rows that contain a text. The database is told that nothing is to be written.

use std::time::Duration;

use iris_service::StoreUrl;
use serde::Serialize;
use sqlx::any::{AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::{AnyPool, Executor, FromRow, Row as _};
use tokio::time::timeout;
use utoipa::ToSchema;

/// How long the database may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The newest rows one of whose columns contains a text, as a pattern of LIKE; `!` takes a character as it is.
const SEARCH: &str = "SELECT source_partition, source_offset, created_ms, record_id, label, predicted, model_version, \
     input_partition, input_offset, votes, value, problem FROM feedback \
     WHERE LOWER(COALESCE(record_id, '') || ' ' || COALESCE(label, '') || ' ' || COALESCE(predicted, '') || ' ' || \
     COALESCE(model_version, '') || ' ' || COALESCE(value, '') || ' ' || COALESCE(problem, '')) LIKE $1 ESCAPE '!' \
     ORDER BY created_ms DESC, source_topic DESC, source_partition DESC, source_offset DESC LIMIT $2";

/// Why the store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// None is named.
    #[error(
        "no feedback store is named: set dashboard.store, or --store, to the database of iris-feedback-sink"
    )]
    NotNamed,
    /// The database fails.
    #[error("the feedback store {store} cannot be read: {source}")]
    Failed {
        /// Its address, without a password.
        store: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database does not answer.
    #[error("the feedback store {store} did not answer within {} s", PATIENCE.as_secs())]
    NoAnswer {
        /// Its address, without a password.
        store: String,
    },
}

/// A row of the table of feedback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FeedbackRow {
    /// The partition of the feedback record.
    pub source_partition: i64,
    /// Its offset.
    pub source_offset: i64,
    /// When the record was created, in milliseconds since the epoch.
    pub created_ms: Option<i64>,
    /// What identifies the record.
    pub record_id: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// The predicted class.
    pub predicted: Option<String>,
    /// The model version that answered.
    pub model_version: Option<String>,
    /// The partition of the input topic.
    pub input_partition: Option<i64>,
    /// The offset there.
    pub input_offset: Option<i64>,
    /// The votes of each class, in class order, joined by dots.
    pub votes: Option<String>,
    /// The feedback record's value.
    pub value: String,
    /// What is wrong with the record, if anything is.
    pub problem: Option<String>,
}

impl<'r> FromRow<'r, AnyRow> for FeedbackRow {
    fn from_row(row: &'r AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
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
        })
    }
}

/// The store, opened when it is needed.
#[derive(Clone, Debug)]
pub struct Store {
    url: StoreUrl,
    pool: Option<AnyPool>,
}

impl Store {
    /// Names the store; nothing is opened yet.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if the address is not one of a database.
    pub fn new(url: &StoreUrl) -> Result<Self, StoreError> {
        let mut store = Self {
            url: url.clone(),
            pool: None,
        };
        if url.is_empty() {
            return Ok(store);
        }
        install_default_drivers();
        let is_sqlite = url.expose().starts_with("sqlite:");
        let address = if is_sqlite && !url.expose().contains('?') {
            format!("{}?mode=ro", url.expose())
        } else {
            url.expose().to_owned()
        };
        let pool = AnyPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let settings = if is_sqlite {
                        "PRAGMA query_only = TRUE"
                    } else {
                        "SET default_transaction_read_only = on; SET statement_timeout = '3s'"
                    };
                    connection.execute(settings).await.map(|_| ())
                })
            })
            .connect_lazy(&address)
            .map_err(|source| store.failed(source))?;
        store.pool = Some(pool);
        Ok(store)
    }

    /// The newest rows that contain a text, in any case of letters; all of them for an empty one.
    ///
    /// # Errors
    /// [`StoreError`] if there is no store, or it does not do what it is asked for.
    pub async fn search(&self, text: &str, limit: u16) -> Result<Vec<FeedbackRow>, StoreError> {
        let pool = self.pool.as_ref().ok_or(StoreError::NotNamed)?;
        let rows = sqlx::query_as(SEARCH)
            .bind(pattern(text))
            .bind(i64::from(limit))
            .fetch_all(pool);
        match timeout(PATIENCE, rows).await {
            Ok(rows) => rows.map_err(|source| self.failed(source)),
            Err(_) => Err(StoreError::NoAnswer {
                store: self.url.to_string(),
            }),
        }
    }

    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Failed {
            store: self.url.to_string(),
            source,
        }
    }
}

/// The pattern of texts that contain this one.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_for_as_it_stands() {
        assert_eq!(pattern("50%_Off!"), "%50!%!_off!!%");
        assert_eq!(pattern(""), "%%");
    }

    #[tokio::test]
    async fn without_a_store_the_answer_says_how_to_name_one() {
        let store = Store::new(&StoreUrl::default()).unwrap();
        let problem = store.search("", 5).await.unwrap_err().to_string();
        assert!(problem.contains("dashboard.store"), "{problem}");
        let missing = Store::new(&"sqlite:///no/such.db".into()).unwrap();
        let problem = missing.search("", 5).await.unwrap_err().to_string();
        assert!(problem.starts_with("the feedback store sqlite:///no/such.db cannot be read"));
    }
}
