//! The contenders to measure, and their names in tables and targets.

use anyhow::{Context, bail};

use crate::contender::{Contender, Limit, Ours, Output, Script};

/// The scope of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The number of runs of each contender.
    pub runs: usize,
    /// The number of records in the backlog.
    pub records: u64,
    /// Whether to measure other systems, too.
    pub peers: bool,
    /// If not empty, only contenders whose names contain this are measured, and only on the backlog.
    pub only: String,
}

impl Plan {
    /// Reads `BENCH_RUNS` (default 3), `BENCH_RECORDS` (default 2,000,000), `BENCH_PEERS` (default yes) and `BENCH_ONLY`.
    ///
    /// # Errors
    /// If a value is invalid.
    pub fn from_environment() -> anyhow::Result<Self> {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) if !text.is_empty() => text
                .parse()
                .with_context(|| format!("{name} is `{text}`: allowed is a number")),
            _ => Ok(default),
        };
        let peers = match std::env::var("BENCH_PEERS").as_deref() {
            Ok("" | "yes") | Err(_) => true,
            Ok("no") => false,
            Ok(other) => bail!("BENCH_PEERS is `{other}`: allowed is yes or no"),
        };
        let plan = Self {
            runs: usize::try_from(number("BENCH_RUNS", 3)?)?,
            records: number("BENCH_RECORDS", 2_000_000)?,
            peers,
            only: std::env::var("BENCH_ONLY").unwrap_or_default(),
        };
        anyhow::ensure!(plan.runs > 0, "BENCH_RUNS is 0: allowed is 1 or more");
        anyhow::ensure!(
            plan.records >= MIN_RECORDS,
            "BENCH_RECORDS is {}: allowed is {MIN_RECORDS} or more",
            plan.records
        );
        Ok(plan)
    }

    /// Returns the contenders on the backlog, in the order of their turns.
    #[must_use]
    pub fn throughput(&self) -> Vec<Entry> {
        let mut entries = own();
        if self.peers {
            entries.extend(peers());
        }
        entries
            .into_iter()
            .filter(|(name, ..)| name.contains(&self.only))
            .map(|(name, contender, most)| Entry {
                name,
                contender,
                records: most.unwrap_or(self.records).min(self.records),
                input: Input::Clean,
            })
            .collect()
    }

    /// Returns the contenders on a longer backlog: undisturbed, with champion swaps, and with garbage among the records.
    #[must_use]
    pub fn disturbed(&self) -> Vec<Entry> {
        let steady = Ours::writing(Output::PredictionsWithProvenance);
        let swapped = Ours {
            swaps: SWAPS,
            ..steady
        };
        let forest = Ours {
            is_forest: true,
            ..steady
        };
        let swapped_kinds = Ours {
            is_swapped_between_kinds: true,
            ..swapped
        };
        [
            (STEADY, steady, Input::Clean),
            (SWAPPED, swapped, Input::Clean),
            (STEADY_FOREST, forest, Input::Clean),
            (SWAPPED_KINDS, swapped_kinds, Input::Clean),
            (WITH_GARBAGE, steady, Input::WithGarbage),
        ]
        .into_iter()
        .filter(|(name, ..)| name.contains(&self.only))
        .map(|(name, ours, input)| Entry {
            name,
            contender: Contender::Ours(ours),
            records: DISTURBED_RECORDS,
            input,
        })
        .collect()
    }

    /// Returns the contenders under load, with their names.
    #[must_use]
    pub fn latency(&self) -> Vec<(&'static str, Contender)> {
        let mut contenders = vec![
            (PREDICTIONS, ours(Output::Predictions)),
            (SHIPPED, ours(Output::PredictionsWithProvenance)),
        ];
        if self.peers {
            contenders.extend([
                (KAFKA_STREAMS_PREDICTIONS, kafka_streams(true)),
                (FLINK_PREDICTIONS, flink(true, 100)),
            ]);
        }
        contenders
    }
}

/// The fewest records that a run can be measured on.
const MIN_RECORDS: u64 = 100_000;

/// The records of a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The rows of the paper.
    Clean,
    /// One record in 101 cannot be classified.
    WithGarbage,
}

/// One contender on a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in tables.
    pub name: &'static str,
    /// The contender.
    pub contender: Contender,
    /// The number of records that it processes; slow contenders process a part of the backlog.
    pub records: u64,
    /// The kind of backlog.
    pub input: Input,
}

/// The loads, in records per second.
pub const RATES: [u32; 3] = [100, 1_000, 10_000];

/// The commit intervals of the curve, in milliseconds.
pub const COMMIT_INTERVALS: [u64; 4] = [20, 100, 500, 2_000];

/// The numbers of workers of the curve.
pub const WORKERS: [usize; 3] = [1, 2, 5];

/// The number of champion swaps.
const SWAPS: usize = 100;

/// The number of records of the longer backlog: enough for several transactions with each champion.
pub const DISTURBED_RECORDS: u64 = 6_000_000;

/// The contenders' names in tables and targets.
pub const FEEDBACK: &str = "exactly once, feedback only";
/// See [`FEEDBACK`].
pub const PREDICTIONS: &str = "exactly once, every prediction";
/// See [`FEEDBACK`].
pub const SHIPPED: &str = "exactly once, every prediction with provenance";
/// See [`FEEDBACK`].
pub const FEEDBACK_LOGGED: &str = "exactly once, feedback only, a log line per record";
/// See [`FEEDBACK`].
pub const SHIPPED_LOGGED: &str =
    "exactly once, every prediction with provenance, a log line per record";
/// See [`FEEDBACK`].
pub const WATCHED: &str =
    "exactly once, every prediction, summaries published and metrics read every 100 ms";
/// See [`FEEDBACK`].
pub const ALO_FEEDBACK: &str = "the same without transactions, feedback only";
/// See [`FEEDBACK`].
pub const ALO_PREDICTIONS: &str = "the same without transactions, every prediction";
/// See [`FEEDBACK`].
pub const CONSUME: &str = "limit: consume only";
/// See [`FEEDBACK`].
pub const PASS_THROUGH: &str = "limit: pass through";
/// See [`FEEDBACK`].
pub const PRODUCE: &str = "limit: produce only";
/// See [`FEEDBACK`].
pub const KAFKA_STREAMS_FEEDBACK: &str = "Kafka Streams, feedback only";
/// See [`FEEDBACK`].
pub const KAFKA_STREAMS_PREDICTIONS: &str = "Kafka Streams, every prediction";
/// See [`FEEDBACK`].
pub const FLINK_FEEDBACK: &str = "Flink, feedback only";
/// See [`FEEDBACK`].
pub const FLINK_PREDICTIONS: &str = "Flink, every prediction";
/// See [`FEEDBACK`].
pub const STEADY: &str = "exactly once, with provenance, 6,000,000 records";
/// See [`FEEDBACK`].
pub const SWAPPED: &str = "exactly once, with provenance, 6,000,000 records, 100 champions";
/// See [`FEEDBACK`].
pub const STEADY_FOREST: &str = "exactly once, with provenance, 6,000,000 records, a forest";
/// See [`FEEDBACK`].
pub const SWAPPED_KINDS: &str =
    "exactly once, with provenance, 6,000,000 records, 100 champions of two kinds";
/// See [`FEEDBACK`].
pub const WITH_GARBAGE: &str = "exactly once, with provenance, 6,000,000 records, 1% garbage";
/// See [`FEEDBACK`].
pub const PAPER: &str = "the paper's program";
/// See [`FEEDBACK`].
pub const BATCHES: &str = "Python in batches, at least once";

/// Returns the classifier with its default settings, except that no line is logged per record.
#[must_use]
pub fn ours(output: Output) -> Contender {
    Contender::Ours(Ours::writing(output))
}

fn kafka_streams(publishes: bool) -> Contender {
    Contender::KafkaStreams {
        publishes,
        threads: 2,
        commit_ms: 100,
    }
}

fn flink(publishes: bool, checkpoint_ms: u64) -> Contender {
    Contender::Flink {
        publishes,
        parallelism: 1,
        checkpoint_ms,
    }
}

/// A name, a contender and the most records that it processes.
type Turn = (&'static str, Contender, Option<u64>);

fn own() -> Vec<Turn> {
    let logged = |output| {
        Contender::Ours(Ours {
            record_log: true,
            ..Ours::writing(output)
        })
    };
    let watched = Contender::Ours(Ours {
        is_watched: true,
        ..Ours::writing(Output::Predictions)
    });
    let limit = Contender::Limit;
    vec![
        (CONSUME, limit(Limit::Consume), None),
        (FEEDBACK, ours(Output::FeedbackOnly), None),
        (
            ALO_FEEDBACK,
            limit(Limit::AtLeastOnce(Output::FeedbackOnly)),
            None,
        ),
        (FEEDBACK_LOGGED, logged(Output::FeedbackOnly), None),
        (PASS_THROUGH, limit(Limit::PassThrough), None),
        (PREDICTIONS, ours(Output::Predictions), None),
        (
            ALO_PREDICTIONS,
            limit(Limit::AtLeastOnce(Output::Predictions)),
            None,
        ),
        (SHIPPED, ours(Output::PredictionsWithProvenance), None),
        (WATCHED, watched, None),
        (
            SHIPPED_LOGGED,
            logged(Output::PredictionsWithProvenance),
            None,
        ),
        (PRODUCE, limit(Limit::Produce), None),
    ]
}

fn peers() -> Vec<Turn> {
    vec![
        (KAFKA_STREAMS_FEEDBACK, kafka_streams(false), None),
        (KAFKA_STREAMS_PREDICTIONS, kafka_streams(true), None),
        (FLINK_FEEDBACK, flink(false, 500), None),
        (FLINK_PREDICTIONS, flink(true, 500), None),
        (PAPER, Contender::Python(Script::Paper), Some(10_000)),
        (BATCHES, Contender::Python(Script::Batches), Some(500_000)),
    ]
}
