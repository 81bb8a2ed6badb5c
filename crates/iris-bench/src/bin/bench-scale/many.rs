//! Measures many workers with a trickle of records each.

use iris_bench::scale::machine::BrokerProcesses;
use iris_bench::scale::trickle::{self, Load, Program};
use iris_bench::scale::{ScalePlan, ScaleSummary};
use iris_bench::testbed::Testbed;

/// The most workers whose program is the classifier.
const CLASSIFIER_WORKERS: usize = 100;

/// Returns the number of processes for a number of workers: at most four, which divide the workers evenly.
pub(crate) fn processes(workers: usize) -> usize {
    [4, 2]
        .into_iter()
        .find(|processes| workers.is_multiple_of(*processes))
        .unwrap_or(1)
}

/// The numbers of records per second that the smallest number of workers is sent in addition, to find the most transactions
/// that a broker carries: from a fraction of what a worker can commit to more than that.
const BUSY_RATES: [u64; 2] = [20, 50];

/// Measures each number of workers. The largest number up to [`CLASSIFIER_WORKERS`] is measured with both programs, to compare
/// them.
pub(crate) fn measure(
    testbed: &Testbed,
    plan: &ScalePlan,
    summary: &mut ScaleSummary,
) -> anyhow::Result<()> {
    let brokers = BrokerProcesses::find(&testbed.directory)?;
    for load in loads(plan) {
        let result = trickle::run(testbed, &brokers, load, plan.seconds)
            .unwrap_or_else(|error| load.failed(&error));
        println!(
            "{} workers of {}: {:.0} of {:.0} transactions/s, {:.1} aborts/s, commit p50 {:.1} ms, p99 {:.1} ms; limit: {}",
            result.workers,
            result.program,
            result.transactions_per_second,
            result.offered,
            result.aborts_per_second,
            result.commit_p50_ms,
            result.commit_p99_ms,
            result.limit
        );
        summary.transactions.push(result);
    }
    Ok(())
}

fn loads(plan: &ScalePlan) -> Vec<Load> {
    let load = |program, workers, rate| {
        let processes = processes(workers);
        Load {
            program,
            processes,
            workers: workers / processes,
            rate,
        }
    };
    let of_classifier = |workers: &&usize| **workers <= CLASSIFIER_WORKERS;
    let both = plan.workers.iter().filter(of_classifier).max();
    let mut loads = Vec::new();
    let fewest = plan.workers.iter().filter(of_classifier).min();
    loads.extend(
        fewest
            .into_iter()
            .flat_map(|&workers| BUSY_RATES.map(|rate| load(Program::Classifier, workers, rate))),
    );
    for workers in &plan.workers {
        if *workers <= CLASSIFIER_WORKERS {
            loads.push(load(Program::Classifier, *workers, plan.trickle));
        }
        if *workers > CLASSIFIER_WORKERS || both == Some(workers) {
            loads.push(load(Program::ScaleWorker, *workers, plan.trickle));
        }
    }
    loads
}
