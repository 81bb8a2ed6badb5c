//! A contender's process: how much memory and processor time it takes.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use iris_testkit::eventually;
use procfs::process::Process;
use serde::Serialize;

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// The most memory that was resident at a time, in bytes.
    pub peak_rss_bytes: u64,
    /// Processor time, user and system, in seconds.
    pub cpu_seconds: f64,
}

/// A running contender; its output goes to files. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Measured {
    child: Child,
    process: Process,
    usage: Usage,
    /// When it was started.
    pub started: Instant,
}

impl Measured {
    /// Starts a process, with standard output in `NAME.out` and standard error in `NAME.err` below `directory`.
    ///
    /// # Errors
    /// If it cannot be started.
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

    /// What it has taken until now or, if it has ended, until it was last asked.
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

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends by itself. Returns what it has taken.
    ///
    /// # Errors
    /// If it ends badly, or not in time.
    pub fn finish(&mut self, timeout: Duration) -> anyhow::Result<Usage> {
        let status = eventually("the process to end", timeout, || {
            self.usage();
            self.child.try_wait().transpose()
        })??;
        if !status.success() {
            bail!("the process ended with {status}");
        }
        Ok(self.usage)
    }

    /// Ends it in its own time, if it still runs. Returns what it has taken.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn terminate(&mut self) -> anyhow::Result<Usage> {
        let usage = self.usage();
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id())?)
            .context("a process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        eventually("the process to end", GRACE, || {
            self.child.try_wait().transpose()
        })??;
        Ok(usage)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
