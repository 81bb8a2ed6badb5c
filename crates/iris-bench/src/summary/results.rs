//! The results of a session.

use std::collections::BTreeMap;

use serde::Serialize;

use super::spread::Spread;
use super::target::Target;
use crate::dashboard::DashboardLoad;
use crate::latency::Latency;
use crate::process::Usage;
use crate::throughput::Sample;

/// A contender's runs over the backlog.
#[derive(Clone, Debug, Serialize)]
pub struct Throughput {
    /// The contender's name.
    pub name: String,
    /// Records per second, as the contender reports them.
    pub reported: Option<Spread>,
    /// Records per second, as observed from outside.
    pub observed: Option<Spread>,
    /// Processor seconds per million records.
    pub cpu_seconds_per_million: Option<Spread>,
    /// The peak resident memory of all runs, in bytes.
    pub peak_rss_bytes: u64,
    /// All runs.
    pub samples: Vec<Sample>,
}

impl Throughput {
    /// Summarizes runs.
    #[must_use]
    pub fn of(name: &str, samples: Vec<Sample>) -> Self {
        let spread =
            |value: fn(&Sample) -> Option<f64>| Spread::of(samples.iter().filter_map(value));
        Self {
            name: name.to_owned(),
            reported: spread(|sample| sample.reported),
            observed: spread(|sample| sample.observed),
            cpu_seconds_per_million: spread(|sample| Some(sample.cpu_seconds_per_million)),
            peak_rss_bytes: samples
                .iter()
                .map(|sample| sample.usage.peak_rss_bytes)
                .max()
                .unwrap_or(0),
            samples,
        }
    }
}

/// A contender's latency under a load.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyUnderLoad {
    /// The contender's name.
    pub name: String,
    /// The load, in records per second.
    pub rate: u32,
    /// The median of all runs, for each quantile.
    #[serde(flatten)]
    pub latency: Latency,
}

/// A point of the curve over the commit interval and the number of workers.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurvePoint {
    /// The number of workers.
    pub workers: usize,
    /// The commit interval, in milliseconds.
    pub commit_ms: u64,
    /// Records per second, with every prediction published.
    pub rate: f64,
    /// The latency at 10,000 records per second, where it was measured.
    pub latency: Option<Latency>,
}

/// All results of a session.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BenchSummary {
    /// The date.
    pub date: String,
    /// The machine.
    pub machine: String,
    /// The broker.
    pub broker: String,
    /// The versions of the contenders, the client and the compiler.
    pub versions: BTreeMap<String, String>,
    /// The number of records in the backlog.
    pub records: u64,
    /// The number of runs of each contender.
    pub runs: usize,
    /// Throughput over the backlog.
    pub throughput: Vec<Throughput>,
    /// Latency under load.
    pub latency: Vec<LatencyUnderLoad>,
    /// Throughput and latency by commit interval and number of workers.
    pub curve: Vec<CurvePoint>,
    /// The time from the start to the first prediction, as in the paper's setup, in seconds.
    pub first_prediction_s: Option<Spread>,
    /// The resources of an idle classifier.
    pub idle: Option<Usage>,
    /// The classifier on a backlog of 10,000,000 records.
    pub long_backlog: Option<Sample>,
    /// The dashboard during the same backlog.
    pub dashboard: Option<DashboardLoad>,
    /// The producer without pauses, in records per second.
    pub producer: Option<Spread>,
    /// The sink by kind of store, in rows per second.
    pub sink: BTreeMap<String, Spread>,
    /// The targets.
    pub targets: Vec<Target>,
}
