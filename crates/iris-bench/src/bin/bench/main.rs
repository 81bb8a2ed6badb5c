//! Measures the pipeline, its limits and its peers: `make bench`.
//!
//! Writes `target/bench/summary.json`, `summary.md` and `throughput.svg` after each part, so that an interrupted session leaves
//! its results. With `BENCH_ONLY`, measures only the contenders whose names contain it, or only the part of that name.

mod backlog;
mod curve;
mod load;
mod memory;
mod producer;
mod sink;
mod versions;

use std::fs;
use std::process::{Command, ExitCode};

use iris_bench::plan::Plan;
use iris_bench::plot;
use iris_bench::summary::BenchSummary;
use iris_bench::testbed::Testbed;
use iris_kafka::Headers;
use iris_testkit::workspace;

/// The part that measures the sink.
const SINK: &str = "sink";

/// The part of the latency under load.
const LATENCY: &str = "latency";

/// The part that measures memory on a long backlog, and the dashboard beside it.
const LONG_BACKLOG: &str = "long backlog";

fn main() -> ExitCode {
    iris_service::exit(bench())
}

fn bench() -> anyhow::Result<()> {
    let plan = Plan::from_environment()?;
    let directory = workspace().join("target/bench/run");
    let _ = fs::remove_dir_all(&directory);
    let testbed = Testbed::prepare(&directory)?;
    let mut summary = empty_summary(&testbed, &plan)?;
    println!("{}; {}", testbed.description(), summary.machine);
    match plan.only.as_str() {
        SINK => sink::measure(&testbed, &plan, &mut summary)?,
        LATENCY => load::measure_latency(&testbed, &plan, &mut summary)?,
        LONG_BACKLOG => memory::measure(&testbed, &mut summary)?,
        _ => measure(&testbed, &plan, &mut summary)?,
    }
    write(&mut summary)?;
    println!("\n{}", summary.tables());
    println!("details are in target/bench/summary.json");
    Ok(())
}

fn empty_summary(testbed: &Testbed, plan: &Plan) -> anyhow::Result<BenchSummary> {
    let broker = testbed.description().split(',').next().unwrap_or_default();
    Ok(BenchSummary {
        date: versions::output(Command::new("date").arg("+%Y-%m-%d"))?,
        machine: versions::machine()?,
        broker: broker.to_owned(),
        versions: versions::versions(plan.peers)?,
        records: plan.records,
        runs: plan.runs,
        ..BenchSummary::default()
    })
}

/// Measures the planned contenders on the backlog and, unless the plan is restricted, everything else.
fn measure(testbed: &Testbed, plan: &Plan, summary: &mut BenchSummary) -> anyhow::Result<()> {
    let none = Headers::default();
    let backlog = testbed.fill("bench-backlog", &testbed.values, &none, plan.records)?;
    backlog::measure(testbed, &plan.throughput(), |_| &backlog, summary)?;
    write(summary)?;
    backlog::measure_disturbed(testbed, plan, summary)?;
    write(summary)?;
    if !plan.only.is_empty() {
        return Ok(());
    }
    producer::measure(testbed, plan, summary)?;
    curve::measure(testbed, &backlog, summary)?;
    testbed.delete(&[&backlog.topic])?;
    write(summary)?;
    load::measure_latency(testbed, plan, summary)?;
    write(summary)?;
    load::measure_start(testbed, plan, summary)?;
    sink::measure(testbed, plan, summary)?;
    memory::measure(testbed, summary)
}

/// Writes the results so far.
fn write(summary: &mut BenchSummary) -> anyhow::Result<()> {
    summary.judge();
    let directory = workspace().join("target/bench");
    let json = serde_json::to_string_pretty(&summary)?;
    fs::write(directory.join("summary.json"), json)?;
    fs::write(directory.join("summary.md"), summary.tables())?;
    plot::throughput(summary, &directory.join("throughput.svg"))
}
