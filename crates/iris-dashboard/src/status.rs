//! The state of the pipeline in a sentence.

use serde::Serialize;
use utoipa::ToSchema;

use crate::board::{Late, LateCause, Partition, PartitionState, Reading};
use crate::format;

/// Whether the pipeline works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It works.
    Ok,
    /// It waits for records or for a classifier.
    Waiting,
    /// Something does not work.
    Problem,
}

impl Level {
    /// Returns the CSS class.
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

    fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn with_action(mut self, action: impl Into<String>) -> Self {
        self.action = action.into();
        self
    }

    /// Derives the state at a time, in milliseconds since the epoch, from the partitions, the late workers, and the problems that
    /// keep the dashboard from reading.
    #[must_use]
    pub fn of(
        partitions: &[Partition],
        late: &[Late],
        reading: Option<Reading>,
        problems: &[String],
        now_ms: i64,
    ) -> Self {
        if !problems.is_empty() {
            return Self::new(Level::Problem, "Kafka cannot be read")
                .with_detail(problems.join("; "))
                .with_action(
                    "The page shows the last known state. Reading is retried every second.",
                );
        }
        if let Some(Reading { read, all }) = reading {
            let [read, all] = [read, all].map(|offsets| format::count(offsets.unsigned_abs()));
            return Self::new(Level::Waiting, "Reading the history").with_detail(format!(
                "{read} of {all} offsets of the summaries are read. The figures are incomplete until all are."
            ));
        }
        let explained: Vec<String> = late.iter().map(|late| late.words(now_ms)).collect();
        let explained = explained.join(" ");
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
                .with_detail(
                    format!("There are unread records, and none has been classified for 5 s or more. {explained}")
                        .trim_end(),
                )
                .with_action(
                    "Check that the classifiers are running, and read their logs: docker compose ps, make logs \
                     SERVICE=iris-classifier.",
                );
        }
        let unread = numbers(PartitionState::NoCommitYet);
        if !unread.is_empty() {
            return Self::new(
                Level::Waiting,
                format!("{} waiting for a classifier", are(&unread)),
            )
            .with_detail("There are records, and no classifier has committed a transaction.")
            .with_action("Start iris-classifier.");
        }
        if late
            .iter()
            .any(|late| late.cause == LateCause::OpenTransaction)
        {
            return Self::new(Level::Waiting, "Some figures are late")
                .with_detail(explained)
                .with_action(
                    "They are added when the transaction ends: when the worker continues or is replaced under its name, and \
                     otherwise at the transaction's timeout.",
                );
        }
        let is_any = |state| partitions.iter().any(|partition| partition.state == state);
        if is_any(PartitionState::Behind) {
            return Self::new(Level::Ok, "Classifying");
        }
        if is_any(PartitionState::CaughtUp) {
            return Self::new(Level::Ok, "Every record has been classified");
        }
        Self::new(Level::Waiting, "Waiting for the first record")
            .with_action("Start iris-producer, or send records to the input topic.")
    }
}

/// Returns the partitions with their verb.
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
            worker: None,
            stalled_since_ms: None,
        }
    }

    #[test]
    fn the_worst_state_of_all_partitions_is_shown() {
        use PartitionState::{Behind, CaughtUp, Empty, NoCommitYet, Stalled, Superseded};
        let of = |states: &[PartitionState], problems: &[&str]| {
            let partitions: Vec<Partition> = (0..)
                .zip(states)
                .map(|(number, &state)| partition(number, state))
                .collect();
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let status = Status::of(&partitions, &[], None, &problems, 0);
            (status.level, status.title)
        };
        let title = |level, title: &str| (level, title.to_owned());
        assert_eq!(
            of(&[Stalled], &["no broker"]),
            title(Level::Problem, "Kafka cannot be read")
        );
        assert_eq!(
            of(&[Stalled, NoCommitYet], &[]),
            title(Level::Problem, "Partition 0 is stalled")
        );
        assert_eq!(
            of(&[Stalled, CaughtUp, Stalled], &[]),
            title(Level::Problem, "Partitions 0, 2 are stalled")
        );
        assert_eq!(
            of(&[CaughtUp, NoCommitYet], &[]),
            title(Level::Waiting, "Partition 1 is waiting for a classifier")
        );
        assert_eq!(
            of(&[CaughtUp, Behind], &[]),
            title(Level::Ok, "Classifying")
        );
        assert_eq!(
            of(&[CaughtUp, Superseded], &[]),
            title(Level::Ok, "Every record has been classified")
        );
        let late = Late {
            worker: Some("host-2 worker 0".to_owned()),
            partitions: vec![1],
            since_ms: 1_000,
            cause: LateCause::OpenTransaction,
        };
        let status = |state, reading| {
            Status::of(
                &[partition(1, state)],
                std::slice::from_ref(&late),
                reading,
                &[],
                2_000,
            )
        };
        let stalled = status(Stalled, None);
        assert_eq!(stalled.title, "Partition 1 is stalled");
        let sentence = "host-2 worker 0 is late since 00:00:01 UTC: its transaction has not ended, and holds back the figures of \
                        partition 1.";
        assert!(stalled.detail.ends_with(sentence), "{}", stalled.detail);
        let others = status(Behind, None);
        assert_eq!(
            (others.level, others.title.as_str(), others.detail.as_str()),
            (Level::Waiting, "Some figures are late", sentence)
        );
        let reading = Reading {
            read: 1_200,
            all: 56_000,
        };
        let reading = status(Behind, Some(reading));
        assert_eq!(reading.title, "Reading the history");
        assert!(reading.detail.starts_with("1,200 of 56,000 offsets"));
        for none in [&[][..], &[Empty]] {
            assert_eq!(
                of(none, &[]),
                title(Level::Waiting, "Waiting for the first record")
            );
        }
    }
}
