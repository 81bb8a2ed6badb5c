//! Measures how the pipeline grows: `make bench-scale`.
//!
//! Writes `target/bench/scale.json` and `scale.md` after each part, so that an interrupted session leaves its results. With the
//! argument `document`, stores these results if everything was measured with the default sizes, and writes the tables of the
//! stored results into docs/CAPACITY.md.

mod loads;
mod many;
#[path = "../bench/versions.rs"]
mod versions;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use iris_bench::scale::{ScalePlan, ScaleSummary, document, limits, trainer};
use iris_bench::testbed::Testbed;
use iris_testkit::{Broker, workspace};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    iris_service::exit(match argument.as_deref() {
        None => measure(),
        Some("document") => publish(),
        Some(other) => Err(anyhow::anyhow!(
            "unknown argument `{other}`: allowed is document"
        )),
    })
}

fn measured() -> PathBuf {
    workspace().join("target/bench/scale.json")
}

/// Measures the planned parts.
fn measure() -> anyhow::Result<()> {
    let plan = ScalePlan::from_environment()?;
    if plan.has("transactions") {
        for &workers in &plan.workers {
            limits::check(workers, many::processes(workers))?;
        }
    }
    ensure!(
        std::env::var_os("KAFKA_BOOTSTRAP").is_none_or(|servers| servers.is_empty()),
        "KAFKA_BOOTSTRAP is set, but the processor time of brokers is measured only if they are started here: unset it"
    );
    ensure!(
        Broker::can_be_local(),
        "brokers as local processes need a JDK (17 or later) and Maven: install both"
    );
    let directory = workspace().join("target/bench/scale");
    let _ = fs::remove_dir_all(&directory);
    let testbed = Testbed::prepare(&directory)?;
    let mut summary = empty_summary(&testbed, &plan)?;
    println!("{}; {}", testbed.description(), summary.machine);
    loads::measure(&testbed, &plan, &mut summary)?;
    write(&summary)?;
    if plan.has("trainer") {
        let load = trainer::run(&testbed, plan.trainer_seconds)?;
        println!("{}", loads::trainer_line(&load));
        summary.trainer = Some(load);
        write(&summary)?;
    }
    // The last part of this broker: what fails here may leave topics behind.
    if plan.has("transactions") {
        many::measure(&testbed, &plan, &mut summary)?;
        write(&summary)?;
    }
    drop(testbed);
    if plan.has("cluster") {
        let testbed = Testbed::prepare_cluster(&directory)?;
        loads::measure_cluster(&testbed, &plan, &mut summary)?;
    }
    write(&summary)?;
    let _ = fs::remove_dir_all(&directory);
    println!("\n{}", document::tables(&summary));
    println!("details are in target/bench/scale.json");
    Ok(())
}

fn empty_summary(testbed: &Testbed, plan: &ScalePlan) -> anyhow::Result<ScaleSummary> {
    let broker = testbed.description().split(',').next().unwrap_or_default();
    let mut versions = versions::versions(false)?;
    versions.insert("broker".to_owned(), broker.to_owned());
    let bytes: usize = testbed.values.iter().map(Vec::len).sum();
    Ok(ScaleSummary {
        date: versions::output(Command::new("date").arg("+%Y-%m-%d"))?,
        machine: versions::machine()?,
        cores: std::thread::available_parallelism()?.get(),
        versions,
        record_bytes: bytes as f64 / testbed.values.len() as f64,
        records: plan.records,
        is_complete: plan.is_complete(),
        ..ScaleSummary::default()
    })
}

/// Writes the results so far.
fn write(summary: &ScaleSummary) -> anyhow::Result<()> {
    fs::write(measured(), serde_json::to_string_pretty(summary)? + "\n")?;
    fs::write(measured().with_extension("md"), document::tables(summary))?;
    Ok(())
}

/// Copies the results of a complete session to `bench/results`, and writes the tables of those there into docs/CAPACITY.md.
fn publish() -> anyhow::Result<()> {
    let stored = workspace().join(document::RESULTS);
    let json = fs::read_to_string(measured())
        .context("reading target/bench/scale.json, which `make bench-scale` writes")?;
    let summary: ScaleSummary = serde_json::from_str(&json)?;
    if summary.is_complete {
        fs::write(&stored, json)?;
    } else {
        println!(
            "{} is unchanged: only sessions with the default sizes are stored",
            document::RESULTS
        );
    }
    let summary: ScaleSummary = serde_json::from_str(&fs::read_to_string(&stored)?)?;
    let path = workspace().join(document::PATH);
    let text = fs::read_to_string(&path)?;
    let Some(written) = document::with_tables(&text, &summary) else {
        bail!("{} lacks the marks of a table", document::PATH);
    };
    fs::write(&path, written)?;
    println!("{} has the tables of {}", document::PATH, document::RESULTS);
    Ok(())
}
