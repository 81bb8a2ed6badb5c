//! The actions of a plan.

use std::fmt;
use std::time::Duration;

use crate::proxy::{CommitFault, Network};

/// How the classifiers share the partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As members of one consumer group.
    Group,
    /// Each with its own list of partitions, as in the paper.
    Listed,
}

impl Mode {
    /// Returns the name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Listed => "listed",
        }
    }
}

/// A process of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// One of the classifiers.
    Classifier(usize),
    /// The feedback sink.
    Sink,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classifier(number) => write!(f, "classifier {number}"),
            Self::Sink => f.write_str("sink"),
        }
    }
}

/// One action of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Kills a process with SIGKILL.
    Kill(Role),
    /// Sends SIGTERM; the process must exit with success.
    Terminate(Role),
    /// Starts a role's process.
    Start(Role),
    /// Sends SIGSTOP, for longer than the session timeout.
    Freeze(Role),
    /// Starts another process with the same name in place of the frozen one.
    Replace(Role),
    /// Sends SIGCONT. A process that was replaced is a zombie now.
    Thaw(Role),
    /// Kills the role's zombie with SIGKILL.
    KillZombie(Role),
    /// Stops a broker.
    StopBroker {
        /// Its number.
        broker: usize,
        /// Whether with SIGKILL.
        by_kill: bool,
    },
    /// Starts a stopped broker.
    StartBroker(usize),
    /// Sends SIGSTOP to a broker.
    FreezeBroker(usize),
    /// Sends SIGCONT to a broker.
    ThawBroker(usize),
    /// Changes the network between clients and a broker.
    Network(usize, Network),
    /// Lets the next commit fail.
    Commit(CommitFault),
}

/// An action and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time since the start of the storm.
    pub at: Duration,
    /// The action.
    pub action: Action,
}
