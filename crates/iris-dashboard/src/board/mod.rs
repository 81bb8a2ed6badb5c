//! The sums of the classifiers' transaction summaries.

mod figures;
mod late;
pub(crate) mod partition;

use std::collections::{BTreeMap, BTreeSet};

use iris_contract::{CountsBy, TransactionSummary};
use iris_core::{Confusion, ModelVersion};
use iris_kafka::Positions;

use crate::timeline::Timeline;
pub use figures::{Figures, VersionFigures};
pub(crate) use late::HeldBack;
pub use late::{Late, LateCause};
use partition::Progress;
pub use partition::{Partition, PartitionState};

/// The seconds over which the rate of a partition is taken.
const RATE_SECONDS: i64 = 10;

/// The sums of the summaries read so far, and the end offsets of the input topic.
#[derive(Debug, Default)]
pub struct Board {
    since: Option<i64>,
    latest: Option<i64>,
    progress: BTreeMap<(i32, String), Progress>,
    ends: Positions,
    predictions: CountsBy<String>,
    evaluations: Confusion,
    dead_letters: CountsBy<String>,
    versions: BTreeMap<ModelVersion, VersionSums>,
    timeline: Timeline,
    /// The transactions that hold back summaries.
    held: Vec<HeldBack>,
    /// How much of the history has been read, while it is being read.
    reading: Option<Reading>,
}

/// How much of the history has been read, in offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The offsets that were read.
    pub read: i64,
    /// The offsets that there are to read.
    pub all: i64,
}

/// The sums of a model version.
#[derive(Clone, Copy, Debug, Default)]
struct VersionSums {
    first: i64,
    last: i64,
    predictions: u64,
    evaluated: u64,
    right: u64,
}

impl VersionSums {
    /// Adds a transaction that ended at a time, in milliseconds since the epoch.
    fn add(&mut self, summary: &TransactionSummary, at: i64) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.predictions += summary.predictions.values().sum::<u64>();
        self.evaluated += summary.evaluations.total();
        self.right += summary.evaluations.right();
    }

    fn accuracy(&self) -> Option<f64> {
        (self.evaluated > 0).then(|| self.right as f64 / self.evaluated as f64)
    }
}

impl Board {
    /// Returns an empty board whose timeline keeps this many seconds of history.
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
        for (&partition, progress) in &summary.partitions {
            let key = (partition, summary.group.clone());
            let sums = self.progress.entry(key).or_default();
            sums.advance(progress, summary.worker.as_ref(), at);
        }
        add_counts(&mut self.predictions, &summary.predictions);
        add_counts(&mut self.dead_letters, &summary.dead_letters);
        let version = self.versions.entry(summary.model_version);
        let first = VersionSums {
            first: at,
            last: at,
            ..VersionSums::default()
        };
        version.or_insert(first).add(summary, at);
        self.evaluations.add_all(&summary.evaluations);
        self.timeline.add(summary, at);
    }

    /// Notes that all transactions until a time, in milliseconds since the epoch, have been added, except those that are
    /// held back.
    pub fn is_known_until(&mut self, at: i64) {
        self.timeline.is_known_until(at);
        self.reading = None;
    }

    /// Sets how much of the history has been read.
    pub fn reads(&mut self, reading: Reading) {
        self.reading = Some(reading);
    }

    /// Returns how much of the history has been read; `None` if it has been read to its end.
    #[must_use]
    pub fn reading(&self) -> Option<Reading> {
        self.reading
    }

    /// Sets the transactions that hold back summaries.
    pub(crate) fn hold_back(&mut self, held: Vec<HeldBack>) {
        self.held = held;
    }

    /// Returns the workers whose figures are late, of these partitions.
    #[must_use]
    pub fn late(&self, partitions: &[Partition]) -> Vec<Late> {
        late::late(partitions, &self.held)
    }

    /// Sets the end offsets of the partitions at a time, in milliseconds since the epoch.
    pub fn ended(&mut self, ends: Positions, at: i64) {
        for ((partition, _), progress) in &mut self.progress {
            progress.compare(ends.get(*partition), at);
        }
        self.ends = ends;
    }

    /// Returns the groups whose committed offsets are needed: those whose summaries do not reach the end of a partition.
    #[must_use]
    pub fn groups_to_ask(&self) -> BTreeSet<String> {
        let current = self.current();
        let mut groups = BTreeSet::new();
        let mut unread: BTreeMap<i32, i64> = self.ends.iter().filter(|&(_, end)| end > 0).collect();
        for ((partition, group), progress) in current.clone() {
            let end = unread.remove(partition);
            if end.is_some_and(|end| progress.next_offset < end) {
                groups.insert(group.clone());
            }
        }
        if !unread.is_empty() {
            groups.extend(current.map(|((_, group), _)| group.clone()));
        }
        groups
    }

    /// Returns the groups that were the last to make progress in a partition.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<String> {
        self.current()
            .map(|((_, group), _)| group.clone())
            .collect()
    }

    /// Returns the progress of the last group in each partition.
    fn current(&self) -> impl Iterator<Item = (&(i32, String), &Progress)> + Clone {
        self.progress
            .iter()
            .filter(|((partition, _), progress)| !self.is_superseded(*partition, progress))
    }

    /// Sets the offsets that a group has committed, as of a time in milliseconds since the epoch.
    pub fn committed(&mut self, group: &str, offsets: &Positions, at: i64) {
        for (partition, offset) in offsets.iter().filter(|&(_, offset)| offset > 0) {
            let key = (partition, group.to_owned());
            self.progress.entry(key).or_default().committed = Some(offset);
        }
        for ((partition, other), progress) in &mut self.progress {
            if other == group {
                progress.committed = offsets.get(*partition);
                progress.compare(self.ends.get(*partition), at);
            }
        }
    }

    /// Whether another group has made progress in a partition since.
    fn is_superseded(&self, partition: i32, progress: &Progress) -> bool {
        self.progress
            .iter()
            .any(|((other, _), theirs)| *other == partition && theirs.moved > progress.moved)
    }

    /// Returns the transactions by time.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Returns the partitions at a time in milliseconds since the epoch, each once for each group that has committed something.
    #[must_use]
    pub fn partitions(&self, now: i64) -> Vec<Partition> {
        let with_group = self
            .progress
            .iter()
            .map(|((partition, group), progress)| self.partition(*partition, group, progress, now));
        let has_group = |partition: i32| self.progress.keys().any(|(other, _)| *other == partition);
        let without_group = self
            .ends
            .iter()
            .filter(|(partition, _)| !has_group(*partition))
            .map(|(partition, end)| {
                Partition::without_group(partition, end, self.rate_of(partition, now))
            });
        let mut partitions: Vec<Partition> = with_group.chain(without_group).collect();
        partitions.sort_by_key(|partition| partition.partition);
        partitions
    }

    fn partition(&self, partition: i32, group: &str, progress: &Progress, now: i64) -> Partition {
        // The group's progress may be newer than the end offset.
        let end = self.ends.get(partition);
        let next_offset = progress.position();
        let end = end.map(|end| end.max(next_offset));
        let is_superseded = self.is_superseded(partition, progress);
        let state = progress.state(end, is_superseded, now);
        Partition {
            partition,
            group: Some(group.to_owned()),
            end_offset: end,
            next_offset: Some(next_offset),
            lag: end.map(|end| end - next_offset),
            records: progress.records,
            // The timeline counts by partition, not by group.
            records_per_second: if is_superseded {
                Some(0.0)
            } else {
                self.rate_of(partition, now)
            },
            state,
            worker: progress.worker.clone(),
            stalled_since_ms: progress.stalled_since(state),
        }
    }

    fn rate_of(&self, partition: i32, now: i64) -> Option<f64> {
        if self
            .held
            .iter()
            .any(|held| held.inputs.contains(&partition))
        {
            return None;
        }
        let now_s = now.div_euclid(1000);
        self.timeline.rate_of(partition, RATE_SECONDS, now_s)
    }

    /// Returns the model versions in the order of their first transactions.
    #[must_use]
    pub fn versions(&self) -> Vec<VersionFigures> {
        let mut versions: Vec<(&ModelVersion, &VersionSums)> = self.versions.iter().collect();
        versions.sort_by_key(|(version, sums)| (sums.first, **version));
        let figures =
            |(number, (version, sums)): (usize, (&ModelVersion, &VersionSums))| VersionFigures {
                number,
                model_version: version.to_string(),
                first_ms: sums.first,
                last_ms: sums.last,
                predictions: sums.predictions,
                evaluated: sums.evaluated,
                accuracy: sums.accuracy(),
            };
        (1..).zip(versions).map(figures).collect()
    }

    /// Returns the sums.
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

fn add_counts(sums: &mut CountsBy<String>, counts: &CountsBy<String>) {
    for (name, &count) in counts {
        *sums.entry(name.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::summary;
    use crate::range::Range;

    fn states(board: &Board, now: i64) -> Vec<(i32, Option<i64>, PartitionState)> {
        let state = |partition: Partition| (partition.partition, partition.lag, partition.state);
        board.partitions(now).into_iter().map(state).collect()
    }

    #[test]
    fn figures_are_sums() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 2_000);
        board.add(&summary(1, 5, 5), 1_000);
        let dead_lettered = TransactionSummary {
            model_version: "0000000000000001".parse().unwrap(),
            predictions: CountsBy::new(),
            evaluations: Confusion::default(),
            dead_letters: [("not_json".to_owned(), 2)].into(),
            ..summary(1, 2, 7)
        };
        board.add(&dead_lettered, 3_000);
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
    fn the_state_of_a_partition_follows_from_its_offsets_and_its_progress() {
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
    fn a_group_that_has_committed_past_its_last_record_is_caught_up() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 1_000);
        board.ended([(0, 10), (1, 0)].into(), 2_000);
        assert!(board.groups_to_ask().is_empty(), "no marker, no request");
        // A marker behind the last record, and a partition with nothing but an aborted transaction.
        board.ended([(0, 11), (1, 4)].into(), 3_000);
        assert_eq!(board.groups_to_ask(), ["group".to_owned()].into());
        board.committed("group", &[(0, 11), (1, 4)].into(), 3_001);
        board.ended([(0, 11), (1, 4)].into(), 9_000);
        let expected = [
            (0, Some(0), PartitionState::CaughtUp),
            (1, Some(0), PartitionState::CaughtUp),
        ];
        assert_eq!(states(&board, 9_000), expected);
        assert_eq!(board.figures().records, 10);
        assert_eq!(board.groups_to_ask(), ["group".to_owned()].into());

        // Records that nobody reads.
        board.ended([(0, 15), (1, 9)].into(), 10_000);
        board.committed("group", &[(0, 11), (1, 4)].into(), 10_000);
        let expected = [
            (0, Some(4), PartitionState::Stalled),
            (1, Some(5), PartitionState::Stalled),
        ];
        assert_eq!(states(&board, 15_000), expected);

        // The topic is recreated, and its offsets start again.
        board.ended([(0, 3)].into(), 16_000);
        board.add(&summary(0, 2, 2), 16_100);
        board.committed("group", &[(0, 3)].into(), 16_200);
        assert_eq!(states(&board, 16_200)[0].1, Some(0));
        board.ended([(0, 5)].into(), 17_000);
        assert_eq!(states(&board, 17_000)[0].1, Some(2));
    }

    #[test]
    fn figures_do_not_depend_on_the_order_in_which_partitions_are_read() {
        // Two workers, each with the summaries of its transactions in a partition of its own. The second one takes over the
        // partition of the first one.
        let by = |worker: &str, partition, records, next_offset| TransactionSummary {
            worker: Some(worker.to_owned()),
            ..summary(partition, records, next_offset)
        };
        let version = |text: &str, summary| TransactionSummary {
            model_version: text.parse().unwrap(),
            ..summary
        };
        let new = "0000000000000001";
        let first = [
            (by("a", 0, 10, 10), 1_000),
            (version(new, by("a", 0, 5, 15)), 200_000),
        ];
        let second = [
            (by("b", 1, 3, 3), 1_500),
            (version(new, by("b", 1, 4, 7)), 190_000),
            (version(new, by("b", 0, 20, 35)), 300_000),
        ];
        let result = |order: &[&(TransactionSummary, i64)]| {
            let mut board = Board::default();
            for (summary, at) in order {
                board.add(summary, *at);
            }
            board.ended([(0, 35), (1, 7)].into(), 300_000);
            let slices: Vec<_> = Range::EVERY
                .into_iter()
                .filter_map(|range| board.timeline().slice(range, 301))
                .map(|slice| slice.buckets().collect::<Vec<_>>())
                .collect();
            (board.figures(), board.partitions(300_000), slices)
        };
        let [a, b] = &first;
        let [c, d, e] = &second;
        let expected = result(&[a, c, d, b, e]);
        assert_eq!(expected.0.records, 42);
        assert_eq!(expected.0.versions[0].first_ms, 1_000);
        assert_eq!(expected.1[0].worker.as_deref(), Some("b"));
        assert_eq!(expected.1[0].lag, Some(0));
        for order in [
            [a, b, c, d, e],
            [c, d, e, a, b],
            [c, a, b, d, e],
            [c, a, d, e, b],
        ] {
            assert_eq!(result(&order), expected);
        }
    }

    #[test]
    fn progress_on_a_host_whose_clock_is_behind_counts_as_progress() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 9_000);
        board.ended([(0, 20)].into(), 9_000);
        board.add(&summary(0, 10, 20), 7_000);
        board.ended([(0, 20)].into(), 9_100);
        assert_eq!(
            states(&board, 60_000),
            [(0, Some(0), PartitionState::CaughtUp)]
        );
    }

    #[test]
    fn the_worker_of_a_stalled_partition_is_late_and_a_transaction_that_is_open_is_its_reason() {
        let mut board = Board::default();
        board.add(&summary(0, 10, 10), 1_000);
        board.add(&summary(1, 10, 10), 1_000);
        board.ended([(0, 15), (1, 15)].into(), 2_000);
        assert_eq!(board.late(&board.partitions(6_999)), []);
        board.add(&summary(1, 5, 15), 6_500);
        let late = board.late(&board.partitions(7_000));
        let texts =
            |late: &[Late]| -> Vec<String> { late.iter().map(|late| late.words(7_000)).collect() };
        assert_eq!(
            texts(&late),
            [
                "host-0 worker 0 is late since 00:00:02 UTC: it has committed no results of partition 0."
            ]
        );
        board.hold_back(vec![HeldBack {
            worker: Some("host-0 worker 0".to_owned()),
            inputs: vec![0, 3],
            since_ms: 1_800,
        }]);
        let partitions = board.partitions(7_000);
        assert_eq!(
            texts(&board.late(&partitions)),
            [
                "host-0 worker 0 is late since 00:00:01 UTC: its transaction has not ended, and holds back the figures of \
                 partitions 0, 3."
            ]
        );
        assert_eq!(partitions[0].records_per_second, None);
    }

    #[test]
    fn a_group_is_superseded_when_another_makes_progress() {
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
