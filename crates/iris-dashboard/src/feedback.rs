//! The newest rows of the feedback store, if one is set.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use iris_feedback_store::{FeedbackReader, FeedbackRow, ReadError, StoreUrl};
use parking_lot::Mutex;
use tracing::{info, warn};

/// The number of rows that one search returns, at most.
pub const MAX_ROWS: u16 = 200;

/// How long the database may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why there are no rows to show. The text is for everybody who may open the page: the cause is logged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedbackError {
    /// No store is set.
    #[error(
        "no feedback store is set: set dashboard.store, or --store, to the database of iris-feedback-sink"
    )]
    NotSet,
    /// The store cannot be read.
    #[error(
        "the feedback store cannot be read; the cause is in the log of iris-dashboard, as error {id}"
    )]
    Unreadable {
        /// The id of the error in the log.
        id: String,
    },
}

/// The feedback store, if one is set.
#[derive(Clone, Debug)]
pub struct Feedback {
    reader: Option<FeedbackReader>,
    /// The cause and the id of the present error.
    failing: Arc<Mutex<Option<(String, String)>>>,
}

impl Feedback {
    /// Returns the store at an address, which may be empty. It is opened when it is first searched.
    ///
    /// # Errors
    /// [`ReadError`] if the address is not one of a database.
    pub fn new(url: &StoreUrl) -> Result<Self, ReadError> {
        let reader = if url.is_empty() {
            None
        } else {
            Some(FeedbackReader::new(url, Some(TIMEOUT))?)
        };
        Ok(Self {
            reader,
            failing: Arc::default(),
        })
    }

    /// Returns the newest rows that contain a text in any case; an empty text is in every row.
    ///
    /// # Errors
    /// [`FeedbackError`] if no store is set, or it cannot be read.
    pub async fn search(&self, text: &str, limit: u16) -> Result<Vec<FeedbackRow>, FeedbackError> {
        let reader = self.reader.as_ref().ok_or(FeedbackError::NotSet)?;
        match reader.search(text, limit).await {
            Ok(rows) => {
                if self.failing.lock().take().is_some() {
                    info!("the feedback store can be read again");
                }
                Ok(rows)
            }
            Err(error) => Err(FeedbackError::Unreadable {
                id: self.report(&error),
            }),
        }
    }

    /// Logs an error, unless it was the latest one too. Returns its id in the log.
    fn report(&self, error: &ReadError) -> String {
        let cause = error.to_string();
        let mut failing = self.failing.lock();
        match &*failing {
            Some((latest, id)) if *latest == cause => id.clone(),
            _ => {
                let random = RandomState::new().hash_one(&cause);
                let id = format!("{:08x}", random >> 32);
                warn!("{cause} (error {id})");
                *failing = Some((cause, id.clone()));
                id
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_store_the_error_names_the_setting() {
        let none = Feedback::new(&StoreUrl::default()).unwrap();
        let problem = none.search("", 5).await.unwrap_err().to_string();
        assert!(problem.contains("dashboard.store"), "{problem}");
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_read_is_not_shown_and_has_one_id_until_the_cause_changes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("feedback.db");
        let url = format!("sqlite://{}", file.display());
        let feedback = Feedback::new(&url.into()).unwrap();
        let problem = async || feedback.search("", 5).await.unwrap_err();
        let missing = problem().await;
        let shown = missing.to_string();
        assert!(
            shown.starts_with("the feedback store cannot be read; the cause is in the log"),
            "{shown}"
        );
        assert!(!shown.contains("feedback.db"), "{shown}");
        assert_eq!(problem().await, missing);
        std::fs::write(&file, "").unwrap();
        assert_ne!(problem().await, missing);
    }
}
