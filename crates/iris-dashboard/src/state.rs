//! The state of the pipeline as far as it is known, and its summary in a sentence.

use std::sync::Arc;

use iris_core::{Model, Schema};
use serde::Serialize;
use utoipa::ToSchema;

use crate::board::{Board, Partition, PartitionState};
use crate::models::Models;
use crate::recent::{DeadLetterRow, Newest, PredictionRow};

/// The state of the pipeline as far as it is known.
#[derive(Debug, Default)]
pub struct DashboardState {
    /// The names of a record's fields.
    pub schema: Schema,
    /// The input topic.
    pub input: String,
    /// The figures.
    pub board: Board,
    /// The newest predictions.
    pub predictions: Newest<PredictionRow>,
    /// The newest mispredictions.
    pub mispredictions: Newest<PredictionRow>,
    /// The newest dead letters.
    pub dead_letters: Newest<DeadLetterRow>,
    /// The registry.
    pub models: Models,
    /// The champion.
    pub champion: Option<Arc<Model>>,
}

/// Whether the pipeline works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It does.
    Ok,
    /// It waits for records or for a classifier.
    Waiting,
    /// Something does not work.
    Problem,
}

impl Level {
    /// Its CSS class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Waiting => "waiting",
            Self::Problem => "problem",
        }
    }
}

/// The state of the pipeline in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Status {
    /// Whether the pipeline works.
    pub level: Level,
    /// The state.
    pub title: String,
    /// The reason; may be empty.
    pub detail: String,
    /// The next step; may be empty.
    pub action: String,
}

impl Status {
    fn new(level: Level, title: impl Into<String>) -> Self {
        Self {
            level,
            title: title.into(),
            detail: String::new(),
            action: String::new(),
        }
    }

    fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn so(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// The state that follows from the partitions and from the problems that keep the dashboard from reading.
    #[must_use]
    pub fn of(partitions: &[Partition], problems: &[String]) -> Self {
        if !problems.is_empty() {
            return Self::new(Level::Problem, "Kafka cannot be read")
                .because(problems.join("; "))
                .so("The page shows the last known state. Reading is retried every second.");
        }
        let numbers = |state: PartitionState| -> Vec<String> {
            partitions
                .iter()
                .filter(|partition| partition.state == state)
                .map(|partition| partition.partition.to_string())
                .collect()
        };
        let stalled = numbers(PartitionState::Stalled);
        if !stalled.is_empty() {
            return Self::new(Level::Problem, format!("{} stalled", are(&stalled)))
                .because("There are unread records, and none has been classified for 5 s or more.")
                .so("Check that the classifiers are running, and read their logs: docker compose ps, make logs SERVICE=iris-classifier.");
        }
        let unread = numbers(PartitionState::NoCommitYet);
        if !unread.is_empty() {
            return Self::new(
                Level::Waiting,
                format!("{} waiting for a classifier", are(&unread)),
            )
            .because("There are records, and no classifier has committed a transaction.")
            .so("Start iris-classifier.");
        }
        let is_any = |state| partitions.iter().any(|partition| partition.state == state);
        if is_any(PartitionState::Behind) {
            return Self::new(Level::Ok, "Classifying");
        }
        if is_any(PartitionState::CaughtUp) {
            return Self::new(Level::Ok, "Every record has been classified");
        }
        Self::new(Level::Waiting, "Waiting for the first record")
            .so("Start iris-producer, or send records to the input topic.")
    }
}

/// Partitions with their verb.
fn are(numbers: &[String]) -> String {
    match numbers {
        [number] => format!("Partition {number} is"),
        _ => format!("Partitions {} are", numbers.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: i32, state: PartitionState) -> Partition {
        Partition {
            partition,
            group: None,
            end_offset: None,
            next_offset: None,
            lag: None,
            records: 0,
            records_per_second: None,
            state,
        }
    }

    #[test]
    fn the_worst_state_is_shown() {
        use PartitionState::{Behind, CaughtUp, Empty, NoCommitYet, Stalled, Superseded};
        let told = |states: &[PartitionState], problems: &[&str]| {
            let partitions: Vec<Partition> = (0..)
                .zip(states)
                .map(|(number, &state)| partition(number, state))
                .collect();
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let status = Status::of(&partitions, &problems);
            (status.level, status.title)
        };
        let title = |level, title: &str| (level, title.to_owned());
        assert_eq!(
            told(&[Stalled], &["no broker"]),
            title(Level::Problem, "Kafka cannot be read")
        );
        assert_eq!(
            told(&[Stalled, NoCommitYet], &[]),
            title(Level::Problem, "Partition 0 is stalled")
        );
        assert_eq!(
            told(&[Stalled, CaughtUp, Stalled], &[]),
            title(Level::Problem, "Partitions 0, 2 are stalled")
        );
        assert_eq!(
            told(&[CaughtUp, NoCommitYet], &[]),
            title(Level::Waiting, "Partition 1 is waiting for a classifier")
        );
        assert_eq!(
            told(&[CaughtUp, Behind], &[]),
            title(Level::Ok, "Classifying")
        );
        assert_eq!(
            told(&[CaughtUp, Superseded], &[]),
            title(Level::Ok, "Every record has been classified")
        );
        for nothing in [&[][..], &[Empty]] {
            assert_eq!(
                told(nothing, &[]),
                title(Level::Waiting, "Waiting for the first record")
            );
        }
    }
}
