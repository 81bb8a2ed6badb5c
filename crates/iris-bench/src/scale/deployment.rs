//! Computes the size of a deployment from what its parts carry.
//!
//! Everything grows linearly with the rate. That is an assumption: only the rates in the results were measured.

use super::results::{FullLoad, ScaleSummary};
use super::statistics::Line;

/// The rates of the deployments, in records per second.
pub const RATES: [f64; 3] = [1e6, 10e6, 80e6];

/// The share of its capacity up to which everything is used.
pub const PLANNED_USE: f64 = 0.7;

/// The commit interval of the workers, in seconds: the default of `classifier.commit_interval_ms`.
pub const COMMIT_INTERVAL_S: f64 = 0.1;

/// The partitions of the input for each worker: workers can be doubled later.
pub const PARTITIONS_PER_WORKER: f64 = 2.0;

/// The workers of a process: the default of `classifier.workers`.
pub const WORKERS_PER_PROCESS: f64 = 2.0;

/// The replicas of each partition.
pub const REPLICAS: f64 = 3.0;

/// The cores of a broker's machine.
pub const BROKER_CORES: f64 = 16.0;

/// The bytes per second that a broker's network carries in each direction: 10 Gbit/s.
pub const BROKER_NETWORK: f64 = 1.25e9;

/// The replicas of partitions on one broker. Operators commonly plan up to this number.
pub const BROKER_REPLICAS: f64 = 4_000.0;

/// The bytes that a prediction adds to its record: the member and the provenance.
pub const ADDED_BYTES: f64 = 90.0;

/// The topics with as many partitions as the input, which included: predictions, feedback, dead letters and summaries.
const PARTITIONED_TOPICS: f64 = 5.0;

/// The longest commit interval that is allowed, in seconds.
const MAX_COMMIT_INTERVAL_S: f64 = 5.0;

/// What the parts of a deployment carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitCosts {
    /// Processor seconds of classifiers per million records.
    pub classifier_cpu: f64,
    /// Processor seconds of all brokers of a cluster per million records, the writing of the input included.
    pub broker_cpu: f64,
    /// Records per second of one worker.
    pub worker_rate: f64,
    /// Peak memory by the number of workers of a process, in bytes.
    pub memory: Line,
    /// The most transactions per second that one broker was seen to carry.
    pub coordinator_rate: f64,
    /// The mean size of a record, in bytes.
    pub record_bytes: f64,
}

impl UnitCosts {
    /// Takes the costs from results; `None` if a part was not measured. Of several figures, the least favourable one counts.
    #[must_use]
    pub fn of(summary: &ScaleSummary) -> Option<Self> {
        let largest = |loads: &[FullLoad], of: fn(&FullLoad) -> f64| {
            loads.iter().map(of).max_by(f64::total_cmp)
        };
        let three: Vec<FullLoad> = summary
            .cluster
            .iter()
            .filter(|load| load.brokers > 1)
            .cloned()
            .collect();
        let one_worker = |load: &&FullLoad| load.workers == 1;
        let rates = summary.workers.iter().filter(one_worker);
        let carried = summary
            .transactions
            .iter()
            .map(|load| load.transactions_per_second);
        Some(Self {
            classifier_cpu: largest(&summary.processors, |load| load.cpu_seconds_per_million)?,
            broker_cpu: largest(&three, |load| {
                load.broker_cpu_seconds_per_million + load.input_cpu_seconds_per_million
            })?,
            worker_rate: rates
                .map(|load| load.records_per_second)
                .min_by(f64::total_cmp)?,
            memory: peak_memory(summary)?,
            coordinator_rate: carried.max_by(f64::total_cmp)?,
            record_bytes: summary.record_bytes,
        })
    }
}

/// Returns the peak memory by the number of workers of a process; `None` if it was not measured.
#[must_use]
pub fn peak_memory(summary: &ScaleSummary) -> Option<Line> {
    memory(summary, |load| load.peak_bytes)
}

/// As [`peak_memory`], for the memory after the load.
#[must_use]
pub fn steady_memory(summary: &ScaleSummary) -> Option<Line> {
    memory(summary, |load| load.steady_bytes)
}

fn memory(summary: &ScaleSummary, of: fn(&FullLoad) -> u64) -> Option<Line> {
    let point = |load: &FullLoad| (load.workers as f64, of(load) as f64);
    let points: Vec<(f64, f64)> = summary.memory.iter().map(point).collect();
    Line::through(&points)
}

/// The size of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Records per second.
    pub rate: f64,
    /// The cores of the classifiers.
    pub classifier_cores: f64,
    /// The cores of the brokers.
    pub broker_cores: f64,
    /// The workers.
    pub workers: f64,
    /// The partitions of the input.
    pub partitions: f64,
    /// Transactions per second.
    pub transactions_per_second: f64,
    /// Transaction markers per second, without their replicas.
    pub markers_per_second: f64,
    /// The memory of the classifiers, in bytes.
    pub memory_bytes: f64,
    /// The brokers.
    pub brokers: f64,
    /// The resource that determines the number of brokers.
    pub brokers_for: &'static str,
    /// The part that breaks first.
    pub breaks_first: String,
}

impl Deployment {
    /// Computes the deployment for a rate.
    #[must_use]
    pub fn of(rate: f64, costs: &UnitCosts) -> Self {
        let cores = |cpu: f64| (rate / 1e6 * cpu / PLANNED_USE).ceil();
        let workers = (rate / (costs.worker_rate * PLANNED_USE)).ceil();
        let processes = (workers / WORKERS_PER_PROCESS).ceil();
        let partitions = workers * PARTITIONS_PER_WORKER;
        let transactions = workers / COMMIT_INTERVAL_S;
        let (brokers, brokers_for) = brokers(rate, partitions, cores(costs.broker_cpu), costs);
        Self {
            rate,
            classifier_cores: cores(costs.classifier_cpu),
            broker_cores: cores(costs.broker_cpu),
            workers,
            partitions,
            transactions_per_second: transactions,
            markers_per_second: transactions * markers(PARTITIONS_PER_WORKER),
            memory_bytes: processes * costs.memory.at(WORKERS_PER_PROCESS),
            brokers,
            brokers_for,
            breaks_first: breaks_first(transactions, costs.coordinator_rate),
        }
    }
}

/// Returns the markers of a transaction of a worker that reads this number of partitions: one in each partition of the
/// predictions and of the feedback, one in the topic of summaries and one in that of the committed offsets.
#[must_use]
pub fn markers(partitions: f64) -> f64 {
    2.0 * partitions + 2.0
}

/// Returns the number of brokers, at least as many as replicas, and the resource that determines it.
fn brokers(rate: f64, partitions: f64, cores: f64, costs: &UnitCosts) -> (f64, &'static str) {
    // The input and the predictions are each sent to two followers and to one reader.
    let network = rate * (2.0 * costs.record_bytes + ADDED_BYTES) * REPLICAS;
    let replicas = partitions * PARTITIONED_TOPICS * REPLICAS;
    let needs = [
        (REPLICAS, "the replicas"),
        (cores / BROKER_CORES, "processors"),
        (network / (BROKER_NETWORK * PLANNED_USE), "the network"),
        (replicas / BROKER_REPLICAS, "partitions"),
    ];
    let (need, resource) = needs
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((REPLICAS, "the replicas"));
    (need.ceil(), resource)
}

/// Returns the part that cannot be relieved by more machines, with its use. All workers of a group commit their offsets through
/// one coordinator.
fn breaks_first(transactions: f64, coordinator_rate: f64) -> String {
    let used = transactions / coordinator_rate;
    if used <= PLANNED_USE {
        return format!(
            "nothing: the group's coordinator is used to {:.0}%",
            used * 100.0
        );
    }
    let groups = (used / PLANNED_USE).ceil();
    let interval_s = COMMIT_INTERVAL_S * used / PLANNED_USE;
    if interval_s <= MAX_COMMIT_INTERVAL_S {
        // Rounded up to two digits.
        let ms = (interval_s * 100.0).ceil() * 10.0;
        format!(
            "the group's coordinator: commit every {ms:.0} ms, or divide the input among {groups:.0} groups"
        )
    } else {
        format!("the group's coordinator: divide the input among {groups:.0} groups")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: UnitCosts = UnitCosts {
        classifier_cpu: 1.75,
        broker_cpu: 1.4,
        worker_rate: 500_000.0,
        memory: Line {
            intercept: 50e6,
            slope: 50e6,
        },
        coordinator_rate: 1_000.0,
        record_bytes: 121.0,
    };

    #[test]
    fn a_million_records_need_a_few_workers() {
        let deployment = Deployment::of(1e6, &COSTS);
        assert_eq!(
            deployment,
            Deployment {
                rate: 1e6,
                classifier_cores: 3.0,
                broker_cores: 2.0,
                workers: 3.0,
                partitions: 6.0,
                transactions_per_second: 30.0,
                markers_per_second: 180.0,
                memory_bytes: 300e6,
                brokers: 3.0,
                brokers_for: "the replicas",
                breaks_first: "nothing: the group's coordinator is used to 3%".to_owned(),
            }
        );
    }

    #[test]
    fn the_coordinator_breaks_when_there_are_many_workers() {
        let deployment = Deployment::of(80e6, &COSTS);
        assert_eq!(
            (deployment.workers, deployment.transactions_per_second),
            (229.0, 2_290.0)
        );
        assert_eq!(
            deployment.breaks_first,
            "the group's coordinator: commit every 330 ms, or divide the input among 4 groups"
        );
        assert_eq!(
            (deployment.brokers, deployment.brokers_for),
            (92.0, "the network")
        );
        assert_eq!(
            breaks_first(1e6, 100.0),
            "the group's coordinator: divide the input among 14286 groups"
        );
    }

    #[test]
    fn a_transaction_has_markers_in_each_partition_of_the_outcomes() {
        assert_eq!((markers(1.0), markers(5.0)), (4.0, 12.0));
    }

    #[test]
    fn costs_need_all_parts() {
        assert_eq!(UnitCosts::of(&ScaleSummary::default()), None);
    }
}
