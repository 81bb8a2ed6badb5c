//! A running process and its output.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::own_group::{Guard, spawn};
use crate::wait::eventually;

/// The number of output lines in the error of a failed process.
const LAST_LINES: usize = 15;

/// A running process in its own process group. It is killed when this value is dropped, and receives SIGTERM if the process
/// that started it ends before that.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    /// Kept until the process has ended.
    guard: Option<Guard>,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Running {
    /// Starts a process. With `echo`, its output is also printed, each line after `name`.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(name: &str, mut command: Command, echo: bool) -> anyhow::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (mut child, guard) = spawn(&mut command)
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let pipes: [Option<Box<dyn Read + Send>>; 2] = [
            child
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        let readers = pipes
            .into_iter()
            .flatten()
            .map(|pipe| {
                let (lines, name) = (Arc::clone(&lines), name.to_owned());
                thread::spawn(move || {
                    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                        if echo {
                            println!("{name:>18} | {line}");
                        }
                        lines.lock().push(line);
                    }
                })
            })
            .collect();
        Ok(Self {
            name: name.to_owned(),
            child,
            guard: Some(guard),
            lines,
            readers,
        })
    }

    /// Returns the lines of standard output and standard error so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// Waits for a line that contains a text. Returns it.
    ///
    /// # Errors
    /// If there is none within `timeout`; with the lines so far.
    pub fn line_with(&self, text: &str, timeout: Duration) -> anyhow::Result<String> {
        let line = format!("{} to print `{text}`", self.name);
        eventually(&line, timeout, || {
            self.lines().into_iter().find(|line| line.contains(text))
        })
        .with_context(|| self.lines().join("\n"))
    }

    /// Returns whether the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid()?, signal).with_context(|| format!("signalling {}", self.name))
    }

    /// Returns the process id.
    ///
    /// # Errors
    /// If the system's number is invalid.
    pub fn pid(&self) -> anyhow::Result<Pid> {
        pid_of(&self.child)
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If the process does not end in time.
    pub fn terminate(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(timeout)
    }

    /// Waits for the end and for all output.
    ///
    /// # Errors
    /// If the process does not end in time; with the lines so far.
    pub fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let end = format!("{} to end", self.name);
        let ended = eventually(&end, timeout, || self.child.try_wait().transpose());
        let status = ended.with_context(|| self.lines().join("\n"))??;
        // Its process id may be reused from now on.
        self.guard = None;
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ok(status)
    }

    /// Waits for the end, which must be a success.
    ///
    /// # Errors
    /// If the process does not end in time or fails; with its name and its last lines.
    pub fn finish(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let status = self.wait(timeout)?;
        ensure!(
            status.success(),
            "{} exited with {status}; its last lines:\n{}",
            self.name,
            self.last_lines()
        );
        Ok(())
    }

    /// Returns the process's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its last lines, indented.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let lines = self.lines();
        let last = lines.len().saturating_sub(LAST_LINES);
        let indented: Vec<String> = lines[last..]
            .iter()
            .map(|line| format!("    {line}"))
            .collect();
        indented.join("\n")
    }
}

/// Returns the process id of a child.
pub(crate) fn pid_of(child: &Child) -> anyhow::Result<Pid> {
    let id = i32::try_from(child.id())?;
    Pid::from_raw(id).context("a process id")
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test shows what its processes said.
        if thread::panicking() {
            let state = match self.child.try_wait() {
                Ok(Some(status)) => format!("has ended with {status}"),
                _ => "is running".to_owned(),
            };
            println!(
                "{} {state}; its last lines:\n{}",
                self.name,
                self.last_lines()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
