//! Measures latency under load, the time to the first prediction, and an idle process.

use std::collections::BTreeMap;

use iris_bench::contender::Output;
use iris_bench::latency::{self, Latency};
use iris_bench::plan::{self, Plan, ours};
use iris_bench::summary::{BenchSummary, LatencyUnderLoad, Spread};
use iris_bench::testbed::Testbed;

/// Measures the contenders in turn under each load.
pub(crate) fn measure_latency(
    testbed: &Testbed,
    plan: &Plan,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    for rate in plan::RATES {
        let contenders = plan.latency();
        let mut runs: BTreeMap<&str, Vec<Latency>> = BTreeMap::new();
        for run in 1..=plan.runs {
            for &(name, contender) in &contenders {
                let latency = latency::run(testbed, contender, rate)?;
                println!(
                    "run {run}: {name} at {rate}/s: p50 {:.1} ms, p99 {:.1} ms",
                    latency.p50_ms, latency.p99_ms
                );
                runs.entry(name).or_default().push(latency);
            }
        }
        for (name, _) in contenders {
            let runs = runs.remove(name).unwrap_or_default();
            let median = |of: fn(&Latency) -> f64| {
                Spread::of(runs.iter().map(of)).map_or(0.0, |spread| spread.median)
            };
            summary.latency.push(LatencyUnderLoad {
                name: name.to_owned(),
                rate,
                latency: Latency {
                    p50_ms: median(|run| run.p50_ms),
                    p99_ms: median(|run| run.p99_ms),
                    p999_ms: median(|run| run.p999_ms),
                    max_ms: median(|run| run.max_ms),
                    records: runs.iter().map(|run| run.records).sum(),
                },
            });
        }
    }
    Ok(())
}

/// Measures the time to the first prediction, and the memory of an idle process.
pub(crate) fn measure_start(
    testbed: &Testbed,
    plan: &Plan,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    let contender = ours(Output::PredictionsWithProvenance);
    let starts = (0..plan.runs)
        .map(|_| Ok(latency::first_prediction(testbed, contender)?.as_secs_f64()))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    println!("start to first prediction: {starts:.2?} s");
    summary.first_prediction_s = Spread::of(starts);
    summary.idle = Some(latency::idle(testbed, contender)?);
    Ok(())
}
