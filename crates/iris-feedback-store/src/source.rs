//! The source topic of rows: a name that no two topics share, even if one replaces the other.

use crate::store::{FeedbackStore, READ_TOPIC, StoreError, failed};

/// Adds the id `$2` of topic `$1`, unless the topic has one.
const INSERT_TOPIC: &str =
    "INSERT INTO feedback_topics (source_topic, topic_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// Reads the id of topic `$1`.
const TOPIC_ID: &str = "SELECT topic_id FROM feedback_topics WHERE source_topic = $1";

impl FeedbackStore {
    /// Returns the source topic of rows from a topic with this id: its name or, if the store has rows of a previous topic of
    /// that name, the name and the id. The first id of a name is stored.
    ///
    /// # Errors
    /// [`StoreError::Statement`] if the database fails.
    pub async fn source_topic(&self, topic: &str, topic_id: &str) -> Result<String, StoreError> {
        sqlx::query(INSERT_TOPIC)
            .bind(topic)
            .bind(topic_id)
            .execute(self.pool())
            .await
            .map_err(failed(READ_TOPIC))?;
        let (first,): (String,) = sqlx::query_as(TOPIC_ID)
            .bind(topic)
            .fetch_one(self.pool())
            .await
            .map_err(failed(READ_TOPIC))?;
        Ok(source_topic(topic, topic_id, &first))
    }
}

fn source_topic(topic: &str, topic_id: &str, first_id: &str) -> String {
    if topic_id == first_id {
        topic.to_owned()
    } else {
        format!("{topic}@{topic_id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_of_a_recreated_topic_have_another_source_topic() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/feedback.db", directory.path().display());
        let store = FeedbackStore::open(&url.as_str().into()).await.unwrap();
        for (topic, id, expected) in [
            ("a", "1", "a"),
            ("a", "2", "a@2"),
            ("b", "2", "b"),
            ("a", "1", "a"),
            ("a", "3", "a@3"),
        ] {
            assert_eq!(store.source_topic(topic, id).await.unwrap(), expected);
        }
    }
}
