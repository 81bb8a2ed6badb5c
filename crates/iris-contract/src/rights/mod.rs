//! The rights on the cluster that each service needs: the least set with which it works.
//!
//! [`TABLE`] is the only list. `iris-admin acls` and the table in `docs/SECURITY.md` are generated from it.

mod names;
mod table;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::topics::Topics;
pub use names::{
    CLASSIFIER_GROUP, Names, SINK_GROUP, redrive_transactional_id, registry_transactional_id,
    single_partition_group, worker_transactional_id_prefix,
};
pub use table::{Condition, On, Row, TABLE};

/// A service, or some of the commands of `iris-admin`: each can have a user of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `iris-producer`.
    Producer,
    /// `iris-classifier`.
    Classifier,
    /// `iris-feedback-sink`.
    FeedbackSink,
    /// `iris-trainer`.
    Trainer,
    /// `iris-dashboard`.
    Dashboard,
    /// `iris-admin topics`.
    AdminTopics,
    /// `iris-admin models`.
    AdminModels,
    /// `iris-admin redrive`.
    AdminRedrive,
    /// `iris-admin transactions`.
    AdminTransactions,
}

impl Role {
    /// All roles, in the order of a record's path.
    pub const ALL: [Self; 9] = [
        Self::Producer,
        Self::Classifier,
        Self::FeedbackSink,
        Self::Trainer,
        Self::Dashboard,
        Self::AdminTopics,
        Self::AdminModels,
        Self::AdminRedrive,
        Self::AdminTransactions,
    ];

    /// Returns the role's name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Classifier => "classifier",
            Self::FeedbackSink => "feedback-sink",
            Self::Trainer => "trainer",
            Self::Dashboard => "dashboard",
            Self::AdminTopics => "admin-topics",
            Self::AdminModels => "admin-models",
            Self::AdminRedrive => "admin-redrive",
            Self::AdminTransactions => "admin-transactions",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_prefix("iris-").unwrap_or(text);
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("allowed are {names}")
        })
    }
}

/// An operation as Kafka's access control lists name it. `Read`, `Write`, `Delete` and `Alter` include `Describe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Operation {
    /// Reads records, or takes part in a consumer group.
    Read,
    /// Writes records, or uses a transactional id.
    Write,
    /// Asks for the state of a topic or a group.
    Describe,
    /// Creates a topic.
    Create,
    /// Deletes a topic.
    Delete,
    /// Adds partitions to a topic, or writes transaction markers on a cluster.
    Alter,
}

impl Operation {
    /// Returns the operation's name in Kafka's tools.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Describe => "Describe",
            Self::Create => "Create",
            Self::Delete => "Delete",
            Self::Alter => "Alter",
        }
    }
}

/// The kind of a resource as Kafka's access control lists name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceKind {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// A transactional id.
    TransactionalId,
    /// The cluster.
    Cluster,
}

/// Whether a resource's name is the whole name or its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Pattern {
    /// The whole name.
    Literal,
    /// The beginning of the name.
    Prefix,
}

/// A right with the names of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Right {
    /// Who needs it.
    #[serde(skip)]
    pub role: Role,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The resource's name, or the beginning of it.
    pub name: String,
    /// Whether the name is whole.
    pub pattern: Pattern,
    /// The operation.
    pub operation: Operation,
    /// The purpose of the right.
    #[serde(rename = "purpose")]
    pub why: &'static str,
}

/// Returns the rights of a role with these names.
#[must_use]
pub fn rights(role: Role, topics: &Topics, names: &Names) -> Vec<Right> {
    let rows = TABLE.iter().filter(|row| row.role == role);
    let rows = rows.filter(|row| names.meets(row.condition));
    rows.flat_map(|row| {
        let resources = row.on.resources(topics, names);
        resources.into_iter().map(|(kind, name, pattern)| Right {
            role,
            kind,
            name,
            pattern,
            operation: row.operation,
            why: row.why,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests;
