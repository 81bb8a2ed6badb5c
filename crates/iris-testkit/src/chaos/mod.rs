//! Runs the pipeline under faults and checks its guarantees.
//!
//! In one run, a storm, records are sent, one in a hundred of them malformed, while processes are killed, frozen and replaced,
//! brokers are restarted and frozen, connections are slowed and cut, and commits are delayed and cut off. Then the
//! [ledger](crate::ledger) compares the output with the input.
//!
//! [`Plan`] draws the faults from a seed, `storm` injects them, [`run()`] runs a storm and returns a [`Report`].

mod action;
mod faults;
mod observer;
mod plan;
mod process;
mod records;
mod report;
mod run;
mod storm;
mod target;
mod traffic;

pub use action::{Action, Mode, Role, Step};
pub use faults::Faults;
pub use plan::{Plan, SESSION_TIMEOUT, STORM};
pub use report::Report;
pub use run::run;
pub use target::Target;
