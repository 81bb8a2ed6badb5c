//! The pipeline's figures: sums of what the classifiers' transactions say that they did.

use std::collections::BTreeMap;

use iris_contract::{CountsBy, TransactionSummary};
use iris_core::{Confusion, ModelVersion};
use iris_kafka::Positions;
use serde::Serialize;
use utoipa::ToSchema;

use crate::timeline::Timeline;

/// A partition with unread records and no progress for this long is stalled, in milliseconds.
const STALLED_MS: i64 = 5_000;

/// The seconds over which a partition's rate is taken.
const RATE_SECONDS: i64 = 10;

/// The sums of the summaries read so far, and where the input's partitions end.
#[derive(Debug, Default)]
pub struct Board {
    since: Option<i64>,
    latest: Option<i64>,
    progress: BTreeMap<(i32, String), Progress>,
    ends: Positions,
    predictions: CountsBy<String>,
    evaluations: Confusion,
    dead_letters: CountsBy<String>,
    versions: BTreeMap<ModelVersion, Served>,
    timeline: Timeline,
}

/// How far a group has come in a partition.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    records: u64,
    next_offset: i64,
    /// When it got on last.
    moved: i64,
    /// Since when it has been known to have something to read, without getting on.
    waiting_since: Option<i64>,
}

/// What a model has done.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    first: i64,
    last: i64,
    predictions: u64,
    evaluated: u64,
    right: u64,
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// Every record has been read.
    CaughtUp,
    /// There are unread records, and they are being read.
    Behind,
    /// There are unread records, and none has been read for 5 s.
    Stalled,
    /// Another group has made progress since.
    Superseded,
    /// There are records, and no transaction has read any of them.
    NoCommitYet,
    /// There are no records.
    Empty,
    /// The end offset is not known.
    Unknown,
}

impl PartitionState {
    /// The state in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::CaughtUp => "caught up",
            Self::Behind => "behind",
            Self::Stalled => "stalled",
            Self::Superseded => "taken over by another group",
            Self::NoCommitYet => "no commit yet",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }
}

/// A partition of the input topic and one consumer group's progress in it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The consumer group; null if none has committed anything.
    pub group: Option<String>,
    /// The offset after the last committed record; null if it is not known.
    pub end_offset: Option<i64>,
    /// The offset that the group reads next.
    pub next_offset: Option<i64>,
    /// How many offsets lie between. Transaction markers count, where the input has any.
    pub lag: Option<i64>,
    /// Records with an outcome.
    pub records: u64,
    /// Records per second over the last 10 s; null if it is not known.
    pub records_per_second: Option<f64>,
    /// Whether the group keeps up.
    pub state: PartitionState,
}

/// What a model version has done.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VersionFigures {
    /// Its number in the order in which versions answered first, from 1.
    pub number: usize,
    /// The model version.
    pub model_version: String,
    /// When its first transaction ended, in milliseconds since the epoch.
    pub first_ms: i64,
    /// When its last transaction ended, in milliseconds since the epoch.
    pub last_ms: i64,
    /// Predictions.
    pub predictions: u64,
    /// Of these, those whose record had a label.
    pub evaluated: u64,
    /// The share of these that is right; null if there are none.
    pub accuracy: Option<f64>,
}

/// Sums over all transactions since the dashboard's history begins.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// When the first transaction that is counted ended, in milliseconds since the epoch; null if there was none.
    pub since_ms: Option<i64>,
    /// When the last one ended.
    pub latest_ms: Option<i64>,
    /// Until when all transactions are counted, in milliseconds since the epoch. While it is null the topic has not been read
    /// to its end, and counts are those of what was read so far.
    pub known_until_ms: Option<i64>,
    /// Records with an outcome.
    pub records: u64,
    /// Predictions.
    pub predictions: u64,
    /// Predictions whose record had a label.
    pub evaluated: u64,
    /// Of these, those that are wrong.
    pub mispredicted: u64,
    /// The share that is right; null if no record had a label.
    pub accuracy: Option<f64>,
    /// Dead-lettered records.
    pub dead_letters: u64,
    /// Predictions by class.
    pub predictions_by_class: BTreeMap<String, u64>,
    /// Labelled predictions by the label's class, then by the predicted class: the confusion matrix.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, u64>>)]
    pub evaluations: Confusion,
    /// Dead-lettered records, by reason.
    pub dead_letters_by_reason: BTreeMap<String, u64>,
    /// Models in the order in which they answered first.
    pub versions: Vec<VersionFigures>,
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

impl Board {
    /// An empty board whose timeline keeps so many seconds of history.
    #[must_use]
    pub fn new(history_s: i64) -> Self {
        Self {
            timeline: Timeline::new(history_s),
            ..Self::default()
        }
    }

    /// Adds a transaction that ended at a time, in milliseconds since the epoch.
    pub fn add(&mut self, summary: &TransactionSummary, at: i64) {
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.latest = Some(self.latest.map_or(at, |latest| latest.max(at)));
        for (&partition, told) in &summary.partitions {
            let progress = self
                .progress
                .entry((partition, summary.group.clone()))
                .or_default();
            progress.records += told.records;
            progress.next_offset = told.next_offset;
            progress.moved = at;
            progress.waiting_since = None;
        }
        for (class, &count) in &summary.predictions {
            *self.predictions.entry(class.clone()).or_default() += count;
        }
        for (reason, &count) in &summary.dead_letters {
            *self.dead_letters.entry(reason.clone()).or_default() += count;
        }
        let served = self
            .versions
            .entry(summary.model_version)
            .or_insert(Served {
                first: at,
                ..Served::default()
            });
        served.last = at;
        served.predictions += summary.predictions.values().sum::<u64>();
        served.evaluated += summary.evaluations.total();
        served.right += summary.evaluations.right();
        self.evaluations.add_all(&summary.evaluations);
        self.timeline.add(summary, at);
    }

    /// Notes that all transactions until a time, in milliseconds since the epoch, have been added.
    pub fn is_known_until(&mut self, at: i64) {
        self.timeline.is_known_until(at);
    }

    /// Takes into account where the partitions end at a time, in milliseconds since the epoch.
    pub fn ended(&mut self, ends: Positions, at: i64) {
        for ((partition, _), progress) in &mut self.progress {
            let has_more = ends
                .get(*partition)
                .is_some_and(|end| end > progress.next_offset);
            progress.waiting_since = has_more.then(|| progress.waiting_since.unwrap_or(at));
        }
        self.ends = ends;
    }

    /// What happened when.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// The partitions, each once for each group that has committed something, as of a time in milliseconds since the epoch.
    #[must_use]
    pub fn partitions(&self, now: i64) -> Vec<Partition> {
        let mut partitions: Vec<Partition> = self
            .progress
            .iter()
            .map(|((partition, group), progress)| self.partition(*partition, group, progress, now))
            .collect();
        let without_group = |partition: &i32| {
            !self
                .progress
                .keys()
                .any(|(with_group, _)| with_group == partition)
        };
        for (partition, end) in self
            .ends
            .iter()
            .filter(|(partition, _)| without_group(partition))
        {
            partitions.push(Partition {
                partition,
                group: None,
                end_offset: Some(end),
                next_offset: None,
                lag: None,
                records: 0,
                records_per_second: self.rate_of(partition, now),
                state: if end > 0 {
                    PartitionState::NoCommitYet
                } else {
                    PartitionState::Empty
                },
            });
        }
        partitions.sort_by_key(|partition| partition.partition);
        partitions
    }

    fn partition(&self, partition: i32, group: &str, progress: &Progress, now: i64) -> Partition {
        // The group's own progress may be newer than the last look at where the partition ends.
        let end = self.ends.get(partition);
        let end = end.map(|end| end.max(progress.next_offset));
        let is_superseded = self
            .progress
            .iter()
            .any(|((other, _), theirs)| *other == partition && theirs.moved > progress.moved);
        let state = match (end, progress.waiting_since) {
            _ if is_superseded => PartitionState::Superseded,
            (None, _) => PartitionState::Unknown,
            (Some(_), None) => PartitionState::CaughtUp,
            (Some(_), Some(since)) if now - since >= STALLED_MS => PartitionState::Stalled,
            (Some(_), Some(_)) => PartitionState::Behind,
        };
        Partition {
            partition,
            group: Some(group.to_owned()),
            end_offset: end,
            next_offset: Some(progress.next_offset),
            lag: end.map(|end| end - progress.next_offset),
            records: progress.records,
            // The timeline counts by partition, not by group.
            records_per_second: if is_superseded {
                Some(0.0)
            } else {
                self.rate_of(partition, now)
            },
            state,
        }
    }

    fn rate_of(&self, partition: i32, now: i64) -> Option<f64> {
        let now_s = now.div_euclid(1000);
        self.timeline.rate_of(partition, RATE_SECONDS, now_s)
    }

    /// The versions in the order in which they answered first.
    #[must_use]
    pub fn versions(&self) -> Vec<VersionFigures> {
        let mut versions: Vec<(&ModelVersion, &Served)> = self.versions.iter().collect();
        versions.sort_by_key(|(version, served)| (served.first, **version));
        let figures =
            |(index, (version, served)): (usize, (&ModelVersion, &Served))| VersionFigures {
                number: index + 1,
                model_version: version.to_string(),
                first_ms: served.first,
                last_ms: served.last,
                predictions: served.predictions,
                evaluated: served.evaluated,
                accuracy: share(served.right, served.evaluated),
            };
        versions.into_iter().enumerate().map(figures).collect()
    }

    /// The sums.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let evaluated = self.evaluations.total();
        Figures {
            since_ms: self.since,
            latest_ms: self.latest,
            known_until_ms: self.timeline.known_until_ms(),
            records: self
                .progress
                .values()
                .map(|progress| progress.records)
                .sum(),
            predictions: self.predictions.values().sum(),
            evaluated,
            mispredicted: evaluated - self.evaluations.right(),
            accuracy: self.evaluations.accuracy(),
            dead_letters: self.dead_letters.values().sum(),
            predictions_by_class: self.predictions.clone(),
            evaluations: self.evaluations.clone(),
            dead_letters_by_reason: self.dead_letters.clone(),
            versions: self.versions(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use iris_contract::PartitionProgress;

    use super::*;

    /// A transaction of one partition, with one wrong prediction and, of latency, 5 ms.
    pub(crate) fn summary(partition: i32, records: u64, next_offset: i64) -> TransactionSummary {
        let progress = PartitionProgress {
            records,
            next_offset,
        };
        let mut evaluations = Confusion::default();
        evaluations.add_many("a", "a", records - 1);
        evaluations.add("b", "a");
        TransactionSummary {
            group: "group".to_owned(),
            model_version: "00c0ffee00c0ffee".parse().unwrap(),
            partitions: [(partition, progress)].into(),
            predictions: [("a".to_owned(), records)].into(),
            evaluations,
            dead_letters: CountsBy::new(),
            latency_ms: [(5, records)].into(),
        }
    }

    fn states(board: &Board, now: i64) -> Vec<(i32, Option<i64>, PartitionState)> {
        let state = |partition: Partition| (partition.partition, partition.lag, partition.state);
        board.partitions(now).into_iter().map(state).collect()
    }

    #[test]
    fn figures_are_sums() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 2_000);
        board.add(&summary(1, 5, 5), 1_000);
        let buried = TransactionSummary {
            model_version: "0000000000000001".parse().unwrap(),
            predictions: CountsBy::new(),
            evaluations: Confusion::default(),
            dead_letters: [("not_json".to_owned(), 2)].into(),
            ..summary(1, 2, 7)
        };
        board.add(&buried, 3_000);
        let figures = board.figures();
        assert_eq!(
            (figures.since_ms, figures.latest_ms),
            (Some(1_000), Some(3_000))
        );
        assert_eq!(
            (figures.records, figures.predictions, figures.dead_letters),
            (17, 15, 2)
        );
        assert_eq!((figures.evaluated, figures.mispredicted), (15, 2));
        assert_eq!(figures.accuracy, Some(13.0 / 15.0));
        assert_eq!(figures.evaluations.count("b", "a"), 2);
        let versions: Vec<_> = figures
            .versions
            .iter()
            .map(|version| {
                (
                    version.number,
                    version.model_version.as_str(),
                    version.predictions,
                )
            })
            .collect();
        assert_eq!(
            versions,
            [(1, "00c0ffee00c0ffee", 15), (2, "0000000000000001", 0)]
        );
    }

    #[test]
    fn a_partition_is_what_its_offsets_and_its_pace_say() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 1_000);
        assert_eq!(states(&board, 1_000), [(0, None, PartitionState::Unknown)]);
        board.ended([(0, 10), (1, 4), (2, 0)].into(), 2_000);
        let expected = [
            (0, Some(0), PartitionState::CaughtUp),
            (1, None, PartitionState::NoCommitYet),
            (2, None, PartitionState::Empty),
        ];
        assert_eq!(states(&board, 2_000), expected);

        board.ended([(0, 15)].into(), 3_000);
        board.ended([(0, 25)].into(), 7_999);
        assert_eq!(
            states(&board, 7_999),
            [(0, Some(15), PartitionState::Behind)]
        );
        assert_eq!(
            states(&board, 8_000),
            [(0, Some(15), PartitionState::Stalled)]
        );
        board.add(&summary(0, 20, 35), 8_200);
        let partition = &board.partitions(8_200)[0];
        assert_eq!((partition.end_offset, partition.lag), (Some(35), Some(0)));
        board.add(&summary(0, 5, 40), 8_500);
        board.ended([(0, 50)].into(), 9_000);
        assert_eq!(
            states(&board, 13_999),
            [(0, Some(10), PartitionState::Behind)]
        );
    }

    #[test]
    fn a_group_that_another_has_overtaken_is_no_concern() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 1_000);
        let another = TransactionSummary {
            group: "other".to_owned(),
            ..summary(0, 20, 20)
        };
        board.add(&another, 2_000);
        board.ended([(0, 20)].into(), 3_000);
        let expected = [
            (0, Some(10), PartitionState::Superseded),
            (0, Some(0), PartitionState::CaughtUp),
        ];
        assert_eq!(states(&board, 60_000), expected);
    }
}
