//! Runs the pipeline under faults and checks its guarantees.
//!
//! In one run, a storm, records are sent, one in a hundred of them malformed, while processes are killed, frozen and replaced,
//! brokers are restarted and frozen, connections are slowed and cut, and commits are delayed and cut off. Meanwhile topics get
//! more partitions, and the oldest input records are deleted; after the storm the input topic is deleted and recreated. Then
//! the [ledger](crate::ledger) compares the output with the input.
//!
//! [`Plan`] draws the faults from a seed, `storm` injects them, [`run()`] runs a storm and returns a [`Report`].

mod action;
mod audit;
mod changes;
mod faults;
mod groups;
mod input;
mod losses;
mod observer;
mod partitions;
mod plan;
mod process;
mod records;
mod report;
mod run;
mod storm;
mod target;
mod traffic;

pub use action::{Action, Change, Interruption, Mode, Recreation, Role, Step, Until};
pub use faults::Faults;
pub use plan::{Plan, SESSION_TIMEOUT, STORM};
pub use report::Report;
pub use run::run;
pub use target::Target;
