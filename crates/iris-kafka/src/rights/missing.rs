//! The description of rights that are missing.

use std::fmt;

use crate::admin::needs::Operation;
use crate::client::settings::{KafkaSettings, SecurityProtocol};

/// A resource that a broker has refused to a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// A topic, or several: the brokers are asked for which operations.
    Topic,
    /// A consumer group, with its name if it is known.
    Group(String),
    /// A transactional id, with its name if it is known.
    TransactionalId(String),
}

/// A right that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The operation on a topic that the user may see.
    Topic(Operation, String),
    /// The operation on a topic that the user may not see, or that does not exist.
    HiddenTopic(Operation, String),
    /// Taking part in a consumer group.
    Group(String),
    /// Writing in transactions of this id.
    TransactionalId(String),
    /// Any other right, as a text.
    Other(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(operation, topic) | Self::HiddenTopic(operation, topic) => {
                write!(f, "{} on topic `{topic}`", operation.right())
            }
            Self::Group(group) => write!(f, "Read on group `{group}`"),
            Self::TransactionalId(id) => write!(f, "Write on transactional id `{id}`"),
            Self::Other(right) => f.write_str(right),
        }
    }
}

/// The rights that a user lacks, and the commands that grant them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRights {
    user: User,
    service: String,
    missing: Vec<Missing>,
}

impl std::error::Error for MissingRights {}

impl MissingRights {
    /// Returns the description; `None` if nothing is missing.
    pub(super) fn of(
        settings: &KafkaSettings,
        service: &str,
        missing: Vec<Missing>,
    ) -> Option<Self> {
        (!missing.is_empty()).then(|| Self {
            user: User::of(settings),
            service: service.strip_prefix("iris-").unwrap_or(service).to_owned(),
            missing,
        })
    }

    /// Returns the description of one right, such as "Alter on the cluster".
    #[must_use]
    pub fn named(settings: &KafkaSettings, service: &str, right: String) -> Self {
        Self {
            user: User::of(settings),
            service: service.strip_prefix("iris-").unwrap_or(service).to_owned(),
            missing: vec![Missing::Other(right)],
        }
    }

    fn list(&self, is_hidden: bool) -> String {
        let listed = self
            .missing
            .iter()
            .filter(|missing| matches!(missing, Missing::HiddenTopic(..)) == is_hidden);
        listed
            .map(Missing::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl fmt::Display for MissingRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, service, .. } = self;
        let (hidden, visible) = (self.list(true), self.list(false));
        let principal = user.principal();
        let grant = format!("the output of `iris-admin acls --for {service}{principal}`");
        if !visible.is_empty() {
            write!(f, "{user} lacks the right {visible}: grant it with {grant}")?;
        }
        if !hidden.is_empty() {
            let separator = if visible.is_empty() { "" } else { "; " };
            write!(
                f,
                "{separator}{user} lacks the right {hidden}, or the topic does not exist: grant the right with {grant}, or \
                 create the topic with `iris-admin topics create`"
            )?;
        }
        Ok(())
    }
}

/// The user as whom the brokers know a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    /// The user with this name.
    Named(String),
    /// The subject of the certificate in this file.
    Certificate(String),
    /// A user that the settings do not name.
    Unnamed,
}

impl User {
    fn of(settings: &KafkaSettings) -> Self {
        let security = &settings.security;
        match (security.protocol, &security.certificate) {
            (SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl, _) => {
                Self::Named(security.username.clone())
            }
            (SecurityProtocol::Ssl, Some(certificate)) => {
                Self::Certificate(certificate.display().to_string())
            }
            _ => Self::Unnamed,
        }
    }

    /// Returns the option that names the principal, if its name is known.
    fn principal(&self) -> String {
        match self {
            Self::Named(name) => format!(" --principal User:{name}"),
            Self::Certificate(_) | Self::Unnamed => String::new(),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "user `{name}`"),
            Self::Certificate(file) => write!(f, "the user with the certificate `{file}`"),
            Self::Unnamed => f.write_str("this client's user"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn the_user_the_rights_and_the_commands_are_named() {
        let mut settings = KafkaSettings::default();
        settings.security.protocol = SecurityProtocol::SaslSsl;
        settings.security.username = "classify".to_owned();
        let text = |missing| {
            MissingRights::of(&settings, "iris-classifier", missing)
                .unwrap()
                .to_string()
        };
        assert_eq!(
            text(vec![
                Missing::Topic(Operation::Read, topic("models")),
                Missing::Topic(Operation::Write, topic("feedback")),
            ]),
            "user `classify` lacks the right Read on topic `models`, Write on topic `feedback`: grant it with the output of \
             `iris-admin acls --for classifier --principal User:classify`"
        );
        assert_eq!(
            text(vec![Missing::HiddenTopic(Operation::Read, topic("models"))]),
            "user `classify` lacks the right Read on topic `models`, or the topic does not exist: grant the right with the \
             output of `iris-admin acls --for classifier --principal User:classify`, or create the topic with `iris-admin \
             topics create`"
        );
    }

    #[test]
    fn a_user_without_a_name_is_described() {
        let settings = KafkaSettings::default();
        let missing = vec![
            Missing::Group("g".to_owned()),
            Missing::TransactionalId("t".to_owned()),
        ];
        let text = MissingRights::of(&settings, "iris-trainer", missing)
            .unwrap()
            .to_string();
        assert_eq!(
            text,
            "this client's user lacks the right Read on group `g`, Write on transactional id `t`: grant it with the output \
             of `iris-admin acls --for trainer`"
        );
        assert_eq!(
            MissingRights::of(&settings, "iris-trainer", Vec::new()),
            None
        );
    }
}
