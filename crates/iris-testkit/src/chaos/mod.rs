//! Runs the pipeline under faults and checks its guarantees.
//!
//! In one run, a storm, records are sent, one in a hundred of them malformed, while processes are killed, frozen and replaced,
//! brokers are restarted and frozen, connections are slowed and cut, and commits are delayed and cut off. Then the
//! [ledger](crate::ledger) compares the output with the input.
//!
//! [`Plan`] draws the faults from a seed, `storm` injects them, [`run`] runs all of it and returns a [`Report`].

mod observer;
mod plan;
mod records;
mod report;
mod run;
mod storm;
mod target;
mod traffic;

pub use plan::{Action, Mode, Plan, Role, SESSION_TIMEOUT, STORM, Step};
pub use report::Report;
pub use run::run;
pub use storm::Faults;
pub use target::Target;
