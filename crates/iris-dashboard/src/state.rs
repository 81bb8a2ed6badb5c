//! All that is known of the pipeline, and what it amounts to in a sentence.

use std::sync::Arc;

use iris_core::{Model, Schema};
use serde::Serialize;
use utoipa::ToSchema;

use crate::board::{Board, Partition, PartitionState};
use crate::models::Models;
use crate::recent::{Answer, Newest, SetAside};

/// All that is known of the pipeline.
#[derive(Debug, Default)]
pub struct State {
    /// What a record's fields mean.
    pub schema: Schema,
    /// The input topic.
    pub input: String,
    /// The figures.
    pub board: Board,
    /// The newest predictions.
    pub predictions: Newest<Answer>,
    /// The newest of them that were wrong.
    pub mispredictions: Newest<Answer>,
    /// The newest records that were set aside.
    pub dead_letters: Newest<SetAside>,
    /// The registry.
    pub models: Models,
    /// The champion.
    pub champion: Option<Arc<Model>>,
}

/// How things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everything is as it should be.
    Ok,
    /// There is nothing to show yet, or there is something to catch up with.
    Waiting,
    /// Something does not do its work.
    Problem,
}

impl Level {
    /// The name of its looks.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Waiting => "waiting",
            Self::Problem => "problem",
        }
    }
}

/// What it amounts to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Status {
    /// How things are.
    pub level: Level,
    /// What is the case.
    pub title: String,
    /// Why, or how far it goes; may be empty.
    pub detail: String,
    /// What to do about it; may be empty.
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

    /// What the partitions, and what keeps the dashboard from reading, amount to.
    #[must_use]
    pub fn of(partitions: &[Partition], problems: &[String]) -> Self {
        if !problems.is_empty() {
            return Self::new(Level::Problem, "Kafka cannot be read")
                .because(problems.join("; "))
                .so(
                    "What is shown is what was known before. Reading is tried again all the time.",
                );
        }
        let numbers = |state: PartitionState| -> Vec<String> {
            partitions
                .iter()
                .filter(|partition| partition.state == state)
                .map(|partition| partition.partition.to_string())
                .collect()
        };
        let stalled = numbers(PartitionState::NotAdvancing);
        if !stalled.is_empty() {
            return Self::new(Level::Problem, format!("{} not advance", name(&stalled)))
                .because("There are records to classify, and for 5 seconds or more none of them has been.")
                .so("Look whether the classifiers run and what they say: docker compose ps, make logs SERVICE=iris-classifier.");
        }
        let unread = numbers(PartitionState::NoCommitYet);
        if !unread.is_empty() {
            return Self::new(
                Level::Waiting,
                format!("{} waiting for a classifier", is(&unread)),
            )
            .because("There are records, and no transaction of a classifier.")
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

/// Partitions, as the subject of "do not advance".
fn name(numbers: &[String]) -> String {
    match numbers {
        [number] => format!("Partition {number} does"),
        _ => format!("Partitions {} do", numbers.join(", ")),
    }
}

/// Partitions, as the subject of "waiting".
fn is(numbers: &[String]) -> String {
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
            records_per_second: 0.0,
            state,
        }
    }

    #[test]
    fn the_worst_that_is_the_case_is_told() {
        use PartitionState::{Behind, CaughtUp, Empty, NoCommitYet, NotAdvancing, Superseded};
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
            told(&[NotAdvancing], &["no broker"]),
            title(Level::Problem, "Kafka cannot be read")
        );
        assert_eq!(
            told(&[NotAdvancing, NoCommitYet], &[]),
            title(Level::Problem, "Partition 0 does not advance")
        );
        assert_eq!(
            told(&[NotAdvancing, CaughtUp, NotAdvancing], &[]),
            title(Level::Problem, "Partitions 0, 2 do not advance")
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
