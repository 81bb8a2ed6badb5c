//! Child processes that lead process groups of their own and do not outlive this process.
//!
//! A terminal sends Ctrl-C to every process of the foreground group. A child in a group of its own does not get it, so that
//! this process decides when the child is stopped, and the child gets one signal, not two.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Waits until standard input ends, which is when the process at its other end does, and then ends the group `$0`.
const GUARD: &str = r#"read -r _ || kill -s TERM -- "-$0""#;

/// Starts a command as the leader of a process group, with a guard over the group.
///
/// # Errors
/// If the command or its guard cannot be started.
pub(crate) fn spawn(command: &mut Command) -> io::Result<(Child, Guard)> {
    let mut child = command.process_group(0).spawn()?;
    match Guard::over(&child) {
        Ok(guard) => Ok((child, guard)),
        Err(problem) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(problem)
        }
    }
}

/// Sends SIGTERM to a process group when this process ends without dropping the guard, even if it is killed.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    fn over(leader: &Child) -> io::Result<Self> {
        let guard = Command::new("sh")
            .args(["-c", GUARD, &leader.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self(guard))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Waiting alone would close its standard input.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::getpgrp;

    use super::*;
    use crate::wait::eventually;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_child_is_out_of_reach_of_this_groups_signals() {
        let (mut child, _guard) = spawn(Command::new("sleep").arg("60")).unwrap();
        let group = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        // After the name in brackets: state, parent, group.
        let group = group.rsplit(')').next().unwrap().split(' ').nth(3).unwrap();
        assert_eq!(group, child.id().to_string());
        assert_ne!(group, getpgrp().as_raw_nonzero().to_string());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_group_is_ended_when_the_process_that_holds_the_guard_is_gone() {
        let (mut child, mut guard) = spawn(Command::new("sleep").arg("60")).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        // The end of this process closes the pipe, whatever ended it.
        drop(guard.0.stdin.take());
        let ended = eventually("the child to end", PATIENCE, || child.try_wait().unwrap());
        assert!(!ended.unwrap().success());
    }

    #[test]
    fn a_guard_that_is_dropped_leaves_the_child_alone() {
        let (mut child, guard) = spawn(
            Command::new("sh")
                .args(["-c", "read -r _"])
                .stdin(Stdio::piped()),
        )
        .unwrap();
        drop(guard);
        drop(child.stdin.take());
        // A signal would show in how it ended: `read` at the end of input fails with 1.
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
