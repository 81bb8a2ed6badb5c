//! Measures classifiers under full load.

use iris_bench::scale::full_load::{self, Shape};
use iris_bench::scale::machine::BrokerProcesses;
use iris_bench::scale::results::{FullLoad, TrainerLoad};
use iris_bench::scale::statistics::median_by;
use iris_bench::scale::{ScalePlan, ScaleSummary};
use iris_bench::testbed::{PARTITIONS, Testbed};

/// The numbers of processes.
const PROCESSES: [usize; 3] = [1, 2, 4];

/// The numbers of workers of one process whose rates are compared.
const WORKERS: [usize; 3] = [1, 2, 4];

/// The numbers of workers of one process whose memory is compared.
const MEMORY_WORKERS: [usize; 4] = [1, 4, 8, 16];

/// The number of partitions while memory is measured: enough for all workers.
const MEMORY_PARTITIONS: i32 = 16;

/// The number of runs of which the median is taken.
const RUNS: usize = 3;

/// The default number of workers.
const DEFAULT_WORKERS: usize = 2;

/// Measures everything that one broker is enough for.
pub(crate) fn measure(
    testbed: &Testbed,
    plan: &ScalePlan,
    summary: &mut ScaleSummary,
) -> anyhow::Result<()> {
    let brokers = BrokerProcesses::find(&testbed.directory)?;
    let shape = |processes, workers, partitions| Shape {
        processes,
        workers,
        partitions,
    };
    if plan.has("processors") {
        let partitions = plan.partitions.iter();
        let shapes = partitions.flat_map(|&partitions| {
            PROCESSES.map(|processes| shape(processes, DEFAULT_WORKERS, partitions))
        });
        summary.processors = once(testbed, &brokers, shapes, plan.records)?;
    }
    if plan.has("memory") {
        let shapes = MEMORY_WORKERS.map(|workers| shape(1, workers, MEMORY_PARTITIONS));
        summary.memory = once(testbed, &brokers, shapes, plan.records)?;
    }
    if plan.has("workers") {
        let mut shapes = vec![shape(1, 1, 1)];
        shapes.extend(WORKERS.map(|workers| shape(1, workers, PARTITIONS)));
        summary.workers = medians(testbed, &brokers, &shapes, plan.records)?;
    }
    if plan.has("cluster") {
        let shapes = [shape(1, DEFAULT_WORKERS, PARTITIONS)];
        summary.cluster = medians(testbed, &brokers, &shapes, plan.records)?;
    }
    Ok(())
}

/// Measures a cluster of three brokers.
pub(crate) fn measure_cluster(
    testbed: &Testbed,
    plan: &ScalePlan,
    summary: &mut ScaleSummary,
) -> anyhow::Result<()> {
    let brokers = BrokerProcesses::find(&testbed.directory)?;
    let shapes = [Shape {
        processes: 1,
        workers: DEFAULT_WORKERS,
        partitions: PARTITIONS,
    }];
    let measured = medians(testbed, &brokers, &shapes, plan.records)?;
    summary.cluster.extend(measured);
    Ok(())
}

/// Measures each shape once.
fn once(
    testbed: &Testbed,
    brokers: &BrokerProcesses,
    shapes: impl IntoIterator<Item = Shape>,
    records: u64,
) -> anyhow::Result<Vec<FullLoad>> {
    let shapes = shapes.into_iter();
    shapes
        .map(|shape| run(testbed, brokers, shape, records))
        .collect()
}

/// Measures the shapes in turn, several times. Returns the run with the median rate of each.
fn medians(
    testbed: &Testbed,
    brokers: &BrokerProcesses,
    shapes: &[Shape],
    records: u64,
) -> anyhow::Result<Vec<FullLoad>> {
    let mut runs: Vec<Vec<FullLoad>> = vec![Vec::new(); shapes.len()];
    for _ in 0..RUNS {
        for (&shape, runs) in shapes.iter().zip(&mut runs) {
            runs.push(run(testbed, brokers, shape, records)?);
        }
    }
    let median = |runs: &Vec<FullLoad>| median_by(runs, |run| run.records_per_second);
    Ok(runs.iter().filter_map(median).collect())
}

fn run(
    testbed: &Testbed,
    brokers: &BrokerProcesses,
    shape: Shape,
    records: u64,
) -> anyhow::Result<FullLoad> {
    let load = full_load::run(testbed, brokers, shape, records)?;
    println!(
        "{} brokers, {} processes, {} workers each, {} partitions: {:.0} records/s, {:.2} CPU s per million records, peak {:.0} MB",
        load.brokers,
        load.processes,
        load.workers,
        load.partitions,
        load.records_per_second,
        load.cpu_seconds_per_million,
        load.peak_bytes as f64 / 1e6
    );
    Ok(load)
}

/// Returns a line about the trainer.
pub(crate) fn trainer_line(load: &TrainerLoad) -> String {
    format!(
        "the trainer at {:.0} records/s: lag at most {:.1} s, {:.1}% of the records taken",
        load.records_per_second,
        load.largest_lag_s(),
        load.taken_share() * 100.0
    )
}
