//! Storms over a three-broker cluster, by seed, and what the ledger found after each.
//!
//! `CHAOS_RUNS` storms with `CHAOS_RECORDS` records each, from `CHAOS_SEED` on; writes `target/chaos/summary.json`. The
//! services' logs of a run are in `target/chaos/seed-N`. With `IRIS_SABOTAGE` the services do without one of their
//! defences, and the storms should find that out.

use std::fs;
use std::process::ExitCode;

use anyhow::Context;
use iris_kafka::defence::{Defence, SABOTAGE_VARIABLE};
use iris_testkit::chaos::{Faults, Ground, Plan, Report, run};
use iris_testkit::ledger::Counts;
use iris_testkit::workspace;
use serde::Serialize;

#[derive(Serialize)]
struct Summary {
    cluster: String,
    /// The defence that the services did without.
    without: Option<&'static str>,
    runs: usize,
    /// The seeds of runs that broke a promise.
    failed_seeds: Vec<u64>,
    records: usize,
    predictions: usize,
    dead_letters: usize,
    feedback: usize,
    stored: usize,
    #[serde(flatten)]
    findings: Counts,
    faults: Faults,
    elapsed_s: f64,
    each: Vec<Report>,
}

fn main() -> anyhow::Result<ExitCode> {
    let runs = number("CHAOS_RUNS", 3)?;
    let records = usize::try_from(number("CHAOS_RECORDS", 100_000)?)?;
    let first = number("CHAOS_SEED", 1)?;
    let without = Defence::switched_off()
        .map_err(anyhow::Error::msg)?
        .map(Defence::name);
    let directory = workspace().join("target/chaos");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let mut ground = Ground::obtain(&directory)?;
    println!("{}", ground.description());
    if let Some(name) = without {
        println!("the services do without a defence: {name}");
    }
    let mut summary = Summary::new(ground.description(), without);
    for seed in first..first + runs {
        let logs = directory.join(format!("seed-{seed}"));
        let report = run(&mut ground, &logs, seed, records)
            .with_context(|| format!("seed {seed}: {:#?}", Plan::draw(seed)))?;
        println!("{}", line(&report));
        if !report.is_clean() {
            print!("{}", report.details);
            report
                .misbehaviour
                .iter()
                .for_each(|line| println!("{line}"));
            let sabotage =
                without.map_or_else(String::new, |name| format!("{SABOTAGE_VARIABLE}={name} "));
            println!(
                "the logs are in {}; again: {sabotage}CHAOS_SEED={seed} CHAOS_RUNS=1 CHAOS_RECORDS={records} make chaos",
                logs.display()
            );
        }
        summary.add(report);
        // After each run, so that one that is interrupted is not for nothing.
        let text = serde_json::to_string_pretty(&summary)?;
        fs::write(directory.join("summary.json"), text)?;
    }
    println!(
        "{} runs, {} of them broke a promise: {}; target/chaos/summary.json has all of it",
        summary.runs,
        summary.failed_seeds.len(),
        counts(&summary.findings)
    );
    Ok(if summary.failed_seeds.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Summary {
    fn new(cluster: String, without: Option<&'static str>) -> Self {
        Self {
            cluster,
            without,
            runs: 0,
            failed_seeds: Vec::new(),
            records: 0,
            predictions: 0,
            dead_letters: 0,
            feedback: 0,
            stored: 0,
            findings: Counts::default(),
            faults: Faults::default(),
            elapsed_s: 0.0,
            each: Vec::new(),
        }
    }

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
        ..
    } = report.faults;
    format!(
        "seed {} ({}): {} records, {} predictions, {} dead letters, {} feedback, {} stored; {}; {kills} kills, {freezes} \
         freezes, {broker_bounces} broker bounces, {commits_delayed} commits delayed, {commits_cut} cut; {:.0} s",
        report.seed,
        report.mode,
        report.records,
        report.predictions,
        report.dead_letters,
        report.feedback,
        report.stored,
        counts(&report.findings),
        report.elapsed_s
    )
}

fn counts(counts: &Counts) -> String {
    let Counts {
        lost,
        doubled,
        reordered,
        torn,
        wrong,
    } = counts;
    format!("{lost} lost, {doubled} doubled, {reordered} reordered, {torn} torn, {wrong} wrong")
}

fn number(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .with_context(|| format!("{name} is `{text}`: allowed is a number")),
        _ => Ok(default),
    }
}
