//! The error for a topic that cannot be read.

use std::time::Duration;

use rdkafka::error::KafkaError;

/// The error for a topic that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The client or the cluster refuses.
    #[error("cannot read topic `{topic}`")]
    Refused {
        /// The topic.
        topic: String,
        /// The cause.
        #[source]
        source: KafkaError,
    },
    /// Reading to the end made no progress.
    #[error(
        "reading topic `{topic}` made no progress for {} s{}",
        timeout.as_secs(),
        cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"))
    )]
    Stalled {
        /// The topic.
        topic: String,
        /// The time without progress.
        timeout: Duration,
        /// The client's latest error, if it had one.
        cause: Option<String>,
    },
    /// Reading was stopped before the end.
    #[error("stopped while reading topic `{topic}`")]
    Stopped {
        /// The topic.
        topic: String,
    },
}

impl ReadError {
    /// Returns a conversion of a client's error about a topic.
    pub(super) fn refused(topic: &str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Refused {
            topic: topic.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_names_its_cause_if_the_client_reported_one() {
        let stalled = |cause: Option<&str>| {
            let error = ReadError::Stalled {
                topic: "t".to_owned(),
                timeout: Duration::from_secs(30),
                cause: cause.map(str::to_owned),
            };
            error.to_string()
        };
        assert_eq!(stalled(None), "reading topic `t` made no progress for 30 s");
        assert_eq!(
            stalled(Some("broker:1: refused")),
            "reading topic `t` made no progress for 30 s: broker:1: refused"
        );
    }
}
