//! The classifier's settings.

use std::time::Duration;

use iris_contract::Topics;
use iris_contract::rights::CLASSIFIER_GROUP;
use iris_core::{InvalidSetting, ModelSettings, Section};
use iris_kafka::KafkaSettings;
use iris_kafka::exactly_once::CommitPolicy;
use iris_service::settings::{Sources, list};
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// The most records in one transaction, which bounds the memory that its log lines and counts take.
const MAX_TRANSACTION_RECORDS: u64 = 100_000;

/// All settings of `iris-classifier`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// The data that the first model is fitted to.
    pub dataset: DatasetSettings,
    /// How the first model is fitted.
    pub model: ModelSettings,
    /// How records are classified.
    pub classifier: ClassifierSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the HTTP endpoint.
    pub telemetry: TelemetrySettings,
}

/// The maximum number of workers of one process.
const MAX_WORKERS: usize = 1_000;

/// How records are classified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierSettings {
    /// The consumer group that shares the topic. Not used with `partitions`.
    pub group_id: String,
    /// Partitions to read, each as a group of its own; empty to share the topic with the group.
    #[serde(deserialize_with = "list")]
    pub partitions: Vec<i32>,
    /// Threads, each with its own consumer and producer; 0: one for each core, but at most one for each partition. With
    /// `partitions` there is one per listed partition.
    pub workers: usize,
    /// A name that distinguishes this process from others of its group and survives a restart; empty for the host's name
    /// and, if several processes run on one host, a number.
    pub instance: String,
    /// Whether the partitions of a process wait for it while it restarts, instead of being given to others. Needs `instance`.
    pub static_membership: bool,
    /// How long without input until the service ends, in milliseconds; 0: it runs until it is stopped.
    pub idle_timeout_ms: u64,
    /// Whether all predictions are published, or only feedback and dead letters.
    pub publish_predictions: bool,
    /// Whether each transaction writes a summary of its counts, from which the dashboard takes its figures.
    pub publish_summaries: bool,
    /// Whether predictions and feedback have a header that names their origin.
    pub provenance: bool,
    /// The longest that a transaction stays open while input keeps arriving, in milliseconds.
    pub commit_interval_ms: u64,
    /// How long a transaction stays open at least when the input is drained, in milliseconds; 0: it is committed at once. It
    /// bounds the rate of transactions, and so of summaries and transaction markers.
    pub commit_linger_ms: u64,
}

impl Default for ClassifierSettings {
    fn default() -> Self {
        Self {
            group_id: CLASSIFIER_GROUP.to_owned(),
            partitions: Vec::new(),
            workers: 0,
            instance: String::new(),
            static_membership: false,
            idle_timeout_ms: 0,
            publish_predictions: true,
            publish_summaries: true,
            provenance: true,
            commit_interval_ms: 100,
            commit_linger_ms: 0,
        }
    }
}

impl Section for ClassifierSettings {
    const NAME: &'static str = "classifier";

    fn validate(&self) -> Result<(), InvalidSetting> {
        if self.group_id.is_empty() {
            return Err(InvalidSetting::new(
                "group_id",
                "is empty: allowed is any name",
            ));
        }
        if self.static_membership && self.instance.is_empty() {
            return Err(InvalidSetting::new(
                "static_membership",
                "is true, but `instance` is empty",
            ));
        }
        if self.workers > MAX_WORKERS {
            let problem = format!("is {}: allowed is 0 to {MAX_WORKERS}", self.workers);
            return Err(InvalidSetting::new("workers", problem));
        }
        if !(1..=5_000).contains(&self.commit_interval_ms) {
            let problem = format!("is {}: allowed is 1 to 5000", self.commit_interval_ms);
            return Err(InvalidSetting::new("commit_interval_ms", problem));
        }
        if self.commit_linger_ms > self.commit_interval_ms {
            let (linger, max) = (self.commit_linger_ms, self.commit_interval_ms);
            let problem = format!("is {linger}: allowed is 0 to {max}, the `commit_interval_ms`");
            return Err(InvalidSetting::new("commit_linger_ms", problem));
        }
        for (position, partition) in self.partitions.iter().enumerate() {
            if *partition < 0 {
                let problem = format!("names partition {partition}: allowed is 0 or more");
                return Err(InvalidSetting::new("partitions", problem));
            }
            if self.partitions[..position].contains(partition) {
                return Err(InvalidSetting::new(
                    "partitions",
                    format!("names partition {partition} twice"),
                ));
            }
        }
        Ok(())
    }
}

impl ClassifierSettings {
    /// Returns when transactions are committed, and when workers end.
    #[must_use]
    pub fn commit_policy(&self) -> CommitPolicy {
        CommitPolicy {
            commit_interval: Duration::from_millis(self.commit_interval_ms),
            linger: Duration::from_millis(self.commit_linger_ms),
            max_records: MAX_TRANSACTION_RECORDS,
            idle_timeout: (self.idle_timeout_ms > 0)
                .then(|| Duration::from_millis(self.idle_timeout_ms)),
        }
    }
}

impl Settings {
    /// Collects the settings from all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, its source and the allowed values.
    pub fn load(args: &Args) -> Result<Self, UsageError> {
        let sources = Sources::collect(&args.common, args.flags())?;
        Ok(Self {
            kafka: sources.section()?,
            topics: sources.section()?,
            dataset: sources.section()?,
            model: sources.section()?,
            classifier: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_settings_are_refused_with_their_key() {
        ClassifierSettings::default().validate().unwrap();
        let refusal = |change: fn(&mut ClassifierSettings)| {
            let mut settings = ClassifierSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(|s| s.workers = 1001),
            "workers is 1001: allowed is 0 to 1000"
        );
        assert_eq!(
            refusal(|s| s.partitions = vec![3, 3]),
            "partitions names partition 3 twice"
        );
        assert_eq!(
            refusal(|s| s.partitions = vec![-1]),
            "partitions names partition -1: allowed is 0 or more"
        );
        assert_eq!(
            refusal(|s| s.commit_interval_ms = 0),
            "commit_interval_ms is 0: allowed is 1 to 5000"
        );
        assert_eq!(
            refusal(|s| s.commit_linger_ms = 101),
            "commit_linger_ms is 101: allowed is 0 to 100, the `commit_interval_ms`"
        );
    }
}
