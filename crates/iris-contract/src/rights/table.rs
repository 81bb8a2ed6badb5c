//! The table of rights.

use super::Operation::{self, Alter, Create, Delete, Describe, Read, Write};
use super::Role;
use crate::topics::Topic;

/// When a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// With `classifier.publish_predictions`.
    PublishesPredictions,
    /// With `classifier.publish_summaries`.
    PublishesSummaries,
}

/// The resource that a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A topic.
    Topic(Topic),
    /// Each topic of the pipeline.
    EveryTopic,
    /// The classifiers' consumer group, or those of the listed partitions.
    ClassifierGroups,
    /// The sink's consumer group.
    SinkGroup,
    /// The transactional ids of the classifiers' workers.
    WorkerIds,
    /// The transactional id of the registry's writers.
    RegistryId,
    /// The transactional id of `iris-admin redrive`.
    RedriveId,
    /// Every transactional id.
    EveryId,
    /// The topic in which coordinators keep transactions.
    TransactionLog,
    /// The cluster.
    Cluster,
}

/// A right that a role needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who needs it.
    pub role: Role,
    /// The operation.
    pub operation: Operation,
    /// The resource.
    pub on: On,
    /// The purpose of the right.
    pub why: &'static str,
    /// When it is needed.
    pub condition: Condition,
}

const fn row(role: Role, operation: Operation, on: On, why: &'static str) -> Row {
    Row {
        role,
        operation,
        on,
        why,
        condition: Condition::Always,
    }
}

impl Row {
    const fn if_(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }
}

const fn topic(role: Role, operation: Operation, topic: Topic, why: &'static str) -> Row {
    row(role, operation, On::Topic(topic), why)
}

/// Every right that a service or a command of `iris-admin` needs. `Read`, `Write`, `Delete` and `Alter`
/// include `Describe`.
pub const TABLE: &[Row] = &[
    topic(Role::Producer, Write, Topic::Input, "sends the records"),
    topic(
        Role::Classifier,
        Read,
        Topic::Input,
        "reads the records to classify",
    ),
    topic(
        Role::Classifier,
        Read,
        Topic::Models,
        "reads the model to serve, and follows the champion",
    ),
    topic(
        Role::Classifier,
        Write,
        Topic::Predictions,
        "writes predictions",
    )
    .if_(Condition::PublishesPredictions),
    topic(
        Role::Classifier,
        Write,
        Topic::Feedback,
        "writes mispredictions",
    ),
    topic(
        Role::Classifier,
        Write,
        Topic::DeadLetters,
        "writes records that cannot be classified",
    ),
    topic(
        Role::Classifier,
        Write,
        Topic::Summaries,
        "writes the counts of each transaction",
    )
    .if_(Condition::PublishesSummaries),
    row(
        Role::Classifier,
        Read,
        On::ClassifierGroups,
        "shares the partitions, and commits offsets",
    ),
    row(
        Role::Classifier,
        Write,
        On::WorkerIds,
        "writes in transactions",
    ),
    topic(
        Role::FeedbackSink,
        Read,
        Topic::Feedback,
        "reads the feedback to store",
    ),
    row(
        Role::FeedbackSink,
        Read,
        On::SinkGroup,
        "shares the partitions, and commits offsets",
    ),
    topic(
        Role::Trainer,
        Read,
        Topic::Predictions,
        "learns from predictions",
    ),
    topic(Role::Trainer, Read, Topic::Labels, "learns from labels"),
    topic(
        Role::Trainer,
        Read,
        Topic::Models,
        "reads models and decisions",
    ),
    topic(
        Role::Trainer,
        Read,
        Topic::TrainerState,
        "resumes from its state",
    ),
    topic(
        Role::Trainer,
        Write,
        Topic::Feedback,
        "writes mispredictions whose label came late",
    ),
    topic(
        Role::Trainer,
        Write,
        Topic::Models,
        "writes challengers and decisions",
    ),
    topic(
        Role::Trainer,
        Write,
        Topic::TrainerState,
        "stores its state",
    ),
    row(
        Role::Trainer,
        Write,
        On::RegistryId,
        "writes decisions and its state in one transaction",
    ),
    topic(
        Role::Dashboard,
        Read,
        Topic::Summaries,
        "shows rates and confusion matrices",
    ),
    topic(
        Role::Dashboard,
        Read,
        Topic::Predictions,
        "shows the newest predictions",
    ),
    topic(
        Role::Dashboard,
        Read,
        Topic::Feedback,
        "shows the newest mispredictions",
    ),
    topic(
        Role::Dashboard,
        Read,
        Topic::DeadLetters,
        "shows the newest dead letters",
    ),
    topic(
        Role::Dashboard,
        Read,
        Topic::Models,
        "shows models and decisions",
    ),
    topic(
        Role::Dashboard,
        Read,
        Topic::TrainerState,
        "shows the figures of the learning loop",
    ),
    topic(Role::Dashboard, Describe, Topic::Input, "shows the lag"),
    row(
        Role::Dashboard,
        Describe,
        On::ClassifierGroups,
        "shows the lag at the end of a partition",
    ),
    row(Role::AdminTopics, Create, On::EveryTopic, "`topics create`"),
    topic(
        Role::AdminTopics,
        Alter,
        Topic::Summaries,
        "`topics create`, to add partitions to a topic of an earlier version",
    ),
    row(
        Role::AdminTopics,
        Delete,
        On::EveryTopic,
        "`topics delete`; the other commands need only `Describe`, which it includes",
    ),
    topic(Role::AdminModels, Read, Topic::Models, "all commands"),
    topic(
        Role::AdminModels,
        Write,
        Topic::Models,
        "`models adopt`, `import`, `promote`, `rollback` and `prune`",
    ),
    row(
        Role::AdminModels,
        Write,
        On::RegistryId,
        "`models adopt`, `import`, `promote`, `rollback` and `prune`",
    ),
    topic(
        Role::AdminModels,
        Read,
        Topic::TrainerState,
        "`models list`: the figures of the learning loop",
    ),
    topic(
        Role::AdminModels,
        Read,
        Topic::Input,
        "`models answered`: the record",
    ),
    topic(
        Role::AdminModels,
        Read,
        Topic::Predictions,
        "`models answered`: its prediction",
    ),
    topic(
        Role::AdminModels,
        Read,
        Topic::Feedback,
        "`models answered`: its misprediction",
    ),
    topic(
        Role::AdminRedrive,
        Read,
        Topic::DeadLetters,
        "reads the dead letters",
    ),
    topic(
        Role::AdminRedrive,
        Write,
        Topic::DeadLetters,
        "writes receipts",
    ),
    topic(
        Role::AdminRedrive,
        Write,
        Topic::Input,
        "sends records back",
    ),
    topic(
        Role::AdminRedrive,
        Write,
        Topic::Labels,
        "sends labels back",
    ),
    row(
        Role::AdminRedrive,
        Write,
        On::RedriveId,
        "writes in transactions",
    ),
    row(
        Role::AdminTransactions,
        Read,
        On::EveryTopic,
        "finds producers with an open transaction",
    ),
    row(
        Role::AdminTransactions,
        Describe,
        On::TransactionLog,
        "verifies that every coordinator is available",
    ),
    row(
        Role::AdminTransactions,
        Describe,
        On::EveryId,
        "asks coordinators for the state of transactions",
    ),
    row(
        Role::AdminTransactions,
        Alter,
        On::Cluster,
        "`transactions --abort` or `--commit` of a hanging transaction",
    ),
    row(
        Role::AdminTransactions,
        Write,
        On::EveryId,
        "`transactions --abort` of an ongoing transaction",
    ),
];
