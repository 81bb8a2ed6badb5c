//! Measures throughput and latency by commit interval and number of workers.

use iris_bench::contender::{Contender, Ours, Output};
use iris_bench::summary::{BenchSummary, CurvePoint};
use iris_bench::testbed::{Backlog, Testbed};
use iris_bench::{latency, plan, throughput};

/// Measures throughput for each commit interval and number of workers, and latency for each commit interval.
pub(crate) fn measure(
    testbed: &Testbed,
    backlog: &Backlog,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    for workers in plan::WORKERS {
        for commit_ms in plan::COMMIT_INTERVALS {
            let contender = Contender::Ours(Ours {
                workers,
                commit_ms,
                ..Ours::writing(Output::Predictions)
            });
            let sample = throughput::run(testbed, backlog, contender)?;
            let latency = (workers == 2)
                .then(|| latency::run(testbed, contender, 10_000))
                .transpose()?;
            let rate = sample.reported.unwrap_or(0.0);
            println!("{workers} workers, commits of {commit_ms} ms: {rate:.0} records/s");
            summary.curve.push(CurvePoint {
                workers,
                commit_ms,
                rate,
                latency,
            });
        }
    }
    Ok(())
}
