//! Child processes in process groups of their own that do not outlive this process.
//!
//! A terminal sends Ctrl-C to every process of the foreground group. A child in another group does not receive it, so this
//! process decides when the child is stopped, and the child receives one signal instead of two.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Waits until standard input ends, because the process at its other end has ended, and then terminates the group `$0`.
const GUARD: &str = r#"read -r _ || kill -s TERM -- "-$0""#;

/// Starts a command as the leader of a process group, with a guard for the group.
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

/// Sends SIGTERM to a process group if this process ends without dropping the guard, even if it is killed.
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
        // Waiting without killing would close its standard input.
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

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[test]
    fn a_child_is_not_in_this_process_group() {
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
    fn a_group_is_terminated_when_the_process_with_the_guard_ends() {
        let (mut child, mut guard) = spawn(Command::new("sleep").arg("60")).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        // The system closes the pipe when this process ends, for whatever reason.
        drop(guard.0.stdin.take());
        let ended = eventually("the child to end", TIMEOUT, || child.try_wait().unwrap());
        assert!(!ended.unwrap().success());
    }

    #[test]
    fn dropping_the_guard_does_not_affect_the_child() {
        let (mut child, guard) = spawn(
            Command::new("sh")
                .args(["-c", "read -r _"])
                .stdin(Stdio::piped()),
        )
        .unwrap();
        drop(guard);
        drop(child.stdin.take());
        // `read` at the end of the input fails with 1; a signal would show as another status.
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
