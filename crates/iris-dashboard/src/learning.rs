//! The learning loop as the page and the API show it: its scores, those of the baselines, and a warning if a baseline is more
//! accurate.

use iris_contract::loop_figures::NOISE_STANDARD_ERRORS;
use iris_contract::{BaselineScores, LoopFigures, Scores, SpanFigures};
use serde::Serialize;
use utoipa::ToSchema;

use crate::format;
use crate::status::{Level, Status};

/// The accuracy of predictions; null where it is undefined, for example without records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct LoopScores {
    /// Labelled records.
    pub records: u64,
    /// The ratio of correct predictions.
    pub accuracy: Option<f64>,
    /// Cohen's kappa: the agreement beyond that expected by chance.
    pub kappa: Option<f64>,
    /// The mean of each class's ratio of correct predictions.
    pub balanced_accuracy: Option<f64>,
}

/// A baseline, and the loop on the same records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct BaselineFigures {
    /// The baseline's scores.
    pub scores: LoopScores,
    /// The loop's accuracy on these records.
    pub loop_accuracy: Option<f64>,
    /// How much more accurate the loop is; negative if the baseline is more accurate.
    pub lead: Option<f64>,
    /// The standard error of the lead.
    pub standard_error: f64,
    /// Whether the baseline is more accurate by more than two standard errors.
    pub is_ahead: bool,
}

/// The loop and its baselines over a range of labelled records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct LoopSpan {
    /// The predictions that were served, by whichever model version.
    #[serde(rename = "loop")]
    pub scores: LoopScores,
    /// The first champion of the registry, which never learns; null if it predicted no record.
    pub never_learning: Option<BaselineFigures>,
    /// The label of the previous labelled record, as a prediction; null if there is none.
    pub no_change: Option<BaselineFigures>,
}

/// The learning loop.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Learning {
    /// When the trainer wrote these figures, in milliseconds since the epoch.
    pub written_ms: Option<i64>,
    /// The maximum number of records in the window.
    pub window_records: u64,
    /// The first champion, which never learns; null if it is not known.
    pub first_champion: Option<String>,
    /// The ratio of records, chosen by id, that it predicts.
    pub sample_ratio: f64,
    /// The reason why it predicts nothing; null if it predicts.
    pub problem: Option<String>,
    /// Over all labelled records since the trainer's state began.
    pub total: LoopSpan,
    /// Over the newest labelled records.
    pub window: LoopSpan,
    /// A warning for each baseline that is more accurate than the loop over the newest records.
    pub warnings: Vec<Status>,
}

impl From<Scores> for LoopScores {
    fn from(scores: Scores) -> Self {
        let Scores {
            records,
            accuracy,
            kappa,
            balanced_accuracy,
        } = scores;
        Self {
            records,
            accuracy,
            kappa,
            balanced_accuracy,
        }
    }
}

impl From<BaselineScores> for BaselineFigures {
    fn from(baseline: BaselineScores) -> Self {
        Self {
            scores: baseline.scores.into(),
            loop_accuracy: baseline.loop_accuracy,
            lead: baseline.lead(),
            standard_error: baseline.standard_error,
            is_ahead: baseline.is_ahead(),
        }
    }
}

impl From<SpanFigures> for LoopSpan {
    fn from(span: SpanFigures) -> Self {
        Self {
            scores: span.scores.into(),
            never_learning: span.never_learning.map(BaselineFigures::from),
            no_change: span.no_change.map(BaselineFigures::from),
        }
    }
}

impl Learning {
    /// Returns the figures that were written at a time, in milliseconds since the epoch.
    #[must_use]
    pub fn of(figures: &LoopFigures, written_ms: Option<i64>) -> Self {
        let first_champion = figures.never_learning.model_version;
        let mut learning = Self {
            written_ms,
            window_records: figures.window_records,
            first_champion: first_champion.map(|version| version.to_string()),
            sample_ratio: figures.never_learning.sample_ratio,
            problem: figures.never_learning.problem.clone(),
            total: figures.total.into(),
            window: figures.window.into(),
            warnings: Vec::new(),
        };
        learning.warnings = learning.warnings();
        learning
    }

    fn warnings(&self) -> Vec<Status> {
        let mut warnings = Vec::new();
        if let Some(baseline) = self.window.never_learning.filter(|found| found.is_ahead) {
            warnings.push(Status {
                level: Level::Problem,
                title: "The loop is less accurate than never learning".to_owned(),
                detail: baseline.compared_with("the first champion"),
                action: self
                    .first_champion
                    .as_deref()
                    .map(|version| {
                        format!(
                            "Check the labels. iris-admin models promote {} serves the first champion again.",
                            format::version(version)
                        )
                    })
                    .unwrap_or_default(),
            });
        }
        if let Some(baseline) = self.window.no_change.filter(|found| found.is_ahead) {
            warnings.push(Status {
                level: Level::Problem,
                title: "The loop is less accurate than repeating the previous label".to_owned(),
                detail: baseline.compared_with("the previous label"),
                action:
                    "Check the labels and the order of the records: consecutive labels are alike."
                        .to_owned(),
            });
        }
        warnings
    }

    /// Returns the loop's accuracy and its comparison with each baseline in sentences, over the newest records. A baseline that
    /// is ahead has a warning instead.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let window = &self.window;
        let mut sentences = Vec::new();
        if window.scores.records == 0 {
            sentences.push("No prediction has been joined with a label yet.".to_owned());
        } else {
            sentences.push(format!(
                "Of the newest {}, the loop predicted {} correctly.",
                records(window.scores.records),
                format::percent(window.scores.accuracy)
            ));
        }
        match (&self.problem, window.never_learning) {
            (Some(problem), _) => {
                sentences.push(format!("Never learning is not known: {problem}."))
            }
            (None, Some(baseline)) if !baseline.is_ahead => {
                sentences.push(baseline.sentence("never learning"));
            }
            (None, _) => {}
        }
        if let Some(baseline) = window.no_change.filter(|found| !found.is_ahead) {
            sentences.push(baseline.sentence("repeating the previous label"));
        }
        sentences
    }
}

impl BaselineFigures {
    /// Returns both accuracies in words.
    fn compared_with(&self, baseline: &str) -> String {
        format!(
            "Of the newest {} that both predicted, {baseline} is correct on {} and the loop on {}. The difference is more than \
             sampling noise: {} with a standard error of {}.",
            records(self.scores.records),
            format::percent(self.scores.accuracy),
            format::percent(self.loop_accuracy),
            points(self.lead.unwrap_or_default().abs()),
            points(self.standard_error),
        )
    }

    /// Returns the comparison with a baseline that is not ahead in a sentence.
    fn sentence(&self, baseline: &str) -> String {
        let lead = self.lead.unwrap_or_default();
        let is_noise = lead <= NOISE_STANDARD_ERRORS * self.standard_error;
        let compared = if is_noise {
            "about as accurate as"
        } else {
            "more accurate than"
        };
        format!(
            "The loop is {compared} {baseline}: {} against {} on the same {}{}.",
            format::percent(self.loop_accuracy),
            format::percent(self.scores.accuracy),
            records(self.scores.records),
            if is_noise {
                ", within sampling noise"
            } else {
                ""
            }
        )
    }

    /// Returns the lead with its standard error.
    #[must_use]
    pub fn lead_in_points(&self) -> String {
        let lead = self.lead.unwrap_or_default() * 100.0;
        format!("{lead:+.1} ± {:.1}", self.standard_error * 100.0)
    }
}

/// Returns a number of labelled records.
fn records(records: u64) -> String {
    match records {
        1 => "1 labelled record".to_owned(),
        records => format!("{} labelled records", format::count(records)),
    }
}

/// Returns a difference of ratios in percentage points.
fn points(difference: f64) -> String {
    format!("{:.1} percentage points", difference * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::loop_figures;

    #[test]
    fn a_baseline_that_is_ahead_is_a_warning_with_both_accuracies() {
        let learning = Learning::of(&loop_figures(0.93), Some(7));
        let [warning] = &learning.warnings[..] else {
            panic!("{:?}", learning.warnings);
        };
        assert_eq!(
            (
                warning.title.as_str(),
                warning.detail.as_str(),
                warning.action.as_str()
            ),
            (
                "The loop is less accurate than never learning",
                "Of the newest 1,000 labelled records that both predicted, the first champion is correct on 95.0% and the loop \
                 on 93.0%. The difference is more than sampling noise: 2.0 percentage points with a standard error of 0.6 \
                 percentage points.",
                "Check the labels. iris-admin models promote 00c0ffee serves the first champion again."
            )
        );
        let repeated = LoopFigures {
            window: SpanFigures {
                no_change: loop_figures(0.93).window.never_learning,
                ..SpanFigures::default()
            },
            ..LoopFigures::default()
        };
        let titles: Vec<String> = Learning::of(&repeated, None)
            .warnings
            .into_iter()
            .map(|warning| warning.title)
            .collect();
        assert_eq!(
            titles,
            ["The loop is less accurate than repeating the previous label"]
        );
    }

    #[test]
    fn the_comparison_is_a_sentence() {
        let sentences = |accuracy| Learning::of(&loop_figures(accuracy), None).sentences();
        assert_eq!(
            sentences(0.93),
            [
                "Of the newest 1,000 labelled records, the loop predicted 93.0% correctly.",
                "The loop is more accurate than repeating the previous label: 93.0% against 30.0% on the same 999 labelled \
                 records."
            ]
        );
        let within = "The loop is about as accurate as never learning: 94.0% against 95.0% on the same 1,000 labelled records, \
                      within sampling noise.";
        assert_eq!(sentences(0.94)[1], within);
        assert!(Learning::of(&loop_figures(0.94), None).warnings.is_empty());
        let mut absent = LoopFigures::default();
        absent.never_learning.problem = Some("the first champion is gone".to_owned());
        assert_eq!(
            Learning::of(&absent, None).sentences(),
            [
                "No prediction has been joined with a label yet.",
                "Never learning is not known: the first champion is gone."
            ]
        );
    }
}
