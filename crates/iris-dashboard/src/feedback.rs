//! The newest rows of the feedback store, if one is set.

use std::time::Duration;

use iris_feedback_store::{FeedbackReader, FeedbackRow, ReadError, StoreUrl};

/// The number of rows that one search returns, at most.
pub const MAX_ROWS: u16 = 200;

/// How long the database may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why there are no rows to show.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// No store is set.
    #[error(
        "no feedback store is set: set dashboard.store, or --store, to the database of iris-feedback-sink"
    )]
    NotSet,
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The feedback store, if one is set.
#[derive(Clone, Debug)]
pub struct Feedback(Option<FeedbackReader>);

impl Feedback {
    /// Returns the store at an address, which may be empty. It is opened when it is first searched.
    ///
    /// # Errors
    /// [`ReadError`] if the address is not one of a database.
    pub fn new(url: &StoreUrl) -> Result<Self, ReadError> {
        if url.is_empty() {
            return Ok(Self(None));
        }
        FeedbackReader::new(url, Some(TIMEOUT)).map(|reader| Self(Some(reader)))
    }

    /// Returns the newest rows that contain a text in any case; an empty text is in every row.
    ///
    /// # Errors
    /// [`FeedbackError`] if no store is set, or it cannot be read.
    pub async fn search(&self, text: &str, limit: u16) -> Result<Vec<FeedbackRow>, FeedbackError> {
        let reader = self.0.as_ref().ok_or(FeedbackError::NotSet)?;
        Ok(reader.search(text, limit).await?)
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
    async fn a_store_that_cannot_be_read_is_named_with_the_cause() {
        let missing = Feedback::new(&"sqlite:///no/such.db".into()).unwrap();
        let problem = missing.search("", 5).await.unwrap_err().to_string();
        assert!(
            problem.starts_with("the feedback store sqlite:///no/such.db cannot be read: "),
            "{problem}"
        );
    }
}
