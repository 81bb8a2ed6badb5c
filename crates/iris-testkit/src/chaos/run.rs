//! Runs one storm from its first process to the last audit.

use std::fs;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iris_kafka::{KafkaSettings, Positions};
use tokio_util::sync::CancellationToken;

use super::faults::Faults;
use super::observer::{Observer, end_of};
use super::plan::{Plan, SESSION_SETTINGS, STORM};
use super::records;
use super::report::Report;
use super::storm::Storm;
use super::target::Target;
use super::traffic::{Watcher, join, produce};
use crate::fixture::Fixture;
use crate::ledger::{CommittedRecords, FindingKind, Findings, Ledger, audit_rows, audit_summaries};

/// The period over which the last records are sent, while all classifiers are killed.
const LAST_RECORDS: Duration = Duration::from_secs(4);

/// Runs one storm with this number of records. Writes the services' logs to `directory`, which is emptied first.
///
/// # Errors
/// If the run itself fails. A broken guarantee is not an error but a finding in the report.
pub fn run(
    target: &mut Target,
    directory: &Path,
    seed: u64,
    records: usize,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let plan = Plan::draw(seed);
    let _ = fs::remove_dir_all(directory);
    let (outside, inside) = (target.outside(), target.inside());
    let fixture = fixture(target, &outside)?;
    let before = target.commit_faults();
    let (mut first, expected) = records::draw(seed, records)?;
    let last = first.split_off(records - records / 8);
    let stop = CancellationToken::new();
    let watchers = watch_outcomes(&fixture, &inside, &stop);
    let mut run = Run {
        outside: &outside,
        observer: Observer {
            kafka: &inside,
            fixture: &fixture,
            mode: plan.mode,
        },
        ledger: Ledger::new(&fixture.topics.input, expected),
        storm: Storm::new(&fixture, target.cluster(), plan.mode, directory),
        findings: Findings::default(),
    };

    run.inject_faults(&plan, first)?;
    run.kill_all_while_working(last)?;
    let (found, rows) = run.finish()?;
    let Run {
        storm,
        mut findings,
        ..
    } = run;
    let (faults, unexpected_exits) = (storm.faults, storm.unexpected_exits);
    stop.cancel();
    findings.extend(vanished(watchers, &found)?);
    findings.extend(not_appended(records, &found));
    let after = target.commit_faults();
    fixture.delete_topics(&inside)?;
    Ok(Report {
        seed,
        mode: plan.mode.name(),
        records: found.input.len(),
        predictions: found.predictions.len(),
        dead_letters: found.dead_letters.len(),
        feedback: found.feedback.len(),
        stored: rows,
        faults: Faults {
            commits_delayed: after.0 - before.0,
            commits_cut: after.1 - before.1,
            ..faults
        },
        findings: findings.counts(),
        unexpected_exits,
        elapsed_s: started.elapsed().as_secs_f64(),
        details: findings.to_string(),
    })
}

/// Creates the storm's settings and topics.
fn fixture(target: &Target, outside: &KafkaSettings) -> anyhow::Result<Fixture> {
    let mut fixture = Fixture::for_broker(&outside.bootstrap_servers)?;
    if let Target::Cluster(_) = target {
        fixture.topics.replication_factor = 3;
    }
    // The ledger accounts for every record; a log line for each would be most of the work.
    let settings = format!("{SESSION_SETTINGS}\n[telemetry]\nlog = \"info,record=off\"\n");
    fixture.set(&settings)?;
    fixture.create_topics()?;
    Ok(fixture)
}

/// Starts to read predictions, feedback and dead letters as they are committed.
fn watch_outcomes(
    fixture: &Fixture,
    inside: &KafkaSettings,
    stop: &CancellationToken,
) -> [Watcher; 3] {
    let topics = &fixture.topics;
    [&topics.predictions, &topics.feedback, &topics.dead_letters]
        .map(|topic| Watcher::start(inside, topic, stop))
}

/// Finds outcomes that were read as committed and do not exist any more.
fn vanished(watchers: [Watcher; 3], found: &CommittedRecords) -> anyhow::Result<Findings> {
    let outcomes = [&found.predictions, &found.feedback, &found.dead_letters];
    let mut findings = Findings::default();
    for (watcher, records) in watchers.into_iter().zip(outcomes) {
        findings.extend(watcher.finish(records)?);
    }
    Ok(findings)
}

/// Finds whether the input topic has another number of records than were sent.
fn not_appended(sent: usize, found: &CommittedRecords) -> Findings {
    let mut findings = Findings::default();
    let found = found.input.len();
    if found != sent {
        let case = format!("{sent} records were sent, but the topic has {found}");
        findings.add(FindingKind::Wrong, case);
    }
    findings
}

/// A storm in progress.
struct Run<'a> {
    outside: &'a KafkaSettings,
    observer: Observer<'a>,
    ledger: Ledger,
    storm: Storm<'a>,
    findings: Findings,
}

impl Run<'_> {
    /// Sends records while the plan's faults are injected, and waits until all records are classified.
    fn inject_faults(&mut self, plan: &Plan, values: Vec<Option<Vec<u8>>>) -> anyhow::Result<()> {
        let sending = self.send(values, STORM);
        self.storm.start()?;
        self.storm.inject(plan)?;
        join(sending)?;
        let findings = self
            .observer
            .await_all_classified("after the storm", &mut self.storm)?;
        self.findings.extend(findings);
        Ok(())
    }

    /// Sends records, and kills all classifiers while they process them. Audits the outcomes up to the committed offsets.
    fn kill_all_while_working(&mut self, values: Vec<Option<Vec<u8>>>) -> anyhow::Result<()> {
        let committed = self.observer.committed()?;
        let sending = self.send(values, LAST_RECORDS);
        self.observer.await_progress(&committed, &mut self.storm)?;
        self.storm.kill_classifiers();
        join(sending)?;
        self.observer.await_settled()?;
        let (records, committed) = (self.observer.records()?, self.observer.committed()?);
        self.audit(&records, &committed);
        Ok(())
    }

    /// Starts the classifiers again, waits until all records are classified and stored, and audits everything. Returns the
    /// records and the number of rows.
    fn finish(&mut self) -> anyhow::Result<(CommittedRecords, usize)> {
        self.storm.start_classifiers()?;
        let findings = self
            .observer
            .await_all_classified("at the end", &mut self.storm)?;
        self.findings.extend(findings);
        let rows = self.observer.await_rows(&mut self.storm)?;
        self.storm.terminate();
        self.observer.await_settled()?;
        let records = self.observer.records()?;
        self.audit(&records, &end_of(&records.input));
        self.findings.extend(audit_rows(&records.feedback, &rows));
        Ok((records, rows.len()))
    }

    fn audit(&mut self, records: &CommittedRecords, committed: &Positions) {
        self.findings.extend(self.ledger.audit(records, committed));
        self.findings.extend(audit_summaries(records, committed));
    }

    /// Starts to send records on a thread of its own.
    fn send(
        &self,
        values: Vec<Option<Vec<u8>>>,
        period: Duration,
    ) -> JoinHandle<anyhow::Result<()>> {
        let topics = &self.observer.fixture.topics;
        let (kafka, topic) = (self.outside.clone(), topics.input.clone());
        let partitions = topics.partitions;
        thread::spawn(move || produce(&kafka, &topic, partitions, &values, period))
    }
}
