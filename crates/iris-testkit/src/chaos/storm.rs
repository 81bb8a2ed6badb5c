//! Runs the pipeline's processes and injects a plan's faults.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use rustix::process::Signal;

use super::action::{Action, Mode, Role};
use super::faults::Faults;
use super::plan::{CLASSIFIERS, Plan};
use super::process::Process;
use crate::cluster::{BROKERS, Cluster};
use crate::fixture::Fixture;
use crate::proxy::Network;

/// The text in a log line of a process that exits because a call hangs.
const HANGS: &str = " hangs";

/// The pipeline's processes, and the faults injected so far.
pub(super) struct Storm<'a> {
    fixture: &'a Fixture,
    cluster: Option<&'a mut Cluster>,
    mode: Mode,
    directory: &'a Path,
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
    ) -> Self {
        Self {
            fixture,
            cluster,
            mode,
            directory,
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
    pub(super) fn inject(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let started = Instant::now();
        for step in &plan.steps {
            thread::sleep(step.at.saturating_sub(started.elapsed()));
            self.act(step.action)
                .with_context(|| format!("{:?} at {:?}", step.action, step.at))?;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.commit_faults().clear();
            for broker in 0..BROKERS {
                cluster.await_broker(broker)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> anyhow::Result<()> {
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
            | Action::Commit(_) => self.act_on_cluster(action)?,
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

    /// Removes a process from the pipeline in order to end it. Records it as unexpected if it exited by itself.
    fn take(&mut self, role: Role) -> Option<Process> {
        let mut process = self.processes.remove(&role)?;
        if let Ok(Some(status)) = process.child.try_wait() {
            let log = process.log.display();
            self.unexpected_exits.push(format!(
                "the {role} exited by itself with {status}; its log is {log}"
            ));
        }
        Some(process)
    }

    /// Restarts processes that exited by themselves, as a supervisor does. An exit because of a hanging call is expected.
    pub(super) fn restart_ended(&mut self) -> anyhow::Result<()> {
        let has_ended = |process: &mut Process| matches!(process.child.try_wait(), Ok(Some(_)));
        let ended: Vec<Role> = self
            .processes
            .iter_mut()
            .filter_map(|(role, process)| has_ended(process).then_some(*role))
            .collect();
        for role in ended {
            let log = self.processes.get(&role).map(|process| &process.log);
            let text = log.map(fs::read_to_string).transpose()?.unwrap_or_default();
            if text.contains(HANGS) {
                self.faults.restarts += 1;
                self.processes.remove(&role);
            } else {
                drop(self.take(role));
            }
            self.launch(role)?;
        }
        Ok(())
    }

    /// Kills all classifiers.
    pub(super) fn kill_classifiers(&mut self) {
        for number in 0..CLASSIFIERS {
            self.faults.kills += 1;
            drop(self.take(Role::Classifier(number)));
        }
    }

    /// Terminates all processes with SIGTERM.
    pub(super) fn terminate(&mut self) {
        let roles: Vec<Role> = self.processes.keys().copied().collect();
        for role in roles {
            self.terminate_one(role, false);
        }
    }

    fn terminate_one(&mut self, role: Role, during_faults: bool) {
        if let Some(mut process) = self.take(role)
            && let Err(error) = process.terminate(during_faults)
        {
            self.unexpected_exits.push(format!("{error:#}"));
        }
    }

    fn launch(&mut self, role: Role) -> anyhow::Result<()> {
        let mut command = self.command(role);
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
        self.processes.insert(role, Process { role, child, log });
        Ok(())
    }

    fn command(&self, role: Role) -> Command {
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
                let partitions: Vec<String> = (0..self.fixture.topics.partitions)
                    .filter(|&partition| {
                        usize::try_from(partition).is_ok_and(|p| p % CLASSIFIERS == number)
                    })
                    .map(|partition| format!("--partition={partition}"))
                    .collect();
                let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
                self.fixture.command("iris-classifier", &partitions)
            }
        }
    }
}
