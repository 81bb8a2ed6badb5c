//! A process of the pipeline under faults.

use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Signal, kill_process};

use super::action::Role;
use crate::running::pid_of;
use crate::wait::eventually;

/// How long a process may take to exit after SIGTERM: longer than its default grace period.
const GRACE: Duration = Duration::from_secs(15);

/// A process whose output goes to a file. It is killed when this value is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) child: Child,
    pub(super) log: PathBuf,
}

impl Process {
    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(pid_of(&self.child)?, signal)
            .with_context(|| format!("signalling the {}", self.role))
    }

    /// Sends SIGTERM and waits for the exit, which must be a success; during faults, exit code 1 is accepted, too.
    pub(super) fn terminate(&mut self, during_faults: bool) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let exit = format!("the {} to exit", self.role);
        let status = eventually(&exit, GRACE, || self.child.try_wait().transpose())??;
        ensure!(
            status.success() || (during_faults && status.code() == Some(1)),
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
