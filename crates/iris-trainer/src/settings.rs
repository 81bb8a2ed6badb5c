//! The settings that the trainer uses.

use std::time::Duration;

use iris_core::{ImpossibleSetting, ModelSettings, Section, one_of};
use iris_kafka::{KafkaSettings, Topics};
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// All settings of `iris-trainer`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// Where the rows that are held out come from.
    pub dataset: DatasetSettings,
    /// How they are held out.
    pub model: ModelSettings,
    /// How models are trained and judged.
    pub trainer: TrainerSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the endpoint.
    pub telemetry: TelemetrySettings,
}

/// What a challenger is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The champion's rows, and what was learned since.
    #[default]
    Append,
    /// The newest of these.
    Window,
}

/// What follows from drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDrift {
    /// It is logged and counted.
    #[default]
    Log,
    /// A challenger is trained at once, too.
    Retrain,
}

/// How models are trained and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerSettings {
    /// What a challenger is trained on.
    #[serde(deserialize_with = "one_of")]
    pub policy: Policy,
    /// Rows to learn after which a challenger is trained.
    pub every_rows: usize,
    /// Milliseconds after which one is trained if there is anything to learn, by the records' timestamps.
    pub every_ms: u64,
    /// The share of the correct predictions that are learned as well, from 0 to 1: errors alone are a biased sample.
    pub sample_correct: f64,
    /// With `append`, the most learned rows of a model; the oldest go first, the dataset's stay.
    pub max_learned_rows: usize,
    /// With `window`, the rows of a model.
    pub window_rows: usize,
    /// By how much less accurate than the champion a challenger may be and still be promoted.
    pub margin: f64,
    /// Labelled records on which the two are compared, besides the rows held out: the newest.
    pub recent_records: usize,
    /// Labelled records during which a new champion is compared with the one before.
    pub probation_records: usize,
    /// By which share of these the one before has to be better to become the champion again.
    pub rollback_margin: f64,
    /// Labelled records that a challenger answers in the champion's shadow before it is decided about; 0: none.
    pub shadow_records: usize,
    /// The share of the records, by their ids, that it answers, from 0 to 1.
    pub shadow_share: f64,
    /// Predictions, and as many labels, that are kept to be joined.
    pub join_records: usize,
    /// How long they are kept in milliseconds, by the records' timestamps.
    pub join_window_ms: u64,
    /// Rises of the error rate below this are not drift.
    pub drift_delta: f64,
    /// How many errors more than that there have to be.
    pub drift_threshold: f64,
    /// Predictions whose features are compared with the training rows' at a time.
    pub psi_records: u64,
    /// From which population stability index on a feature has drifted.
    pub psi_threshold: f64,
    /// What follows from drift.
    #[serde(deserialize_with = "one_of")]
    pub on_drift: OnDrift,
    /// How often the state is written to the trainer's topic, in milliseconds.
    pub checkpoint_interval_ms: u64,
}

impl Default for TrainerSettings {
    fn default() -> Self {
        Self {
            policy: Policy::Append,
            every_rows: 50,
            every_ms: 600_000,
            sample_correct: 0.1,
            max_learned_rows: 10_000,
            window_rows: 1_000,
            margin: 0.02,
            recent_records: 300,
            probation_records: 100,
            rollback_margin: 0.05,
            shadow_records: 0,
            shadow_share: 0.1,
            join_records: 10_000,
            join_window_ms: 3_600_000,
            drift_delta: 0.05,
            drift_threshold: 5.0,
            psi_records: 300,
            psi_threshold: 0.25,
            on_drift: OnDrift::Log,
            checkpoint_interval_ms: 1_000,
        }
    }
}

impl Section for TrainerSettings {
    const NAME: &'static str = "trainer";

    fn validate(&self) -> Result<(), ImpossibleSetting> {
        let counts = [
            ("every_rows", self.every_rows as u64),
            ("every_ms", self.every_ms),
            ("max_learned_rows", self.max_learned_rows as u64),
            ("window_rows", self.window_rows as u64),
            ("join_records", self.join_records as u64),
            ("join_window_ms", self.join_window_ms),
            ("psi_records", self.psi_records),
            ("checkpoint_interval_ms", self.checkpoint_interval_ms),
        ];
        for (key, count) in counts {
            ImpossibleSetting::if_zero(key, count)?;
        }
        let shares = [
            ("sample_correct", self.sample_correct),
            ("margin", self.margin),
            ("rollback_margin", self.rollback_margin),
            ("shadow_share", self.shadow_share),
        ];
        for (key, share) in shares {
            ImpossibleSetting::if_no_share(key, share)?;
        }
        for (key, number) in [
            ("drift_delta", self.drift_delta),
            ("drift_threshold", self.drift_threshold),
            ("psi_threshold", self.psi_threshold),
        ] {
            if !(number.is_finite() && number >= 0.0) {
                let problem = format!("is {number}: allowed is 0 or more");
                return Err(ImpossibleSetting::new(key, problem));
            }
        }
        Ok(())
    }
}

impl TrainerSettings {
    /// How often the state is written.
    #[must_use]
    pub fn checkpoint_interval(&self) -> Duration {
        Duration::from_millis(self.checkpoint_interval_ms)
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
            trainer: sources.section()?,
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
        TrainerSettings::default().validate().unwrap();
        let refusal = |change: fn(&mut TrainerSettings)| {
            let mut settings = TrainerSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(|s| s.every_rows = 0),
            "every_rows is 0: allowed is 1 or more"
        );
        assert_eq!(
            refusal(|s| s.sample_correct = 1.5),
            "sample_correct is 1.5: allowed is 0 to 1"
        );
        assert_eq!(
            refusal(|s| s.drift_threshold = f64::NAN),
            "drift_threshold is NaN: allowed is 0 or more"
        );
    }
}
