//! The settings that the classifier uses.

use std::time::Duration;

use iris_core::{ImpossibleSetting, ModelSettings, Section};
use iris_kafka::exactly_once::Pace;
use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::{Sources, list};
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// The most records in one transaction: a bound on the memory that its log lines and counts take.
const MAX_TRANSACTION_RECORDS: u64 = 100_000;

/// All settings of `iris-classifier`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// What the model is fitted to.
    pub dataset: DatasetSettings,
    /// How it is fitted.
    pub model: ModelSettings,
    /// How records are classified.
    pub classifier: ClassifierSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the endpoint.
    pub telemetry: TelemetrySettings,
}

/// How records are classified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierSettings {
    /// The consumer group that shares the topic. With `partitions` it is not used.
    pub group_id: String,
    /// Partitions to read, each as a group of its own; empty to share the topic with the group.
    #[serde(deserialize_with = "list")]
    pub partitions: Vec<i32>,
    /// Threads, each with its own consumer and producer. With `partitions` there is one for each of them.
    pub workers: usize,
    /// What tells this process from others of its group, and stays the same when it is restarted; empty for the
    /// host's name and, where several run on one host, a number.
    pub instance: String,
    /// Milliseconds without input after which the service ends by itself; 0: it runs until stopped.
    pub idle_timeout_ms: u64,
    /// Whether every prediction is published, or only feedback and dead letters.
    pub publish_predictions: bool,
    /// Whether each transaction says in a record on a topic of its own what it did: the dashboard's figures.
    pub publish_summaries: bool,
    /// Whether predictions and feedback say in a header where they came from.
    pub provenance: bool,
    /// The longest that a transaction stays open while input keeps coming, in milliseconds. When the input is drained
    /// it is committed at once.
    pub commit_interval_ms: u64,
}

impl Default for ClassifierSettings {
    fn default() -> Self {
        Self {
            group_id: "iris-classifier".to_owned(),
            partitions: Vec::new(),
            workers: 2,
            instance: String::new(),
            idle_timeout_ms: 0,
            publish_predictions: true,
            publish_summaries: true,
            provenance: true,
            commit_interval_ms: 100,
        }
    }
}

impl Section for ClassifierSettings {
    const NAME: &'static str = "classifier";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        if self.group_id.is_empty() {
            return Err(ImpossibleSetting::new(
                "group_id",
                "is empty: allowed is any name",
            ));
        }
        ImpossibleSetting::if_zero("workers", self.workers as u64)?;
        if !(1..=5_000).contains(&self.commit_interval_ms) {
            let problem = format!("is {}: allowed is 1 to 5000", self.commit_interval_ms);
            return Err(ImpossibleSetting::new("commit_interval_ms", problem));
        }
        for (position, partition) in self.partitions.iter().enumerate() {
            if *partition < 0 {
                let problem = format!("names partition {partition}: allowed is 0 or more");
                return Err(ImpossibleSetting::new("partitions", problem));
            }
            if self.partitions[..position].contains(partition) {
                return Err(ImpossibleSetting::new(
                    "partitions",
                    format!("names partition {partition} twice"),
                ));
            }
        }
        Ok(())
    }
}

impl ClassifierSettings {
    /// When transactions, and workers, end.
    #[must_use]
    pub fn pace(&self) -> Pace {
        Pace {
            commit_interval: Duration::from_millis(self.commit_interval_ms),
            max_records: MAX_TRANSACTION_RECORDS,
            idle_timeout: (self.idle_timeout_ms > 0)
                .then(|| Duration::from_millis(self.idle_timeout_ms)),
        }
    }
}

impl Settings {
    /// Collects the settings of all sources.
    ///
    /// # Errors
    /// [`UsageError`] that names the key, where it came from and what is allowed.
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
    fn impossible_settings_are_refused_with_their_key() {
        ClassifierSettings::default().validate().unwrap();
        let refusal = |change: fn(&mut ClassifierSettings)| {
            let mut settings = ClassifierSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(|s| s.workers = 0),
            "workers is 0: allowed is 1 or more"
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
    }
}
