//! How fast the pipeline is: beside what the client can do at most, and beside other ways to do the same work.
//!
//! A run is a process from its start to the end of a backlog ([`throughput`]), or under a load that does not wait for it
//! ([`latency`]). [`contender`] says who runs and how, [`plan`] what is measured, [`summary`] what came of it.
//!
//! Runs of different contenders alternate, so that a machine that becomes slower becomes slower for all. Only ratios of
//! one session mean anything; nothing here compares with figures of another day.

pub mod contender;
pub mod dashboard;
pub mod ground;
pub mod latency;
pub mod plan;
pub mod plot;
pub mod process;
pub mod summary;
pub mod throughput;
