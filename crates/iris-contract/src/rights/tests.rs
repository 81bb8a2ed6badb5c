use super::*;

fn listed(role: Role, names: &Names) -> Vec<String> {
    let rights = rights(role, &Topics::default(), names);
    let text = |right: &Right| {
        let prefix = if right.pattern == Pattern::Prefix {
            "*"
        } else {
            ""
        };
        format!("{:?} {}{prefix}", right.operation, right.name)
    };
    rights.iter().map(text).collect()
}

#[test]
fn rights_have_the_names_of_the_settings() {
    let names = Names::default();
    assert_eq!(
        listed(Role::Classifier, &names),
        [
            "Read iris_demo2_topic",
            "Read models_topic_demo2",
            "Write predictions_topic_demo2",
            "Write feedback_topic_demo2",
            "Write dead_letter_topic_demo2",
            "Write summaries_topic_demo2",
            "Read iris-classifier",
            "Write iris-classifier-iris_demo2_topic-*",
        ]
    );
    assert_eq!(listed(Role::AdminTopics, &names).len(), 17);
    assert_eq!(
        listed(Role::FeedbackSink, &names),
        ["Read feedback_topic_demo2", "Read iris-feedback-sink"]
    );
}

#[test]
fn settings_decide_which_rights_a_classifier_needs() {
    let names = Names {
        classifier_partitions: vec![0, 3],
        publish_predictions: false,
        publish_summaries: false,
        prefix: "team-a.".to_owned(),
        ..Names::default()
    };
    assert_eq!(
        listed(Role::Classifier, &names),
        [
            "Read iris_demo2_topic",
            "Read models_topic_demo2",
            "Write feedback_topic_demo2",
            "Write dead_letter_topic_demo2",
            "Read team-a.unique_group_for_demo2_partition_0",
            "Read team-a.unique_group_for_demo2_partition_3",
            "Write team-a.unique_group_for_demo2_partition_0-iris_demo2_topic-*",
            "Write team-a.unique_group_for_demo2_partition_3-iris_demo2_topic-*",
        ]
    );
}

#[test]
fn no_right_is_listed_twice() {
    for (position, row) in TABLE.iter().enumerate() {
        let same = |other: &&Row| {
            (other.role, other.operation, other.on) == (row.role, row.operation, row.on)
        };
        assert!(
            !TABLE[..position].iter().any(|other| same(&other)),
            "{row:?}"
        );
    }
}

#[test]
fn a_role_is_named_as_its_service_with_or_without_the_prefix() {
    for role in Role::ALL {
        assert_eq!(role.name().parse(), Ok(role));
        assert_eq!(format!("iris-{role}").parse(), Ok(role));
    }
    assert!(
        "root"
            .parse::<Role>()
            .unwrap_err()
            .starts_with("allowed are producer, ")
    );
}

/// Returns the resource with the keys of the settings, for the documentation.
fn resource(on: On) -> String {
    match on {
        On::Topic(topic) => format!("topic `topics.{}`", topic.key()),
        On::EveryTopic => "every topic of `[topics]`".to_owned(),
        On::ClassifierGroups => "group `classifier.group_id`".to_owned(),
        On::SinkGroup => "group `feedback_sink.group_id`".to_owned(),
        On::WorkerIds => {
            "transactional ids that begin with `{classifier.group_id}-{topics.input}-`".to_owned()
        }
        On::RegistryId => "transactional id `{topics.models}-registry`".to_owned(),
        On::RedriveId => "transactional id `iris-admin-redrive-{topics.dead_letters}`".to_owned(),
        On::EveryId => "every transactional id (`*`)".to_owned(),
        On::TransactionLog => "topic `__transaction_state`".to_owned(),
        On::Cluster => "the cluster".to_owned(),
    }
}

#[test]
fn the_documentation_has_this_table() {
    let mut table = "| service | operation | resource | purpose |\n|---|---|---|---|\n".to_owned();
    for row in TABLE {
        let condition = match row.condition {
            Condition::Always => "",
            Condition::PublishesPredictions => "; only with `classifier.publish_predictions`",
            Condition::PublishesSummaries => "; only with `classifier.publish_summaries`",
        };
        let (role, operation) = (row.role, row.operation.name());
        let (resource, why) = (resource(row.on), row.why);
        table += &format!("| {role} | {operation} | {resource} | {why}{condition} |\n");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/SECURITY.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(
        page.contains(&table),
        "docs/SECURITY.md must contain\n\n{table}"
    );
}
