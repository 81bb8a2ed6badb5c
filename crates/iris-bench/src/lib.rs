//! Measures the pipeline, and compares it with the client's limits and with other systems. Development only.
//!
//! A run is a process that reads a backlog to its end ([`throughput`]), or works under a constant load ([`latency`]).
//! [`contender`] starts the processes, [`plan`] selects what is measured, [`testbed`] provides the broker and its topics, and
//! [`summary`] has the results. [`scale`] measures how each of them grows with the deployment.
//!
//! Runs of different contenders alternate, so that a change in the machine's speed affects all of them. Only ratios within one
//! session are meaningful; figures of different days are not compared.

pub mod contender;
pub mod dashboard;
pub mod latency;
pub mod output;
pub mod plan;
pub mod plot;
pub mod process;
pub mod scale;
pub mod summary;
mod swapping;
pub mod testbed;
pub mod throughput;
