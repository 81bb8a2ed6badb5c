//! What is measured.

use anyhow::{Context, bail};

use crate::contender::{Contender, Limit, Ours, Output, Script};

/// How often, on how much, and beside whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Runs of each contender.
    pub runs: usize,
    /// Records of the backlog.
    pub records: u64,
    /// Whether to run the other systems, too.
    pub peers: bool,
    /// Part of the names of those to measure on the backlog, and nothing else; empty for everything.
    pub only: String,
}

impl Plan {
    /// `BENCH_RUNS` (3), `BENCH_RECORDS` (2,000,000), `BENCH_PEERS` (yes; `no` leaves them out) and `BENCH_ONLY`.
    ///
    /// # Errors
    /// If one of them is not what it should be.
    pub fn from_environment() -> anyhow::Result<Self> {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) if !text.is_empty() => text
                .parse()
                .with_context(|| format!("{name} is `{text}`, not a number")),
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
            plan.records >= FEWEST_RECORDS,
            "BENCH_RECORDS is {}: allowed is {FEWEST_RECORDS} or more",
            plan.records
        );
        Ok(plan)
    }

    /// Who is measured on the backlog, in the order in which they take turns.
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

    /// Who is measured on a longer backlog: undisturbed, with new champions on the way, and with garbage in the backlog.
    #[must_use]
    pub fn disturbed(&self) -> Vec<Entry> {
        let steady = Ours::writing(Output::PredictionsWithProvenance);
        let swapped = Ours {
            swaps: SWAPS,
            ..steady
        };
        [
            (STEADY, steady, Input::Clean),
            (SWAPPED, swapped, Input::Clean),
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

    /// Who is measured under load, by name.
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

/// Below this a run is over before it has begun.
const FEWEST_RECORDS: u64 = 100_000;

/// What the backlog's records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The paper's.
    Clean,
    /// One in a hundred of them cannot be classified.
    WithGarbage,
}

/// One contender on a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in tables.
    pub name: &'static str,
    /// Who.
    pub contender: Contender,
    /// How much of the backlog it does: slow ones do less.
    pub records: u64,
    /// Of what.
    pub input: Input,
}

/// The loads, in records a second.
pub const RATES: [u32; 3] = [100, 1_000, 10_000];

/// Commit intervals of the curve, in milliseconds.
pub const COMMIT_INTERVALS: [u64; 4] = [20, 100, 500, 2_000];

/// Workers of the curve.
pub const WORKERS: [usize; 3] = [1, 2, 5];

/// New champions on the way.
const SWAPS: usize = 100;

/// Enough for each of them to be served for some transactions.
pub const DISTURBED_RECORDS: u64 = 6_000_000;

/// Names in tables; targets refer to them.
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
pub const WITH_GARBAGE: &str = "exactly once, with provenance, 6,000,000 records, 1% garbage";
/// See [`FEEDBACK`].
pub const PAPER: &str = "the paper's program";
/// See [`FEEDBACK`].
pub const BATCHES: &str = "Python in batches, at least once";

/// The classifier, as shipped but for the line a record.
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
