//! The processor time of the machine and of the brokers on it.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use procfs::process::{Process, all_processes};

/// The brokers' processes.
#[derive(Debug)]
pub struct BrokerProcesses(Vec<Process>);

impl BrokerProcesses {
    /// Finds the brokers whose data is below `directory`. There are none if the broker is not a local process.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn find(directory: &Path) -> anyhow::Result<Self> {
        let is_broker = |process: &Process| {
            let arguments = process.cmdline().unwrap_or_default();
            let settings = arguments.last().map(Path::new);
            settings.is_some_and(|file| {
                file.starts_with(directory) && file.ends_with("kafka/server.properties")
            })
        };
        let processes = all_processes()?.filter_map(Result::ok);
        Ok(Self(processes.filter(is_broker).collect()))
    }

    /// Returns the processor time that the brokers have used, in seconds.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let of = |process: &Process| process.stat().map_or(0, |stat| stat.utime + stat.stime);
        self.0.iter().map(of).sum::<u64>() as f64 / procfs::ticks_per_second() as f64
    }
}

/// The processor time used until a moment, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    at: Instant,
    busy: f64,
    brokers: f64,
}

/// The use of processors between two moments, in cores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    /// The time between the moments, in seconds.
    pub seconds: f64,
    /// The cores that everything on the machine used.
    pub busy_cores: f64,
    /// The cores that the brokers used.
    pub broker_cores: f64,
}

impl Moment {
    /// Reads the clocks.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn now(brokers: &BrokerProcesses) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        Ok(Self {
            at: Instant::now(),
            busy: busy_ticks(&stat).context("/proc/stat has no processor time")? as f64
                / procfs::ticks_per_second() as f64,
            brokers: brokers.cpu_seconds(),
        })
    }

    /// Returns the use of processors since an earlier moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> Between {
        let seconds = (self.at - earlier.at).as_secs_f64();
        Between {
            seconds,
            busy_cores: (self.busy - earlier.busy) / seconds,
            broker_cores: (self.brokers - earlier.brokers) / seconds,
        }
    }
}

/// Returns the ticks during which processors were not idle: all but the fourth and the fifth column. Time that the hypervisor
/// gave to other machines counts as busy.
fn busy_ticks(stat: &str) -> Option<u64> {
    // The last two columns, of guests, are part of the first two.
    let columns = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = columns
        .split_whitespace()
        .take(8)
        .map_while(|column| column.parse().ok())
        .collect();
    let idle: u64 = ticks.get(3)? + ticks.get(4)?;
    Some(ticks.iter().sum::<u64>() - idle)
}

/// The resource that limits a load.
#[must_use]
pub fn limit(offered: f64, carried: f64, busy_cores: f64, cores: f64) -> &'static str {
    const CARRIED: f64 = 0.95;
    const BUSY: f64 = 0.9;
    if carried >= CARRIED * offered {
        "none: the offered load is carried"
    } else if busy_cores >= BUSY * cores {
        "the machine's processors"
    } else {
        "waiting for the coordinators"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_waiting_for_disks_are_not_busy() {
        let stat = "cpu  10 1 5 100 20 2 3 4 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(25));
        assert_eq!(busy_ticks("intr 1 2"), None);
    }

    #[test]
    fn a_load_that_is_not_carried_is_limited_by_processors_or_by_waiting() {
        let limit = |carried, busy| limit(100.0, carried, busy, 2.0);
        assert_eq!(limit(96.0, 2.0), "none: the offered load is carried");
        assert_eq!(limit(90.0, 1.9), "the machine's processors");
        assert_eq!(limit(90.0, 1.0), "waiting for the coordinators");
    }

    #[test]
    fn the_use_between_two_moments_is_in_cores() {
        let at = Instant::now();
        let earlier = Moment {
            at,
            busy: 10.0,
            brokers: 3.0,
        };
        let later = Moment {
            at: at + std::time::Duration::from_secs(4),
            busy: 16.0,
            brokers: 5.0,
        };
        let between = later.since(earlier);
        assert_eq!((between.busy_cores, between.broker_cores), (1.5, 0.5));
    }
}
