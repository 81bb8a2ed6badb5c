//! Runs storms over a three-broker cluster and writes the ledger's findings: `make chaos`.
//!
//! Runs `CHAOS_RUNS` storms of `CHAOS_RECORDS` records each, with seeds from `CHAOS_SEED` on, and writes
//! `target/chaos/summary.json`. The services' logs of a storm are in `target/chaos/seed-N`. With `IRIS_SABOTAGE`, the services
//! run without one of their defences, and the storms should detect that.
//!
//! Exit codes: 0 if every guarantee was kept, 1 if one was broken or the run failed.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use iris_kafka::defence::{Defence, SABOTAGE_VARIABLE};
use iris_testkit::chaos::{Faults, Plan, Report, Target, run};
use iris_testkit::ledger::FindingCounts;
use iris_testkit::workspace;
use serde::Serialize;

/// The sums over all storms.
#[derive(Default, Serialize)]
struct ChaosSummary {
    cluster: String,
    /// The defence that is switched off.
    without: Option<&'static str>,
    runs: usize,
    /// The seeds of storms that broke a guarantee.
    failed_seeds: Vec<u64>,
    records: usize,
    predictions: usize,
    dead_letters: usize,
    feedback: usize,
    stored: usize,
    deleted_unread: usize,
    unread_in_deleted_topic: usize,
    #[serde(flatten)]
    findings: FindingCounts,
    faults: Faults,
    elapsed_s: f64,
    each: Vec<Report>,
}

fn main() -> ExitCode {
    match run_storms() {
        Ok(summary) if summary.failed_seeds.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => iris_service::exit(Err(error)),
    }
}

fn run_storms() -> anyhow::Result<ChaosSummary> {
    let runs = number("CHAOS_RUNS", 3)?;
    let records = usize::try_from(number("CHAOS_RECORDS", 100_000)?)?;
    let first = number("CHAOS_SEED", 1)?;
    let without = Defence::switched_off()
        .map_err(anyhow::Error::msg)?
        .map(Defence::name);
    let directory = workspace().join("target/chaos");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let mut target = Target::obtain(&directory)?;
    println!("{}", target.description());
    if let Some(name) = without {
        println!("the services run without a defence: {name}");
    }
    let mut summary = ChaosSummary {
        cluster: target.description(),
        without,
        ..ChaosSummary::default()
    };
    for seed in first..first + runs {
        let logs = directory.join(format!("seed-{seed}"));
        let report = run(&mut target, &logs, seed, records)
            .with_context(|| format!("the storm of seed {seed}"))
            .inspect_err(|_| println!("{:#?}", Plan::draw(seed)))?;
        println!("{}", line(&report));
        if !report.is_clean() {
            print_failure(&report, &logs, without);
        }
        summary.add(report);
        // Written after each storm, so that an interrupted run leaves its results.
        let text = serde_json::to_string_pretty(&summary)?;
        fs::write(directory.join("summary.json"), text)?;
    }
    println!(
        "{} storms, {} broke a guarantee: {}; details are in target/chaos/summary.json",
        summary.runs,
        summary.failed_seeds.len(),
        summary.findings
    );
    Ok(summary)
}

impl ChaosSummary {
    fn add(&mut self, report: Report) {
        self.runs += 1;
        if !report.is_clean() {
            self.failed_seeds.push(report.seed);
        }
        self.records += report.records;
        self.predictions += report.predictions;
        self.dead_letters += report.dead_letters;
        self.feedback += report.feedback;
        self.stored += report.stored;
        self.deleted_unread += report.deleted_unread;
        self.unread_in_deleted_topic += report.unread_in_deleted_topic;
        self.findings = self.findings.plus(report.findings);
        self.faults = self.faults.plus(report.faults);
        self.elapsed_s += report.elapsed_s;
        self.each.push(report);
    }
}

fn line(report: &Report) -> String {
    let Faults {
        kills,
        freezes,
        broker_bounces,
        commits_delayed,
        commits_cut,
        growths,
        truncations,
        ..
    } = report.faults;
    format!(
        "seed {} ({}): {} records, {} predictions, {} dead letters, {} feedback, {} stored, {} deleted unread, {} unread in the \
         deleted topic; {}; {kills} kills, {freezes} freezes, {broker_bounces} broker bounces, {commits_delayed} commits \
         delayed, {commits_cut} cut, {growths} topics grown, {truncations} truncations; {:.0} s",
        report.seed,
        report.mode,
        report.records,
        report.predictions,
        report.dead_letters,
        report.feedback,
        report.stored,
        report.deleted_unread,
        report.unread_in_deleted_topic,
        report.findings,
        report.elapsed_s
    )
}

/// Prints the findings of a storm, and how to repeat it.
fn print_failure(report: &Report, logs: &Path, without: Option<&str>) {
    print!("{}", report.details);
    for exit in &report.unexpected_exits {
        println!("{exit}");
    }
    let sabotage = without.map_or_else(String::new, |name| format!("{SABOTAGE_VARIABLE}={name} "));
    println!(
        "the logs and all findings are in {}; to repeat: {sabotage}CHAOS_SEED={} CHAOS_RUNS=1 CHAOS_RECORDS={} make chaos",
        logs.display(),
        report.seed,
        report.records
    );
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .with_context(|| format!("{name} is `{text}`: allowed is a number")),
        _ => Ok(default),
    }
}
