//! The actions of a plan.

use std::fmt;
use std::time::Duration;

use iris_contract::Topic;

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
    /// Changes a topic while it is used.
    Change(Change),
}

/// A change of a topic while it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives a topic more partitions.
    Grow {
        /// The input topic or a topic of outcomes.
        topic: Topic,
        /// The new number of partitions.
        partitions: i32,
    },
    /// Deletes the oldest input records of a partition, as retention does.
    Truncate {
        /// The partition.
        partition: i32,
        /// Which records are deleted.
        until: Until,
    },
}

/// The end of the records that a truncation deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// This percentage of the records whose outcomes are committed.
    Processed(u8),
    /// The end of the partition, so that records are deleted before they are read.
    End,
}

/// The interruption of a process while the input topic is deleted and recreated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// Nothing: it runs.
    None,
    /// It is killed before, and started again when the topic has new records.
    Kill,
    /// It is frozen before, and continues when the topic has new records.
    Freeze,
}

/// The deletion and recreation of the input topic, after the storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recreation {
    /// How long the topic does not exist.
    pub pause: Duration,
    /// The process that is interrupted meanwhile.
    pub role: Role,
    /// How it is interrupted.
    pub interruption: Interruption,
}

/// An action and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time since the start of the storm.
    pub at: Duration,
    /// The action.
    pub action: Action,
}
