//! The system's limits that many workers need.

use anyhow::ensure;
use rustix::process::{Resource, getrlimit};

/// The open files that a worker needs in its own process: its connections, and pipes between the client's threads.
const FILES_PER_WORKER: u64 = 40;

/// The open files that a broker needs for a worker: its connections, and the files of its partitions in six topics.
const BROKER_FILES_PER_WORKER: u64 = 16;

/// The open files that a process needs in any case.
const BASE_FILES: u64 = 1_000;

/// The threads that a worker needs, those of the clients included.
const THREADS_PER_WORKER: u64 = 20;

/// Checks that this process's limits, which brokers and workers inherit, are sufficient for a number of workers.
///
/// # Errors
/// If a limit is too low; with the command that shows it.
pub fn check(workers: usize, processes: usize) -> anyhow::Result<()> {
    let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
    check_against(
        workers as u64,
        processes as u64,
        limit(Resource::Nofile),
        limit(Resource::Nproc),
    )
}

fn check_against(workers: u64, processes: u64, files: u64, threads: u64) -> anyhow::Result<()> {
    let in_process = FILES_PER_WORKER * workers.div_ceil(processes.max(1));
    let needed = BASE_FILES + in_process.max(BROKER_FILES_PER_WORKER * workers);
    ensure!(
        files >= needed,
        "{workers} workers need {needed} open files in a process, and `ulimit -n` is {files}: raise it, or set SCALE_WORKERS to \
         fewer workers"
    );
    let needed = THREADS_PER_WORKER * workers + 1_000;
    ensure!(
        threads >= needed,
        "{workers} workers need {needed} threads, and `ulimit -u` is {threads}: raise it, or set SCALE_WORKERS to fewer workers"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_too_low_are_refused_with_the_command_that_shows_them() {
        check_against(1_000, 4, 20_000, 30_000).unwrap();
        let error = |files, threads| {
            let refused = check_against(1_000, 4, files, threads);
            refused.unwrap_err().to_string()
        };
        assert_eq!(
            error(1_024, 30_000),
            "1000 workers need 17000 open files in a process, and `ulimit -n` is 1024: raise it, or set SCALE_WORKERS to fewer \
             workers"
        );
        assert_eq!(
            error(20_000, 4_096),
            "1000 workers need 21000 threads, and `ulimit -u` is 4096: raise it, or set SCALE_WORKERS to fewer workers"
        );
    }
}
