//! Measures the producer without pauses.

use std::time::Duration;

use anyhow::Context;
use iris_bench::output;
use iris_bench::plan::Plan;
use iris_bench::process::MeasuredProcess;
use iris_bench::summary::{BenchSummary, Spread};
use iris_bench::testbed::Testbed;

/// How long one run may take.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Measures the producer without pauses.
pub(crate) fn measure(
    testbed: &Testbed,
    plan: &Plan,
    summary: &mut BenchSummary,
) -> anyhow::Result<()> {
    let rows = testbed.values.len() as u64;
    let rounds = plan.records / rows;
    let mut rates = Vec::new();
    for run in 1..=plan.runs {
        let input = format!("bench-produced-{run}");
        testbed.create(&[&input])?;
        let fixture = testbed.fixture(&input, "[telemetry]\nlog = \"info,record=off\"\n")?;
        let args = ["--interval-ms", "0", "--rounds", &rounds.to_string()];
        let command = fixture.command("iris-producer", &args);
        MeasuredProcess::start("run", command, fixture.directory())?.finish(TIMEOUT)?;
        let text = output::read(&fixture)?;
        let seconds = output::seconds(&text)
            .with_context(|| format!("the producer printed no rate: {text}"))?;
        rates.push((rounds * rows) as f64 / seconds);
        testbed.clear(&fixture)?;
        testbed.delete(&[&input])?;
    }
    println!("the producer unpaced: {rates:.0?} records/s");
    summary.producer = Spread::of(rates);
    Ok(())
}
