//! The figures of the learning loop: the accuracy of its predictions over all model versions, beside two baselines.
//!
//! The trainer writes them as the last record of each transaction in the topic of its state, so that they are as old as that
//! state. The topic is compacted: the last record with the key [`FIGURES_KEY`] counts.

use iris_core::{Confusion, ModelVersion};
use serde::{Deserialize, Serialize};

/// The format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// The key of the record.
pub const FIGURES_KEY: &str = "figures";

/// The number of standard errors from which a difference is more than sampling noise.
pub const NOISE_STANDARD_ERRORS: f64 = 2.0;

/// The accuracy of predictions; the scores are absent where they are undefined, for example without records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Labelled records.
    pub records: u64,
    /// The ratio of correct predictions.
    pub accuracy: Option<f64>,
    /// Cohen's kappa: the agreement beyond that expected by chance.
    pub kappa: Option<f64>,
    /// The mean of each class's ratio of correct predictions.
    pub balanced_accuracy: Option<f64>,
}

impl From<&Confusion> for Scores {
    fn from(confusion: &Confusion) -> Self {
        Self {
            records: confusion.total(),
            accuracy: confusion.accuracy(),
            kappa: confusion.kappa(),
            balanced_accuracy: confusion.balanced_accuracy(),
        }
    }
}

/// The scores of a baseline, and the loop's accuracy on the same records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineScores {
    /// The baseline's scores.
    #[serde(flatten)]
    pub scores: Scores,
    /// The loop's accuracy on these records.
    pub loop_accuracy: Option<f64>,
    /// The standard error of the difference between the two accuracies if both are equally accurate: the square root of the
    /// number of records that only one of them predicted correctly, divided by the number of records.
    pub standard_error: f64,
}

impl BaselineScores {
    /// Returns how much more accurate the loop is than the baseline. `None` without records.
    #[must_use]
    pub fn lead(&self) -> Option<f64> {
        Some(self.loop_accuracy? - self.scores.accuracy?)
    }

    /// Whether the baseline is more accurate than the loop by more than sampling noise: two standard errors.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        let noise = NOISE_STANDARD_ERRORS * self.standard_error;
        self.lead().is_some_and(|lead| -lead > noise)
    }
}

/// The figures over a range of labelled records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanFigures {
    /// The scores of the predictions that were served, by whichever model version.
    #[serde(rename = "loop")]
    pub scores: Scores,
    /// The first champion of the registry, which never learns.
    pub never_learning: Option<BaselineScores>,
    /// The label of the previous labelled record, as a prediction.
    pub no_change: Option<BaselineScores>,
}

/// The model that never learns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NeverLearning {
    /// The first champion of the registry, if it is known.
    pub model_version: Option<ModelVersion>,
    /// The ratio of records, chosen by id, that it predicts.
    pub sample_ratio: f64,
    /// Why it predicts nothing, if it does not.
    pub problem: Option<String>,
}

/// The figures of the learning loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoopFigures {
    /// The maximum number of records in the window.
    pub window_records: u64,
    /// The model that never learns.
    pub never_learning: NeverLearning,
    /// Over all labelled records since the trainer's state began.
    pub total: SpanFigures,
    /// Over the newest labelled records.
    pub window: SpanFigures,
}

/// Why figures cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FiguresError {
    /// They were written by a later version of this program.
    #[error(
        "record `{FIGURES_KEY}` has format {0}, and the newest that this program reads is {FORMAT}: use a newer program"
    )]
    NewerFormat(u32),
    /// The value is not that of figures.
    #[error("record `{FIGURES_KEY}` is corrupt: {0}")]
    Corrupt(String),
}

#[derive(Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// Figures with their format.
#[derive(Serialize)]
struct Formatted<'a> {
    format: u32,
    #[serde(flatten)]
    figures: &'a LoopFigures,
}

impl LoopFigures {
    /// Returns the value of the record.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let formatted = Formatted {
            format: FORMAT,
            figures: self,
        };
        // Writing numbers and text to memory cannot fail.
        serde_json::to_vec(&formatted).unwrap_or_default()
    }

    /// Reads the value of the record.
    ///
    /// # Errors
    /// [`FiguresError`] if it has a newer format or is corrupt.
    pub fn read(value: &[u8]) -> Result<Self, FiguresError> {
        let corrupt = |error: serde_json::Error| FiguresError::Corrupt(error.to_string());
        let Format { format } = serde_json::from_slice(value).map_err(corrupt)?;
        if format > FORMAT {
            return Err(FiguresError::NewerFormat(format));
        }
        serde_json::from_slice(value).map_err(corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(records: u64, accuracy: f64, loop_accuracy: f64, differing: u64) -> BaselineScores {
        BaselineScores {
            scores: Scores {
                records,
                accuracy: Some(accuracy),
                ..Scores::default()
            },
            loop_accuracy: Some(loop_accuracy),
            standard_error: (differing as f64).sqrt() / records as f64,
        }
    }

    #[test]
    fn a_baseline_is_ahead_only_by_more_than_two_standard_errors() {
        assert!(!baseline(100, 0.9, 0.95, 5).is_ahead());
        assert!(!baseline(100, 0.94, 0.9, 4).is_ahead(), "4 to 0 is noise");
        assert!(baseline(100, 0.95, 0.9, 5).is_ahead(), "5 to 0 is not");
        assert!(!baseline(100, 0.95, 0.9, 25).is_ahead(), "15 to 10 is");
        assert!(!baseline(1, 1.0, 0.0, 1).is_ahead());
        assert!(!BaselineScores::default().is_ahead());
        let lead = baseline(100, 0.9, 0.95, 5).lead().unwrap();
        assert!((lead - 0.05).abs() < 1e-12);
        assert_eq!(BaselineScores::default().lead(), None);
    }

    #[test]
    fn figures_that_cannot_be_read_are_refused() {
        let refusal = |value: &[u8]| LoopFigures::read(value).unwrap_err().to_string();
        assert_eq!(
            refusal(b"{\"format\":2}"),
            "record `figures` has format 2, and the newest that this program reads is 1: use a newer program"
        );
        assert!(refusal(b"{").starts_with("record `figures` is corrupt: "));
        assert!(refusal(b"{}").contains("missing field `format`"));
        let without_members = LoopFigures::read(b"{\"format\":1,\"later\":7}");
        assert_eq!(without_members, Ok(LoopFigures::default()));
    }
}
