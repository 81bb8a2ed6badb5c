//! A contender's process, and the memory and processor time that it uses.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use iris_testkit::eventually;
use procfs::process::Process;
use serde::Serialize;

/// How long a process may take to exit after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// The resources that a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// The peak resident memory, in bytes.
    pub peak_rss_bytes: u64,
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: f64,
}

/// A running contender whose output goes to files. It is killed when this value is dropped.
#[derive(Debug)]
pub struct MeasuredProcess {
    child: Child,
    process: Process,
    usage: Usage,
    /// The time of its start.
    pub started: Instant,
}

impl MeasuredProcess {
    /// Starts a process that writes its standard output to `NAME.out` and its standard error to `NAME.err` in `directory`.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> anyhow::Result<Self> {
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(directory.join(format!("{name}.out")))?)
            .stderr(File::create(directory.join(format!("{name}.err")))?)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let process = Process::new(i32::try_from(child.id())?)?;
        Ok(Self {
            child,
            process,
            usage: Usage::default(),
            started,
        })
    }

    /// Returns the resources used until now or, if the process has ended, at the previous call.
    pub fn usage(&mut self) -> Usage {
        let seen = || -> procfs::ProcResult<Usage> {
            let stat = self.process.stat()?;
            let ticks = stat.utime + stat.stime;
            let peak = self.process.status()?.vmhwm.unwrap_or(0);
            Ok(Usage {
                peak_rss_bytes: peak * 1024,
                cpu_seconds: ticks as f64 / procfs::ticks_per_second() as f64,
            })
        };
        if let Ok(usage) = seen()
            && usage.peak_rss_bytes > 0
        {
            self.usage = usage;
        }
        self.usage
    }

    /// Returns the resident memory, in bytes.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        Ok(self.process.status()?.vmrss.unwrap_or(0) * 1024)
    }

    /// Returns the exit status, if the process has ended.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until the process exits by itself. Returns the resources used.
    ///
    /// # Errors
    /// If the process fails, or does not exit in time.
    pub fn finish(&mut self, timeout: Duration) -> anyhow::Result<Usage> {
        let status = eventually("the process to end", timeout, || {
            self.usage();
            self.child.try_wait().transpose()
        })??;
        if !status.success() {
            bail!("the process exited with {status}");
        }
        Ok(self.usage)
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn request_end(&self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?)
            .context("a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        Ok(())
    }

    /// Waits for the exit after [`request_end`](Self::request_end).
    ///
    /// # Errors
    /// If the process does not exit in time.
    pub fn await_end(&mut self) -> anyhow::Result<()> {
        eventually("the process to end", GRACE, || {
            self.child.try_wait().transpose()
        })??;
        Ok(())
    }

    /// Sends SIGTERM and waits for the exit. Returns the resources used.
    ///
    /// # Errors
    /// If the process does not exit in time.
    pub fn terminate(&mut self) -> anyhow::Result<Usage> {
        let usage = self.usage();
        self.request_end()?;
        self.await_end()?;
        Ok(usage)
    }
}

impl Drop for MeasuredProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
