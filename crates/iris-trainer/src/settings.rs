//! The settings that the trainer uses.

use std::time::Duration;

use iris_contract::Topics;
use iris_core::{
    InvalidSetting, ModelKind, ModelSettings, Scale, Section, Weights, list_of, one_of,
};
use iris_kafka::KafkaSettings;
use iris_registry::RegistrySettings;
use iris_service::settings::Sources;
use iris_service::{DatasetSettings, ServiceSettings, TelemetrySettings, UsageError};
use serde::{Deserialize, Serialize};

use crate::args::Args;

/// The minimum of `drift_false_alarm_records`: the threshold of the test has been measured from here on.
const MIN_FALSE_ALARM_RECORDS: u64 = 400;

/// The maximum of `evaluation_window_records`: the answers to these records are part of the state.
const MAX_WINDOW_RECORDS: usize = 100_000;

/// All settings of `iris-trainer`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Settings {
    /// How to reach the cluster.
    pub kafka: KafkaSettings,
    /// The topics.
    pub topics: Topics,
    /// The dataset that the holdout rows come from.
    pub dataset: DatasetSettings,
    /// The split into training and holdout rows.
    pub model: ModelSettings,
    /// The bounds of the registry.
    pub registry: RegistrySettings,
    /// How models are trained and judged.
    pub trainer: TrainerSettings,
    /// Starting and stopping.
    pub service: ServiceSettings,
    /// Logs and the endpoint.
    pub telemetry: TelemetrySettings,
}

/// The rows that a challenger is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The champion's rows and the rows learned since.
    #[default]
    Append,
    /// The newest of those rows.
    Window,
}

/// The labelled records that are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Learn {
    /// Every labelled record.
    #[default]
    All,
    /// Mispredicted records only. They are a biased sample, in which wrong labels are frequent.
    Errors,
}

/// The accuracy by which models are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The share of correct predictions.
    #[default]
    Accuracy,
    /// The mean over the classes of the share of correct predictions.
    BalancedAccuracy,
}

/// The reaction to drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDrift {
    /// Log and count it.
    Log,
    /// Log and count it, and train a challenger at once.
    #[default]
    Retrain,
}

/// A kind of model that a challenger may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompetingKind {
    /// Nearest neighbours.
    Neighbors,
    /// Nearest neighbours by scaled features.
    ScaledNeighbors,
    /// Nearest neighbours with votes weighted by distance.
    WeightedNeighbors,
    /// Nearest neighbours by scaled features with votes weighted by distance.
    ScaledWeightedNeighbors,
    /// A random forest.
    Forest,
}

impl CompetingKind {
    /// All of them.
    const ALL: [Self; 5] = [
        Self::Neighbors,
        Self::ScaledNeighbors,
        Self::WeightedNeighbors,
        Self::ScaledWeightedNeighbors,
        Self::Forest,
    ];

    /// Returns the kind with the other settings of the model.
    #[must_use]
    pub fn of(self, settings: &ModelSettings) -> ModelKind {
        match self {
            Self::Neighbors => settings.neighbors(Scale::None, Weights::Uniform),
            Self::ScaledNeighbors => settings.neighbors(Scale::Standard, Weights::Uniform),
            Self::WeightedNeighbors => settings.neighbors(Scale::None, Weights::Distance),
            Self::ScaledWeightedNeighbors => settings.neighbors(Scale::Standard, Weights::Distance),
            Self::Forest => settings.forest(),
        }
    }
}

/// How models are trained and judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainerSettings {
    /// The rows that a challenger is trained on.
    #[serde(deserialize_with = "one_of")]
    pub policy: Policy,
    /// The labelled records that are learned.
    #[serde(deserialize_with = "one_of")]
    pub learn: Learn,
    /// The kinds of models that challengers may be, besides the champion's. They compete only if all records are learned.
    #[serde(deserialize_with = "list_of")]
    pub kinds: Vec<CompetingKind>,
    /// A challenger is trained after this many new rows to learn.
    pub retrain_after_rows: usize,
    /// A challenger is trained this many milliseconds after the first new row to learn. The time is the median of the latest
    /// timestamps.
    pub retrain_after_ms: u64,
    /// With `append`, the maximum number of learned rows in a model. The oldest are dropped first; the dataset's rows stay.
    pub max_learned_rows: usize,
    /// With `window`, the number of newest labelled records whose rows a model is trained on.
    pub window_records: u64,
    /// The ratio of labelled records, chosen by id, that are held out to judge models, from 0 to 1.
    pub holdout_ratio: f64,
    /// The maximum number of records that are held out. The oldest are learned when newer ones take their place.
    pub holdout_records: usize,
    /// The accuracy by which models are judged.
    #[serde(deserialize_with = "one_of")]
    pub measure: Measure,
    /// The probability, above 0 and below 1, that a challenger that is as good as the champion is rejected on the held-out
    /// records, or in shadow.
    pub rejection_error_rate: f64,
    /// How much less accurate than the champion on the dataset's holdout rows a challenger may be and still be promoted, from 0
    /// to 1. With 1, these rows do not decide.
    pub promotion_margin: f64,
    /// The number of labelled records during which a new champion, and those that replace it, are compared with its predecessor.
    pub probation_records: usize,
    /// The probability, above 0 and below 1, that champions that are as good as this predecessor are rolled back.
    pub rollback_error_rate: f64,
    /// The number of labelled records that a challenger classifies in shadow before it is promoted or rejected; 0: none.
    pub shadow_records: usize,
    /// The ratio of records, chosen by id, that it classifies in shadow, from 0 to 1.
    pub shadow_sample_ratio: f64,
    /// The number of newest labelled records over which the windowed figures of the loop are taken.
    pub evaluation_window_records: usize,
    /// The ratio of labelled records, chosen by id, that the first champion predicts, too, from 0 to 1: the baseline that never
    /// learns.
    pub never_learning_sample_ratio: f64,
    /// The maximum number of predictions, and of labels, that are kept to be joined.
    pub max_join_records: usize,
    /// How long they are kept, in milliseconds, by the median of the latest timestamps.
    pub join_window_ms: u64,
    /// The mean number of records between two false alarms: in the error rate, counted in labelled records, and in the
    /// features, counted in predictions. A smaller number finds drift sooner.
    pub drift_false_alarm_records: u64,
    /// The number of predictions whose features are compared with the training rows' at a time.
    pub psi_records: u64,
    /// A smaller population stability index is no drift, however many records show it.
    pub psi_threshold: f64,
    /// The reaction to drift.
    #[serde(deserialize_with = "one_of")]
    pub on_drift: OnDrift,
    /// How long the trainer may be behind, in milliseconds: if the stream is faster than the trainer, it takes a sample of the
    /// records, by id, until it has caught up. 0: it takes all records, however far it falls behind.
    pub max_lag_ms: u64,
    /// The interval at which the state is written to the trainer's topic, in milliseconds.
    pub checkpoint_interval_ms: u64,
}

impl Default for TrainerSettings {
    fn default() -> Self {
        Self {
            policy: Policy::Append,
            learn: Learn::All,
            kinds: CompetingKind::ALL.to_vec(),
            retrain_after_rows: 25,
            retrain_after_ms: 600_000,
            max_learned_rows: 10_000,
            window_records: 1_000,
            holdout_ratio: 0.1,
            holdout_records: 100,
            measure: Measure::Accuracy,
            rejection_error_rate: 0.1,
            promotion_margin: 1.0,
            probation_records: 1_000,
            rollback_error_rate: 0.02,
            shadow_records: 0,
            shadow_sample_ratio: 0.1,
            evaluation_window_records: 1_000,
            never_learning_sample_ratio: 1.0,
            max_join_records: 10_000,
            join_window_ms: 3_600_000,
            drift_false_alarm_records: 100_000,
            psi_records: 300,
            psi_threshold: 0.1,
            on_drift: OnDrift::Retrain,
            max_lag_ms: 60_000,
            checkpoint_interval_ms: 1_000,
        }
    }
}

impl Section for TrainerSettings {
    const NAME: &'static str = "trainer";

    fn validate(&self) -> Result<(), InvalidSetting> {
        let counts = [
            ("retrain_after_rows", self.retrain_after_rows as u64),
            ("retrain_after_ms", self.retrain_after_ms),
            ("max_learned_rows", self.max_learned_rows as u64),
            ("window_records", self.window_records),
            (
                "evaluation_window_records",
                self.evaluation_window_records as u64,
            ),
            ("max_join_records", self.max_join_records as u64),
            ("join_window_ms", self.join_window_ms),
            ("psi_records", self.psi_records),
            ("checkpoint_interval_ms", self.checkpoint_interval_ms),
        ];
        for (key, count) in counts {
            InvalidSetting::if_zero(key, count)?;
        }
        let window = self.evaluation_window_records;
        if window > MAX_WINDOW_RECORDS {
            let problem = format!("is {window}: allowed is 1 to {MAX_WINDOW_RECORDS}");
            return Err(InvalidSetting::new("evaluation_window_records", problem));
        }
        let ratios = [
            ("holdout_ratio", self.holdout_ratio),
            ("promotion_margin", self.promotion_margin),
            ("shadow_sample_ratio", self.shadow_sample_ratio),
            (
                "never_learning_sample_ratio",
                self.never_learning_sample_ratio,
            ),
        ];
        for (key, ratio) in ratios {
            InvalidSetting::if_not_ratio(key, ratio)?;
        }
        for (key, rate) in [
            ("rejection_error_rate", self.rejection_error_rate),
            ("rollback_error_rate", self.rollback_error_rate),
        ] {
            if !(rate > 0.0 && rate < 1.0) {
                let problem = format!("is {rate}: allowed is a number above 0 and below 1");
                return Err(InvalidSetting::new(key, problem));
            }
        }
        let records = self.drift_false_alarm_records;
        if records < MIN_FALSE_ALARM_RECORDS {
            let problem = format!("is {records}: allowed is {MIN_FALSE_ALARM_RECORDS} or more");
            return Err(InvalidSetting::new("drift_false_alarm_records", problem));
        }
        let index = self.psi_threshold;
        if !(index.is_finite() && index >= 0.0) {
            let problem = format!("is {index}: allowed is 0 or more");
            return Err(InvalidSetting::new("psi_threshold", problem));
        }
        Ok(())
    }
}

impl TrainerSettings {
    /// Returns how long the trainer may be behind; `None`: without limit.
    #[must_use]
    pub fn max_lag(&self) -> Option<Duration> {
        (self.max_lag_ms > 0).then(|| Duration::from_millis(self.max_lag_ms))
    }

    /// Returns the interval at which the state is written.
    #[must_use]
    pub fn checkpoint_interval(&self) -> Duration {
        Duration::from_millis(self.checkpoint_interval_ms)
    }
}

impl Settings {
    /// Returns the kinds of models that compete with the champion's. Without all labelled records, the rows of the memory are a
    /// biased sample, which cannot compare kinds.
    #[must_use]
    pub fn competing_kinds(&self) -> Vec<ModelKind> {
        let kinds = match self.trainer.learn {
            Learn::All => &self.trainer.kinds[..],
            Learn::Errors => &[],
        };
        kinds.iter().map(|kind| kind.of(&self.model)).collect()
    }

    /// Collects the settings of all sources.
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
            registry: sources.section()?,
            trainer: sources.section()?,
            service: sources.section()?,
            telemetry: sources.section()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_old_flag_is_refused_with_the_new_setting() {
        let args = Args::parse_from(["iris-trainer", "--every-rows", "5"]);
        assert_eq!(
            Settings::load(&args).unwrap_err().to_string(),
            "trainer.every_rows has been renamed: use trainer.retrain_after_rows (set by --every-rows)"
        );
    }

    #[test]
    fn invalid_settings_are_refused_with_their_key() {
        TrainerSettings::default().validate().unwrap();
        let refusal = |change: fn(&mut TrainerSettings)| {
            let mut settings = TrainerSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(|s| s.retrain_after_rows = 0),
            "retrain_after_rows is 0: allowed is 1 or more"
        );
        assert_eq!(
            refusal(|s| s.evaluation_window_records = 100_001),
            "evaluation_window_records is 100001: allowed is 1 to 100000"
        );
        assert_eq!(
            refusal(|s| s.holdout_ratio = 1.5),
            "holdout_ratio is 1.5: allowed is 0 to 1"
        );
        assert_eq!(
            refusal(|s| s.drift_false_alarm_records = 399),
            "drift_false_alarm_records is 399: allowed is 400 or more"
        );
        assert_eq!(
            refusal(|s| s.psi_threshold = f64::NAN),
            "psi_threshold is NaN: allowed is 0 or more"
        );
    }
}
