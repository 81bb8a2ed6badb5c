//! Runs one storm from its first process to the last audit.

use std::fs;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use iris_contract::Topic;
use iris_kafka::KafkaSettings;
use tokio_util::sync::CancellationToken;

use super::action::{Action, Interruption, Mode, Recreation};
use super::audit::{Audited, Deleted, Life, audit_both};
use super::changes::{TopicChanges, recreate_input};
use super::groups::Groups;
use super::input::InputLog;
use super::losses::{audit_metrics, logged, unreported};
use super::observer::Observer;
use super::partitions::Partitions;
use super::plan::{Plan, SESSION_SETTINGS, STORM};
use super::records;
use super::report::Report;
use super::storm::Storm;
use super::target::Target;
use super::traffic::{Watcher, join, produce};
use crate::fixture::Fixture;
use crate::ledger::{CommittedRecords, Findings, Ledger, Truncations, audit_rows};

/// A value to send.
type Value = Option<Vec<u8>>;

/// The period over which the last records are sent, while all classifiers are killed.
const LAST_RECORDS: Duration = Duration::from_secs(2);

/// The period over which records are sent before the input topic is deleted, and that after it is recreated.
const RECREATION_RECORDS: Duration = Duration::from_secs(2);

/// The topics whose records are watched as they are committed.
const OUTCOMES: [Topic; 3] = [Topic::Predictions, Topic::Feedback, Topic::DeadLetters];

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
    let (mut values, expected) = records::draw(seed, records)?;
    let new = values.split_off(records - records / 16);
    let recreated = values.split_off(records - records / 8);
    let last = values.split_off(records - records / 4);
    let partitions = Partitions::of(&fixture.topics);
    let groups = Groups::of(&fixture, &inside, plan.mode, &partitions);
    let stop = CancellationToken::new();
    let watchers =
        OUTCOMES.map(|topic| Watcher::start(&inside, &fixture.topics, topic, &partitions, &stop));
    let mut run = Run {
        outside: &outside,
        observer: Observer {
            kafka: &inside,
            fixture: &fixture,
            groups: &groups,
        },
        directory,
        is_group: plan.mode == Mode::Group,
        ledger: Ledger::new(&fixture.topics.input, expected),
        partitions: partitions.clone(),
        input: InputLog::new(0),
        truncations: Truncations::default(),
        storm: Storm::new(&fixture, target.cluster(), plan.mode, directory, partitions),
        findings: Findings::default(),
    };

    run.inject_faults(&plan, values)?;
    run.kill_all_while_working(last)?;
    let deleted = run.recreate(plan.recreation, recreated, new)?;
    let (found, audited, rows) = run.finish(&deleted)?;
    stop.cancel();
    let mut findings = run.findings;
    findings.extend(vanished(watchers, &found)?);
    fs::write(directory.join("findings.txt"), findings.listing())?;
    let (mut faults, unexpected_exits) = (run.storm.faults, run.storm.unexpected_exits);
    let after = target.commit_faults();
    faults.commits_delayed = after.0 - before.0;
    faults.commits_cut = after.1 - before.1;
    faults.truncations = deleted.truncations.count() as u64;
    faults.recreations = 1;
    fixture.delete_topics(&inside)?;
    let counted = Report::of(&plan, &found, audited, rows);
    Ok(Report {
        records,
        faults,
        findings: findings.counts(),
        unexpected_exits,
        elapsed_s: started.elapsed().as_secs_f64(),
        details: findings.to_string(),
        ..counted
    })
}

/// Creates the storm's settings and topics.
fn fixture(target: &Target, outside: &KafkaSettings) -> anyhow::Result<Fixture> {
    let mut fixture = Fixture::for_broker(&outside.bootstrap_servers)?;
    if let Target::Cluster(_) = target {
        fixture.topics.replication_factor = 3;
    }
    // The ledger accounts for every record; a log line for each would be most of the work.
    let log = "info,record=off,iris_kafka::exactly_once::deleted=debug";
    let settings = format!("{SESSION_SETTINGS}\n[telemetry]\nlog = \"{log}\"\n");
    fixture.set(&settings)?;
    fixture.create_topics()?;
    Ok(fixture)
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

/// A storm in progress.
struct Run<'a> {
    outside: &'a KafkaSettings,
    observer: Observer<'a>,
    directory: &'a Path,
    is_group: bool,
    ledger: Ledger,
    partitions: Partitions,
    /// The records of the present input topic.
    input: InputLog,
    /// The truncations of the first input topic.
    truncations: Truncations,
    storm: Storm<'a>,
    findings: Findings,
}

impl Run<'_> {
    /// Sends records while the plan's faults are injected, and waits until all records are classified.
    fn inject_faults(&mut self, plan: &Plan, values: Vec<Value>) -> anyhow::Result<()> {
        let observer = self.observer;
        let changes = TopicChanges::start(
            observer.kafka,
            &observer.fixture.topics,
            observer.groups,
            &self.partitions,
        );
        let sending = self.send(values, STORM);
        self.storm.start()?;
        self.storm.inject(plan, &changes)?;
        join(sending)?;
        self.truncations = changes.finish()?;
        self.storm.restart_outdated()?;
        self.await_all_classified("after the storm")?;
        self.audit_metrics()
    }

    /// Sends records, and kills all classifiers while they process them. Audits the outcomes up to the committed offsets, and
    /// starts the classifiers again. The transactions of a group's members are ended at once, others by the brokers in time.
    fn kill_all_while_working(&mut self, values: Vec<Value>) -> anyhow::Result<()> {
        let committed = self.observer.committed()?;
        let sending = self.send(values, LAST_RECORDS);
        self.observer.await_progress(&committed, &mut self.storm)?;
        let ids = self.storm.kill_classifiers()?;
        join(sending)?;
        if self.is_group {
            self.observer.end_transactions(&ids)?;
        }
        self.observer.await_settled()?;
        let life = Life {
            input: self.input.records()?,
            truncations: self.truncations.clone(),
            committed: self.observer.committed()?,
        };
        let mut records = self.observer.records(Vec::new())?;
        let (findings, _) = life.audit(&self.ledger, &mut records);
        self.findings.extend(findings);
        self.storm.start_classifiers()?;
        self.await_all_classified("after all classifiers were killed")
    }

    /// Sends records, deletes the input topic before all of them are read, creates it again and sends new ones. Waits until all
    /// of the new ones are classified. Returns the deleted topic.
    fn recreate(
        &mut self,
        recreation: Recreation,
        old: Vec<Value>,
        new: Vec<Value>,
    ) -> anyhow::Result<Deleted> {
        let Recreation {
            pause,
            role,
            interruption,
        } = recreation;
        let observer = self.observer;
        let found = observer.audit_input(&self.input.records()?, &self.truncations)?;
        self.findings.extend(found);
        self.audit_metrics()?;
        let classified = self.input.ends();
        let sending = self.send(old, RECREATION_RECORDS);
        thread::sleep(RECREATION_RECORDS / 2);
        let (interrupt, resume) = match interruption {
            Interruption::None => (None, None),
            Interruption::Kill => (Some(Action::Kill(role)), Some(Action::Start(role))),
            Interruption::Freeze => (Some(Action::Freeze(role)), Some(Action::Thaw(role))),
        };
        interrupt.map_or(Ok(()), |action| self.storm.act(action))?;
        join(sending)?;
        let topics = &observer.fixture.topics;
        recreate_input(observer.kafka, topics, &self.partitions, pause)?;
        let next = InputLog::new(self.input.next_number());
        let input = std::mem::replace(&mut self.input, next);
        let sending = self.send(new, RECREATION_RECORDS);
        self.storm.restart_ended()?;
        join(sending)?;
        resume.map_or(Ok(()), |action| self.storm.act(action))?;
        self.await_all_classified("after the topic was recreated")?;
        Ok(Deleted {
            input,
            truncations: self.truncations.clone(),
            classified,
        })
    }

    /// Waits until all feedback is stored, terminates all processes and audits everything. Returns the records of the topics,
    /// the numbers of records without an outcome, and the number of rows.
    fn finish(&mut self, deleted: &Deleted) -> anyhow::Result<(CommittedRecords, Audited, usize)> {
        let observer = self.observer;
        let rows = observer.await_rows(&mut self.storm)?;
        self.findings.extend(observer.audit_lags()?);
        self.audit_metrics()?;
        self.storm.terminate();
        observer.await_settled()?;
        let found = observer.audit_input(&self.input.records()?, &Truncations::default())?;
        self.findings.extend(found);
        let records = observer.records(Vec::new())?;
        let topic = &observer.fixture.topics.input;
        let (findings, audited) = audit_both(
            &self.ledger,
            &records,
            deleted,
            &self.input,
            &logged(self.directory, topic)?,
            &unreported(self.directory, topic)?,
        )?;
        self.findings.extend(findings);
        self.findings.extend(audit_rows(&records.feedback, &rows));
        Ok((records, audited, rows.len()))
    }

    fn await_all_classified(&mut self, when: &str) -> anyhow::Result<()> {
        let end = self.input.ends();
        let findings = self
            .observer
            .await_all_classified(when, &end, &mut self.storm)?;
        self.findings.extend(findings);
        Ok(())
    }

    fn audit_metrics(&mut self) -> anyhow::Result<()> {
        let topic = &self.observer.fixture.topics.input;
        let findings = audit_metrics(&self.storm, self.directory, topic)?;
        self.findings.extend(findings);
        Ok(())
    }

    /// Starts to send records on a thread of its own.
    fn send(&self, values: Vec<Value>, period: Duration) -> JoinHandle<anyhow::Result<()>> {
        let topic = self.observer.fixture.topics.input.clone();
        let (kafka, input) = (self.outside.clone(), self.input.clone());
        let partitions = self.partitions.clone();
        thread::spawn(move || produce(&kafka, &topic, &partitions, &input, values, period))
    }
}
