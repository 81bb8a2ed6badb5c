//! Carries a plan out: the pipeline's processes, and what is done to them and to the cluster.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Signal, kill_process};
use serde::Serialize;

use super::plan::{Action, CLASSIFIERS, Mode, Plan, Role};
use crate::cluster::{BROKERS, Cluster};
use crate::fixture::Fixture;
use crate::proxy::Network;
use crate::running::pid_of;
use crate::wait::eventually;

/// How long a process may take to end after SIGTERM: the default grace and some.
const GRACE: Duration = Duration::from_secs(15);

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Processes of the pipeline killed with kill -9.
    pub kills: u64,
    /// Processes ended with SIGTERM.
    pub terminations: u64,
    /// Processes frozen beyond the session timeout.
    pub freezes: u64,
    /// Frozen processes that found themselves replaced when they went on.
    pub zombies: u64,
    /// Brokers killed or stopped, and started again.
    pub broker_bounces: u64,
    /// Brokers frozen for a while.
    pub broker_freezes: u64,
    /// Brokers cut off from clients, or slow to reach, for a while.
    pub network_faults: u64,
    /// Processes that ended by themselves because they hung, and were started anew.
    pub restarts: u64,
    /// Commits that reached their broker late.
    pub commits_delayed: u64,
    /// Commits whose connection was cut before or after they reached their broker.
    pub commits_cut: u64,
}

impl Faults {
    /// The sum of two runs.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            kills: self.kills + other.kills,
            terminations: self.terminations + other.terminations,
            freezes: self.freezes + other.freezes,
            zombies: self.zombies + other.zombies,
            broker_bounces: self.broker_bounces + other.broker_bounces,
            broker_freezes: self.broker_freezes + other.broker_freezes,
            network_faults: self.network_faults + other.network_faults,
            restarts: self.restarts + other.restarts,
            commits_delayed: self.commits_delayed + other.commits_delayed,
            commits_cut: self.commits_cut + other.commits_cut,
        }
    }
}

/// A process whose output goes to a file. Killed when this value is dropped.
#[derive(Debug)]
struct Process {
    role: Role,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(pid_of(&self.child)?, signal)
            .with_context(|| format!("signalling the {}", self.role))
    }

    /// Sends SIGTERM and waits for the end; a good one, unless what is in progress may be in the way of a fault.
    fn terminate(&mut self, in_peace: bool) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let what = format!("the {} to end", self.role);
        let status = eventually(&what, GRACE, || self.child.try_wait().transpose())??;
        ensure!(
            status.success() || (!in_peace && status.code() == Some(1)),
            "the {} ended with {status} after SIGTERM; its log is {}",
            self.role,
            self.log.display()
        );
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pipeline in a storm.
pub(super) struct Storm<'a> {
    fixture: &'a Fixture,
    cluster: Option<&'a mut Cluster>,
    mode: Mode,
    directory: &'a Path,
    processes: BTreeMap<Role, Process>,
    zombies: BTreeMap<Role, Process>,
    started: u32,
    pub(super) faults: Faults,
    /// What the services themselves did wrong.
    pub(super) misbehaviour: Vec<String>,
}

impl<'a> Storm<'a> {
    /// Starts the pipeline. Without a cluster of one's own, brokers and the network are left alone.
    pub(super) fn start(
        fixture: &'a Fixture,
        cluster: Option<&'a mut Cluster>,
        mode: Mode,
        directory: &'a Path,
    ) -> anyhow::Result<Self> {
        let mut storm = Self {
            fixture,
            cluster,
            mode,
            directory,
            processes: BTreeMap::new(),
            zombies: BTreeMap::new(),
            started: 0,
            faults: Faults::default(),
            misbehaviour: Vec::new(),
        };
        storm.start_classifiers()?;
        storm.launch(Role::Sink)?;
        Ok(storm)
    }

    pub(super) fn start_classifiers(&mut self) -> anyhow::Result<()> {
        (0..CLASSIFIERS).try_for_each(|number| self.launch(Role::Classifier(number)))
    }

    /// Carries out a plan to its end, then makes the cluster whole.
    pub(super) fn rage(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let began = Instant::now();
        for step in &plan.steps {
            thread::sleep(step.at.saturating_sub(began.elapsed()));
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
                self.end(role, false);
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
            Action::Bury(role) => drop(self.zombies.remove(&role)),
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
            Action::StopBroker { broker, at_once } => {
                self.faults.broker_bounces += 1;
                cluster.stop(broker, at_once);
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

    /// Takes a process off the pipeline, to be ended; one that ended by itself has misbehaved.
    fn take(&mut self, role: Role) -> Option<Process> {
        let mut process = self.processes.remove(&role)?;
        if let Ok(Some(status)) = process.child.try_wait() {
            let log = process.log.display();
            self.misbehaviour.push(format!(
                "the {role} ended by itself with {status}; its log is {log}"
            ));
        }
        Some(process)
    }

    /// Starts anew what has ended by itself, as a supervisor does. Hanging is the one good reason for it.
    pub(super) fn attend(&mut self) -> anyhow::Result<()> {
        let has_ended = |process: &mut Process| matches!(process.child.try_wait(), Ok(Some(_)));
        let ended: Vec<Role> = self
            .processes
            .iter_mut()
            .filter_map(|(role, process)| has_ended(process).then_some(*role))
            .collect();
        for role in ended {
            let log = self.processes.get(&role).map(|process| &process.log);
            let text = log.map(fs::read_to_string).transpose()?.unwrap_or_default();
            if text.contains(" hangs: the process must be restarted") {
                self.faults.restarts += 1;
                self.processes.remove(&role);
            } else {
                drop(self.take(role));
            }
            self.launch(role)?;
        }
        Ok(())
    }

    pub(super) fn kill_classifiers(&mut self) {
        for number in 0..CLASSIFIERS {
            self.faults.kills += 1;
            drop(self.take(Role::Classifier(number)));
        }
    }

    /// Ends the pipeline with SIGTERM.
    pub(super) fn terminate(&mut self) {
        let roles: Vec<Role> = self.processes.keys().copied().collect();
        for role in roles {
            self.end(role, true);
        }
    }

    fn end(&mut self, role: Role, in_peace: bool) {
        if let Some(mut process) = self.take(role)
            && let Err(error) = process.terminate(in_peace)
        {
            self.misbehaviour.push(format!("{error:#}"));
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
            .context("make builds the binaries")?;
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
