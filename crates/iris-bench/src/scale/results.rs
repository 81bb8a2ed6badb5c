//! The results of a session, as they are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One run of classifiers under full load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FullLoad {
    /// The number of brokers.
    pub brokers: usize,
    /// The number of classifier processes.
    pub processes: usize,
    /// The number of workers of each process.
    pub workers: usize,
    /// The number of partitions of the input topic.
    pub partitions: i32,
    /// Records per second, from the first commit to the last.
    pub records_per_second: f64,
    /// Processor seconds of the classifiers per million records.
    pub cpu_seconds_per_million: f64,
    /// Processor seconds of the brokers per million records, while the classifiers worked.
    pub broker_cpu_seconds_per_million: f64,
    /// Processor seconds of the brokers per million records, while the input was written.
    pub input_cpu_seconds_per_million: f64,
    /// The number of committed transactions.
    pub transactions: f64,
    /// Transaction markers per transaction, the one in the topic of committed offsets included.
    pub markers_per_transaction: f64,
    /// The median duration of a commit, in milliseconds.
    pub commit_p50_ms: f64,
    /// The 99th percentile.
    pub commit_p99_ms: f64,
    /// The peak resident memory of the classifiers, in bytes.
    pub peak_bytes: u64,
    /// Their resident memory while idle afterwards, in bytes.
    pub steady_bytes: u64,
}

/// Workers that each read a trickle of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trickle {
    /// The program whose workers they are.
    pub program: String,
    /// The number of workers.
    pub workers: usize,
    /// The number of processes.
    pub processes: usize,
    /// Records sent per second, each of which is a transaction unless the worker is late.
    pub offered: f64,
    /// Committed transactions per second.
    pub transactions_per_second: f64,
    /// Aborted transactions per second.
    pub aborts_per_second: f64,
    /// The median duration of a commit, in milliseconds.
    pub commit_p50_ms: f64,
    /// The 99th percentile.
    pub commit_p99_ms: f64,
    /// The cores that the workers used before the load, without a record.
    pub idle_worker_cores: f64,
    /// The cores that the broker used before the load.
    pub idle_broker_cores: f64,
    /// The cores that the broker used.
    pub broker_cores: f64,
    /// The cores that the workers used.
    pub worker_cores: f64,
    /// The cores that everything on the machine used.
    pub busy_cores: f64,
    /// Records per transaction in the coordinator's log, `__transaction_state`.
    pub log_records_per_transaction: f64,
    /// The resident memory of the workers' processes, in bytes.
    pub resident_bytes: u64,
    /// The time from the start of the processes until all workers were ready, in seconds.
    pub start_s: f64,
    /// The resource that limits the load.
    pub limit: String,
}

/// The trainer at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerMoment {
    /// Seconds since the load began.
    pub second: f64,
    /// The largest lag of a partition, in seconds.
    pub lag_s: f64,
    /// The ratio of records that it takes.
    pub sample_ratio: f64,
    /// The records that it has read, those that it has left out included.
    pub read: f64,
    /// The records that it has left out.
    pub left_out: f64,
}

/// A trainer behind classifiers under full load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerLoad {
    /// The trainer's setting `max_lag_ms`.
    pub max_lag_ms: u64,
    /// How long the load lasted, in seconds.
    pub seconds: f64,
    /// Records per second that the classifiers processed.
    pub records_per_second: f64,
    /// The processor time that the trainer used, in cores.
    pub trainer_cores: f64,
    /// The trainer over time.
    pub moments: Vec<TrainerMoment>,
    /// Seconds from the end of the load until the trainer had read everything; `None` if it took too long.
    pub caught_up_s: Option<f64>,
}

impl TrainerLoad {
    /// Returns the largest lag, in seconds.
    #[must_use]
    pub fn largest_lag_s(&self) -> f64 {
        let lags = self.moments.iter().map(|moment| moment.lag_s);
        lags.fold(0.0, f64::max)
    }

    /// Returns the share of the records that the trainer has taken until the last moment.
    #[must_use]
    pub fn taken_share(&self) -> f64 {
        self.moments
            .last()
            .map_or(1.0, |last| 1.0 - last.left_out / last.read.max(1.0))
    }
}

/// All results of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScaleSummary {
    /// The date.
    pub date: String,
    /// The machine.
    pub machine: String,
    /// The number of its cores.
    pub cores: usize,
    /// The versions of the broker, the client and the compiler.
    pub versions: BTreeMap<String, String>,
    /// The mean size of a record's value, in bytes.
    pub record_bytes: f64,
    /// The number of records of each run under full load.
    pub records: u64,
    /// Whether everything was measured with the default sizes.
    pub is_complete: bool,
    /// Workers with a trickle each, by their number.
    pub transactions: Vec<Trickle>,
    /// Processor time by processes and partitions.
    pub processors: Vec<FullLoad>,
    /// Memory by workers.
    pub memory: Vec<FullLoad>,
    /// Rate by workers; the median of several runs.
    pub workers: Vec<FullLoad>,
    /// One broker and three; the median of several runs.
    pub cluster: Vec<FullLoad>,
    /// A trainer behind classifiers.
    pub trainer: Option<TrainerLoad>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_the_trainer_takes_counts_records_until_the_last_moment() {
        let moment = |lag_s, read, left_out| TrainerMoment {
            second: 1.0,
            lag_s,
            sample_ratio: 1.0,
            read,
            left_out,
        };
        let mut load = TrainerLoad {
            max_lag_ms: 1,
            seconds: 2.0,
            records_per_second: 1.0,
            trainer_cores: 0.5,
            moments: vec![moment(4.0, 50.0, 0.0), moment(2.0, 120.0, 90.0)],
            caught_up_s: None,
        };
        assert_eq!((load.taken_share(), load.largest_lag_s()), (0.25, 4.0));
        load.moments.clear();
        assert_eq!((load.taken_share(), load.largest_lag_s()), (1.0, 0.0));
    }
}
