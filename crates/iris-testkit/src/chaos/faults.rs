//! Counts the injected faults.

use serde::Serialize;

/// The number of injected faults, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Processes of the pipeline killed with SIGKILL.
    pub kills: u64,
    /// Processes terminated with SIGTERM.
    pub terminations: u64,
    /// Processes frozen for longer than the session timeout.
    pub freezes: u64,
    /// Frozen processes that had been replaced when they continued.
    pub zombies: u64,
    /// Brokers stopped and started again.
    pub broker_bounces: u64,
    /// Brokers frozen and continued.
    pub broker_freezes: u64,
    /// Periods in which a broker was cut off from clients, or slow.
    pub network_faults: u64,
    /// Processes that exited because they hung, and were restarted.
    pub restarts: u64,
    /// Commits that reached the broker late.
    pub commits_delayed: u64,
    /// Commits whose connection was cut before or after they reached the broker.
    pub commits_cut: u64,
    /// Topics that were given more partitions.
    pub growths: u64,
    /// Partitions of the input topic whose oldest records were deleted.
    pub truncations: u64,
    /// Input topics that were deleted and recreated.
    pub recreations: u64,
}

impl Faults {
    /// Returns the sums of two storms.
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
            growths: self.growths + other.growths,
            truncations: self.truncations + other.truncations,
            recreations: self.recreations + other.recreations,
        }
    }
}
