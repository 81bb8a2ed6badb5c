//! Runs the pipeline's processes and injects a plan's faults.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use iris_contract::Topic;
use rustix::process::Signal;

use super::action::{Action, Change, Mode, Role};
use super::changes::TopicChanges;
use super::faults::Faults;
use super::partitions::Partitions;
use super::plan::{CLASSIFIERS, Plan, reader};
use super::process::{Exit, Process};
use crate::cluster::{BROKERS, Cluster};
use crate::fixture::Fixture;
use crate::local::free_port;
use crate::proxy::Network;

/// How often processes that have ended are restarted during the storm.
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// The pipeline's processes, and the faults injected so far.
pub(super) struct Storm<'a> {
    fixture: &'a Fixture,
    cluster: Option<&'a mut Cluster>,
    mode: Mode,
    directory: &'a Path,
    partitions: Partitions,
    processes: BTreeMap<Role, Process>,
    zombies: BTreeMap<Role, Process>,
    started: u32,
    pub(super) faults: Faults,
    /// Processes that exited by themselves, or with an error.
    pub(super) unexpected_exits: Vec<String>,
}

impl<'a> Storm<'a> {
    /// Creates the pipeline without starting it. Without a cluster, brokers and the network are left alone.
    pub(super) fn new(
        fixture: &'a Fixture,
        cluster: Option<&'a mut Cluster>,
        mode: Mode,
        directory: &'a Path,
        partitions: Partitions,
    ) -> Self {
        Self {
            fixture,
            cluster,
            mode,
            directory,
            partitions,
            processes: BTreeMap::new(),
            zombies: BTreeMap::new(),
            started: 0,
            faults: Faults::default(),
            unexpected_exits: Vec::new(),
        }
    }

    /// Starts all processes.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        self.start_classifiers()?;
        self.launch(Role::Sink)
    }

    /// Starts the classifiers.
    pub(super) fn start_classifiers(&mut self) -> anyhow::Result<()> {
        (0..CLASSIFIERS).try_for_each(|number| self.launch(Role::Classifier(number)))
    }

    /// Injects the faults of a plan, then waits until all brokers are available.
    pub(super) fn inject(&mut self, plan: &Plan, changes: &TopicChanges) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut restarted = started;
        for step in &plan.steps {
            while let Some(left) = step.at.checked_sub(started.elapsed()) {
                if restarted.elapsed() >= RESTART_INTERVAL {
                    self.restart_ended()?;
                    restarted = Instant::now();
                }
                thread::sleep(left.min(RESTART_INTERVAL));
            }
            match step.action {
                Action::Change(change) => self.change(change, changes),
                action => self
                    .act(action)
                    .with_context(|| format!("{action:?} at {:?}", step.at))?,
            }
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.commit_faults().clear();
            for broker in 0..BROKERS {
                cluster.await_broker(broker)?;
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change, changes: &TopicChanges) {
        if let Change::Grow { .. } = change {
            self.faults.growths += 1;
        }
        changes.request(change);
    }

    /// Injects one fault of a process or a broker.
    pub(super) fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Kill(role) => {
                self.faults.kills += 1;
                drop(self.take(role));
            }
            Action::Terminate(role) => {
                self.faults.terminations += 1;
                self.terminate_one(role, true);
            }
            Action::Start(role) => self.launch(role)?,
            Action::Freeze(role) => {
                self.faults.freezes += 1;
                if let Some(process) = self.processes.get(&role) {
                    process.signal(Signal::STOP)?;
                }
            }
            Action::Replace(role) => {
                if let Some(frozen) = self.processes.remove(&role) {
                    self.zombies.insert(role, frozen);
                }
                self.launch(role)?;
            }
            Action::Thaw(role) => {
                if let Some(zombie) = self.zombies.get(&role) {
                    self.faults.zombies += 1;
                    zombie.signal(Signal::CONT)?;
                } else if let Some(process) = self.processes.get(&role) {
                    process.signal(Signal::CONT)?;
                }
            }
            Action::KillZombie(role) => drop(self.zombies.remove(&role)),
            Action::StopBroker { .. }
            | Action::StartBroker(_)
            | Action::FreezeBroker(_)
            | Action::ThawBroker(_)
            | Action::Network(..)
            | Action::Commit(_)
            | Action::Change(_) => self.act_on_cluster(action)?,
        }
        Ok(())
    }

    fn act_on_cluster(&mut self, action: Action) -> anyhow::Result<()> {
        let Some(cluster) = &mut self.cluster else {
            return Ok(());
        };
        match action {
            Action::StopBroker { broker, by_kill } => {
                self.faults.broker_bounces += 1;
                cluster.stop(broker, by_kill);
            }
            Action::StartBroker(broker) => cluster.resume(broker)?,
            Action::FreezeBroker(broker) => {
                self.faults.broker_freezes += 1;
                cluster.freeze(broker, true)?;
            }
            Action::ThawBroker(broker) => cluster.freeze(broker, false)?,
            Action::Network(broker, network) => {
                self.faults.network_faults += u64::from(network != Network::Up);
                cluster.set_network(broker, network);
            }
            Action::Commit(fault) => cluster.commit_faults().arrange(fault),
            _ => {}
        }
        Ok(())
    }

    /// Removes a process from the pipeline in order to end it. Returns it, and how it has ended if it already has; records that if
    /// it was not expected.
    fn take(&mut self, role: Role) -> Option<(Process, Option<Exit>)> {
        let mut process = self.processes.remove(&role)?;
        let exit = process.exit();
        match exit {
            None => {}
            Some(Exit::Restart) => self.faults.restarts += 1,
            Some(Exit::Failure(status)) => {
                let log = process.log.display();
                self.unexpected_exits.push(format!(
                    "the {role} exited by itself with {status}; its log is {log}"
                ));
            }
        }
        Some((process, exit))
    }

    /// Restarts processes that exited by themselves, as a supervisor does.
    pub(super) fn restart_ended(&mut self) -> anyhow::Result<()> {
        let has_ended = |process: &mut Process| matches!(process.child.try_wait(), Ok(Some(_)));
        let ended: Vec<Role> = self
            .processes
            .iter_mut()
            .filter_map(|(role, process)| has_ended(process).then_some(*role))
            .collect();
        for role in ended {
            drop(self.take(role));
            self.launch(role)?;
        }
        Ok(())
    }

    /// Restarts classifiers whose list lacks a partition that was added after they were started.
    pub(super) fn restart_outdated(&mut self) -> anyhow::Result<()> {
        let now = self.partitions.get(Topic::Input);
        let is_outdated = |(role, process): (&Role, &Process)| {
            let Role::Classifier(number) = *role else {
                return None;
            };
            let mut added = process.partitions..now;
            added
                .any(|partition| reader(partition) == number)
                .then_some(*role)
        };
        let outdated: Vec<Role> = match self.mode {
            Mode::Group => Vec::new(),
            Mode::Listed => self.processes.iter().filter_map(is_outdated).collect(),
        };
        for role in outdated {
            self.terminate_one(role, true);
            self.launch(role)?;
        }
        Ok(())
    }

    /// Returns the names of the classifiers that run, and the ports of their metrics.
    pub(super) fn classifiers(&self) -> Vec<(String, u16)> {
        let classifiers = self.processes.iter();
        classifiers
            .filter(|(role, _)| matches!(role, Role::Classifier(_)))
            .map(|(_, process)| (process.name(), process.port))
            .collect()
    }

    /// Kills all classifiers. Returns the transactional ids that they used.
    pub(super) fn kill_classifiers(&mut self) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::new();
        for number in 0..CLASSIFIERS {
            self.faults.kills += 1;
            if let Some((process, _)) = self.take(Role::Classifier(number)) {
                ids.extend(process.transactional_ids()?);
            }
        }
        Ok(ids)
    }

    /// Terminates all processes with SIGTERM.
    pub(super) fn terminate(&mut self) {
        let roles: Vec<Role> = self.processes.keys().copied().collect();
        for role in roles {
            self.terminate_one(role, false);
        }
    }

    fn terminate_one(&mut self, role: Role, during_faults: bool) {
        if let Some((mut process, None)) = self.take(role)
            && let Err(error) = process.terminate(during_faults)
        {
            self.unexpected_exits.push(format!("{error:#}"));
        }
    }

    fn launch(&mut self, role: Role) -> anyhow::Result<()> {
        let partitions = self.partitions.get(Topic::Input);
        let mut command = self.command(role, partitions);
        let port = free_port()?;
        command.env("IRIS__TELEMETRY__HTTP_ADDR", format!("127.0.0.1:{port}"));
        self.started += 1;
        let name = role.to_string().replace(' ', "-");
        let log = self
            .directory
            .join(format!("{:02}-{name}.log", self.started));
        fs::create_dir_all(self.directory)?;
        let file = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start the {role}; `make` builds it"))?;
        let process = Process {
            role,
            child,
            log,
            port,
            partitions,
        };
        self.processes.insert(role, process);
        Ok(())
    }

    fn command(&self, role: Role, partitions: i32) -> Command {
        match (role, self.mode) {
            (Role::Sink, _) => self
                .fixture
                .command("iris-feedback-sink", &["--store", &self.fixture.sqlite()]),
            (Role::Classifier(number), Mode::Group) => {
                let mut command = self.fixture.command("iris-classifier", &[]);
                command.env("IRIS__CLASSIFIER__INSTANCE", format!("chaos-{number}"));
                command
            }
            (Role::Classifier(number), Mode::Listed) => {
                let partitions: Vec<String> = (0..partitions)
                    .filter(|&partition| reader(partition) == number)
                    .map(|partition| format!("--partition={partition}"))
                    .collect();
                let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
                self.fixture.command("iris-classifier", &partitions)
            }
        }
    }
}
