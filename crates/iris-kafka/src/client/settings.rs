//! The settings `kafka.*`: how to reach a cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use iris_core::one_of;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};

/// The librdkafka setting that chooses the protocol of consumer groups.
pub(super) const GROUP_PROTOCOL: &str = "group.protocol";

/// The settings for reaching a cluster. Neither `Debug` nor `Serialize` shows a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// The brokers to connect to first, as `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The client id that brokers log; empty for the service's name.
    pub client_id: String,
    /// The beginning of the name of every consumer group and transactional id, for a cluster that several systems share.
    pub name_prefix: String,
    /// Encryption and authentication.
    pub security: Security,
    /// Settings that are passed to librdkafka unchanged. They take precedence over this program's own, except for those
    /// that the guarantees depend on, which are refused.
    #[serde(deserialize_with = "flattened", serialize_with = "hiding_secrets")]
    pub librdkafka: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Returns the name that a consumer group or a transactional id has on the cluster.
    #[must_use]
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.name_prefix)
    }

    /// Whether consumers in a group use the protocol of KIP-848, in which the brokers assign the partitions.
    pub(super) fn uses_new_group_protocol(&self) -> bool {
        let protocol = self.librdkafka.get(GROUP_PROTOCOL);
        protocol.is_some_and(|protocol| protocol != "classic")
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("name_prefix", &self.name_prefix)
            .field("security", &self.security)
            .field("librdkafka", &self.librdkafka.keys())
            .finish()
    }
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap_servers: "localhost:9092".to_owned(),
            client_id: String::new(),
            name_prefix: String::new(),
            security: Security::default(),
            librdkafka: BTreeMap::new(),
        }
    }
}

/// Encryption and authentication.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// Whether connections are encrypted and authenticated.
    #[serde(deserialize_with = "one_of")]
    pub protocol: SecurityProtocol,
    /// The authentication mechanism, for a `sasl_` protocol.
    #[serde(deserialize_with = "one_of")]
    pub sasl_mechanism: SaslMechanism,
    /// The user's name, for a `sasl_` protocol.
    pub username: String,
    /// The user's password. Prefer `password_file`.
    #[serde(serialize_with = "hidden")]
    pub password: Option<SecretString>,
    /// A file that contains the user's password; a line break at its end is ignored.
    pub password_file: Option<PathBuf>,
    /// The certificates to trust instead of the system's, as PEM: a file, or a directory that `openssl rehash` has prepared.
    pub ca: Option<PathBuf>,
    /// This client's certificate, followed by those of its intermediate authorities, as PEM.
    pub certificate: Option<PathBuf>,
    /// The key of this client's certificate, as PEM.
    pub key: Option<PathBuf>,
    /// A file that contains the password of the key; a line break at its end is ignored.
    pub key_password_file: Option<PathBuf>,
}

/// Whether connections are encrypted, authenticated, both or neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither.
    #[default]
    Plaintext,
    /// Encrypted.
    Ssl,
    /// Authenticated.
    SaslPlaintext,
    /// Encrypted and authenticated.
    SaslSsl,
}

impl SecurityProtocol {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Ssl => "ssl",
            Self::SaslPlaintext => "sasl_plaintext",
            Self::SaslSsl => "sasl_ssl",
        }
    }

    pub(super) fn encrypts(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    pub(crate) fn authenticates(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// An authentication mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    /// SCRAM with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// SCRAM with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password itself.
    #[serde(rename = "PLAIN")]
    Plain,
}

impl SaslMechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
        }
    }
}

/// The text that is shown in place of a secret.
const HIDDEN: &str = "<hidden>";

fn hidden<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some(HIDDEN),
        None => serializer.serialize_none(),
    }
}

fn hiding_secrets<S: Serializer>(
    settings: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    const SECRET: [&str; 7] = [
        "password",
        "secret",
        "pem",
        "jaas",
        "token",
        "oauthbearer.config",
        "assertion",
    ];
    let is_secret = |name: &str| SECRET.iter().any(|part| name.contains(part));
    serializer.collect_map(
        settings
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { HIDDEN } else { value })),
    )
}

/// Deserializes librdkafka's settings. Their names contain dots, which settings files and the environment read as nested
/// tables; the tables are joined to names again.
fn flattened<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Tree {
        Bool(bool),
        Integer(i64),
        Float(f64),
        Text(String),
        Branch(BTreeMap<String, Tree>),
    }
    fn collect(name: String, tree: Tree, flat: &mut BTreeMap<String, String>) {
        let value = match tree {
            Tree::Bool(value) => value.to_string(),
            Tree::Integer(value) => value.to_string(),
            Tree::Float(value) => value.to_string(),
            Tree::Text(value) => value,
            Tree::Branch(branch) => {
                for (child, tree) in branch {
                    collect(format!("{name}.{child}"), tree, flat);
                }
                return;
            }
        };
        flat.insert(name, value);
    }
    let mut flat = BTreeMap::new();
    for (name, tree) in BTreeMap::<String, Tree>::deserialize(deserializer)? {
        collect(name, tree, &mut flat);
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use iris_core::Section as _;

    use super::*;

    #[test]
    fn nested_tables_are_joined_to_librdkafka_names() {
        let nested = serde_json::json!({ "librdkafka": { "fetch": { "wait": { "max": { "ms": 5 } } }, "debug": "cgrp" } });
        let settings: KafkaSettings = serde_json::from_value(nested).unwrap();
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings.librdkafka,
            [option("debug", "cgrp"), option("fetch.wait.max.ms", "5")].into()
        );
        settings.validate().unwrap();
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = KafkaSettings::default();
        settings.security.password = Some("swordfish".into());
        let passed_through = ("sasl.password".to_owned(), "swordfish".to_owned());
        settings.librdkafka.extend([passed_through]);
        let shown = format!(
            "{:?} {}",
            settings,
            serde_json::to_string(&settings).unwrap()
        );
        assert!(!shown.contains("swordfish"), "{shown}");
        assert!(shown.contains(HIDDEN));
    }
}
