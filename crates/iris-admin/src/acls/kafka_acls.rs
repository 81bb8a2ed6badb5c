//! Rights as commands of `kafka-acls.sh`.

use std::fmt::Write as _;

use iris_contract::rights::{Pattern, ResourceKind, Right};
use iris_kafka::{KafkaSettings, SecurityProtocol};

use super::Grant;

/// Returns one command per right, each after a comment with its purpose.
pub(super) fn render(grants: &[Grant], kafka: &KafkaSettings) -> String {
    let mut text = String::new();
    for grant in grants {
        for right in &grant.rights {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# {}: {}", grant.role, right.why);
            let _ = writeln!(text, "{}", command(right, &grant.principal, kafka));
        }
    }
    text
}

/// Returns the command that grants a right.
fn command(right: &Right, principal: &str, kafka: &KafkaSettings) -> String {
    // With a login, the command needs the properties of a user who may change access control lists.
    let config = match kafka.security.protocol {
        SecurityProtocol::Plaintext => "",
        _ => " --command-config admin.properties",
    };
    let option = match right.kind {
        ResourceKind::Topic => "--topic",
        ResourceKind::Group => "--group",
        ResourceKind::TransactionalId => "--transactional-id",
        ResourceKind::Cluster => "--cluster",
    };
    // There is one cluster, so it needs no name.
    let name = match right.kind {
        ResourceKind::Cluster => String::new(),
        _ => format!(" {}", quoted(&right.name)),
    };
    let pattern = match right.pattern {
        Pattern::Literal => "",
        Pattern::Prefix => " --resource-pattern-type prefixed",
    };
    format!(
        "kafka-acls.sh --bootstrap-server {}{config} --add --allow-principal {} --operation {}{pattern} {option}{name}",
        quoted(&kafka.bootstrap_servers),
        quoted(principal),
        right.operation.name(),
    )
}

/// Returns a word of a shell command. Only words with special characters are quoted.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:,/@%+=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_special_characters_are_quoted() {
        for (word, expected) in [
            ("User:iris-sink", "User:iris-sink"),
            ("User:CN=sink,O=Iris Ltd", "'User:CN=sink,O=Iris Ltd'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
