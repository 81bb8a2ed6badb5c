//! The learning loop beside its baselines, as `models list` shows it.

use std::fmt;

use iris_contract::loop_figures::FIGURES_KEY;
use iris_contract::{BaselineScores, LoopFigures, Scores, SpanFigures};
use iris_kafka::{NewestRecord, ReadError, StoredRecord};
use iris_service::{TextTable, printable};
use serde::Serialize;
use tracing::warn;

use crate::output::{figure, time};
use crate::settings::Settings;

/// The figures of the learning loop that the trainer has written.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LearningDetails {
    written: Option<String>,
    #[serde(flatten)]
    figures: LoopFigures,
}

/// Reads the figures. `None` if the trainer has written none; also if they cannot be read, which is logged.
pub(super) fn read(settings: &Settings) -> Option<LearningDetails> {
    let topic = &settings.topics.trainer_state;
    let newest = || -> Result<Option<StoredRecord>, ReadError> {
        NewestRecord::open(&settings.kafka, topic, FIGURES_KEY)?.look()
    };
    let record = newest().unwrap_or_else(|error| {
        warn!("continuing without the figures of the learning loop: {error}");
        None
    })?;
    match LoopFigures::read(record.value.as_deref().unwrap_or_default()) {
        Ok(figures) => Some(LearningDetails {
            written: time(record.timestamp),
            figures,
        }),
        Err(error) => {
            warn!("continuing without the figures of the learning loop: topic `{topic}`: {error}");
            None
        }
    }
}

impl LearningDetails {
    fn table(&self) -> TextTable {
        let mut table = TextTable::new([
            "labelled records",
            "predictor",
            "records",
            "accuracy",
            "kappa",
            "balanced accuracy",
            "lead of the loop",
        ]);
        let newest = format!("newest {}", self.figures.window_records);
        for (range, span) in [
            (newest.as_str(), &self.figures.window),
            ("all", &self.figures.total),
        ] {
            add_rows(&mut table, range, span);
        }
        table
    }

    /// Returns the baselines that are more accurate than the loop over the newest records.
    fn ahead(&self) -> impl Iterator<Item = &'static str> {
        let window = &self.figures.window;
        let baselines = [
            ("never learning", window.never_learning),
            ("repeating the previous label", window.no_change),
        ];
        let is_ahead = |scores: Option<BaselineScores>| scores.is_some_and(|it| it.is_ahead());
        baselines
            .into_iter()
            .filter_map(move |(name, scores)| is_ahead(scores).then_some(name))
    }
}

fn add_rows(table: &mut TextTable, range: &str, span: &SpanFigures) {
    table.add_row(row(range, "loop", &span.scores, String::new()));
    for (name, baseline) in [
        ("never learning", span.never_learning),
        ("previous label", span.no_change),
    ] {
        if let Some(baseline) = baseline {
            let lead = baseline.lead().map(figure).unwrap_or_default();
            let lead = format!("{lead} ± {}", figure(baseline.standard_error));
            table.add_row(row("", name, &baseline.scores, lead));
        }
    }
}

fn row(range: &str, name: &str, scores: &Scores, lead: String) -> [String; 7] {
    let score = |score: Option<f64>| score.map(figure).unwrap_or_default();
    [
        range.to_owned(),
        name.to_owned(),
        scores.records.to_string(),
        score(scores.accuracy),
        score(scores.kappa),
        score(scores.balanced_accuracy),
        lead,
    ]
}

impl fmt::Display for LearningDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table())?;
        if let Some(problem) = &self.figures.never_learning.problem {
            writeln!(f, "never learning is not known: {}", printable(problem))?;
        }
        for baseline in self.ahead() {
            writeln!(
                f,
                "warning: the loop is less accurate than {baseline} on the newest records, by more than two standard errors"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The figures of a loop that is less accurate than never learning.
    pub(in super::super) fn learning() -> LearningDetails {
        let scores = |records, accuracy| Scores {
            records,
            accuracy: Some(accuracy),
            kappa: Some(0.9),
            balanced_accuracy: None,
        };
        let span = |records| SpanFigures {
            scores: scores(records, 0.93),
            never_learning: Some(BaselineScores {
                scores: scores(records, 0.95),
                loop_accuracy: Some(0.93),
                standard_error: 0.006,
            }),
            no_change: None,
        };
        LearningDetails {
            written: time(Some(1_000)),
            figures: LoopFigures {
                window_records: 1_000,
                total: span(2_500),
                window: span(1_000),
                ..LoopFigures::default()
            },
        }
    }

    #[test]
    fn the_loop_is_shown_beside_its_baselines_with_a_warning() {
        let text = learning().to_string();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "labelled records predictor records accuracy kappa balanced accuracy lead of the loop",
                "newest 1000 loop 1000 0.93 0.9",
                "never learning 1000 0.95 0.9 -0.02 ± 0.006",
                "all loop 2500 0.93 0.9",
                "never learning 2500 0.95 0.9 -0.02 ± 0.006",
                "warning: the loop is less accurate than never learning on the newest records, by more than two standard errors",
            ]
        );
    }

    #[test]
    fn an_absent_baseline_is_shown_with_its_reason() {
        let mut learning = learning();
        learning.figures.window = SpanFigures::default();
        learning.figures.never_learning.problem = Some("the first champion\nis gone".to_owned());
        let text = learning.to_string();
        let reason = "\nnever learning is not known: the first champion\\nis gone\n";
        assert!(text.ends_with(reason), "{text}");
    }
}
