//! Rights as resources of the kind `KafkaUser` of the Strimzi operator.

use std::fmt::Write as _;

use iris_contract::rights::{Operation, Pattern, ResourceKind, Right};

use super::Grant;

/// Returns one `KafkaUser` per role. The label that names the cluster and the kind of login have to be added.
pub(super) fn render(grants: &[Grant]) -> String {
    grants.iter().map(user).collect()
}

fn user(grant: &Grant) -> String {
    let name = grant.principal.strip_prefix("User:");
    let name = name.unwrap_or(&grant.principal);
    let mut text = format!(
        "---\napiVersion: kafka.strimzi.io/v1\nkind: KafkaUser\nmetadata:\n  name: {}\nspec:\n  authorization:\n    type: \
         simple\n    acls:\n",
        quoted(name)
    );
    for (right, operations) in by_resource(&grant.rights) {
        let kind = match right.kind {
            ResourceKind::Topic => "topic",
            ResourceKind::Group => "group",
            ResourceKind::TransactionalId => "transactionalId",
            ResourceKind::Cluster => {
                let operations = operations.join(", ");
                // There is one cluster, so it needs no name. Writing to a string cannot fail.
                let _ = write!(
                    text,
                    "      - resource:\n          type: cluster\n        operations: [{operations}]\n"
                );
                continue;
            }
        };
        let pattern = match right.pattern {
            Pattern::Literal => "literal",
            Pattern::Prefix => "prefix",
        };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "      - resource:\n          type: {kind}\n          name: {}\n          patternType: {pattern}\n        \
             operations: [{}]\n",
            quoted(&right.name),
            operations.join(", "),
        );
    }
    text
}

/// Returns each resource once, with all operations on it.
fn by_resource(rights: &[Right]) -> Vec<(&Right, Vec<&'static str>)> {
    let mut resources: Vec<(&Right, Vec<&'static str>)> = Vec::new();
    for right in rights {
        let operation = Operation::name(right.operation);
        let same = |(other, _): &&mut (&Right, Vec<&str>)| {
            (other.kind, &other.name, other.pattern) == (right.kind, &right.name, right.pattern)
        };
        match resources.iter_mut().find(same) {
            Some((_, operations)) => operations.push(operation),
            None => resources.push((right, vec![operation])),
        }
    }
    resources
}

/// Returns a string of YAML. A JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
