//! A process of the pipeline under faults.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Signal, kill_process};

use super::action::Role;
use crate::running::pid_of;
use crate::wait::eventually;

/// How long a process may take to exit after SIGTERM: longer than its default grace period.
const GRACE: Duration = Duration::from_secs(15);

/// A text in the log of a process that ended so that its supervisor restarts it: a call hangs, or a topic does not exist or
/// has fewer partitions than the input topic.
const RESTARTS: [&str; 3] = [" hangs", " are needed; ", ": it does not exist; "];

/// A process whose output goes to a file. It is killed when this value is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) child: Child,
    pub(super) log: PathBuf,
    /// The port of its metrics.
    pub(super) port: u16,
    /// The number of the input topic's partitions when it was started.
    pub(super) partitions: i32,
}

/// The end of a process that nobody asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It is to be restarted.
    Restart,
    /// It failed with this status.
    Failure(ExitStatus),
}

impl Process {
    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(pid_of(&self.child)?, signal)
            .with_context(|| format!("signalling the {}", self.role))
    }

    /// Returns how the process has ended, if it has.
    pub(super) fn exit(&mut self) -> Option<Exit> {
        let status = self.child.try_wait().ok()??;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let restarts = RESTARTS.iter().any(|text| log.contains(text));
        Some(if restarts {
            Exit::Restart
        } else {
            Exit::Failure(status)
        })
    }

    /// Returns its name: that of its log.
    pub(super) fn name(&self) -> String {
        let name = self.log.file_stem().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Returns the transactional ids in its log.
    pub(super) fn transactional_ids(&self) -> anyhow::Result<Vec<String>> {
        let log = fs::read_to_string(&self.log)?;
        let id = |line: &str| Some(line.split_once(", writing as ")?.1.trim().to_owned());
        Ok(log.lines().filter_map(id).collect())
    }

    /// Sends SIGTERM and waits for the exit, which must be a success. During faults, exit code 1 is accepted, too, and the end
    /// of a process that was just started and does not handle the signal yet: it has logged nothing.
    pub(super) fn terminate(&mut self, during_faults: bool) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let exit = format!("the {} to exit", self.role);
        let status = eventually(&exit, GRACE, || self.child.try_wait().transpose())??;
        let has_started = || fs::metadata(&self.log).is_ok_and(|log| log.len() > 0);
        let is_ended_by_faults = status.code() == Some(1)
            || (status.signal() == Some(Signal::TERM.as_raw()) && !has_started());
        ensure!(
            status.success() || (during_faults && is_ended_by_faults),
            "the {} exited with {status} after SIGTERM; its log is {}",
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
