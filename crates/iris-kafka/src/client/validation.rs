//! Checks the settings `kafka.*`.

use iris_core::{InvalidSetting, Section};
use rdkafka::error::KafkaError;
use rdkafka::util::get_rdkafka_version;

use crate::client::config;
use crate::client::settings::{GROUP_PROTOCOL, KafkaSettings, Security};

/// The librdkafka settings that the guarantees depend on.
const RESERVED: [&str; 11] = [
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "partitioner",
    "transactional.id",
];

/// The first version of librdkafka whose implementation of the new protocol (KIP-848) can be used, as librdkafka encodes it. In
/// earlier ones, a race between an assignment and a termination can end the process
/// ([librdkafka #5541](https://github.com/confluentinc/librdkafka/issues/5541)).
const NEW_PROTOCOL_FROM: i32 = 0x020f_0000;

/// Checks that this version of librdkafka can be used with the protocol of consumer groups that is passed through.
fn check_group_protocol(
    settings: &KafkaSettings,
    (version, name): (i32, &str),
) -> Result<(), InvalidSetting> {
    if !settings.uses_new_group_protocol() || version >= NEW_PROTOCOL_FROM {
        return Ok(());
    }
    invalid(
        &format!("librdkafka.\"{GROUP_PROTOCOL}\""),
        &format!(
            "needs librdkafka 2.15 for any value but classic, and this is {name}: earlier versions can end the process during a \
             rebalance"
        ),
    )
}

impl Section for KafkaSettings {
    const NAME: &'static str = "kafka";

    fn validate(&self) -> Result<(), InvalidSetting> {
        if self.bootstrap_servers.trim().is_empty() {
            return invalid(
                "bootstrap_servers",
                "is empty: allowed is a list of host:port, separated by commas",
            );
        }
        if self
            .name_prefix
            .chars()
            .any(|character| character.is_whitespace() || character.is_control())
        {
            return invalid("name_prefix", "contains a blank or a control character");
        }
        check_security(&self.security)?;
        if let Some(name) = self
            .librdkafka
            .keys()
            .find(|name| RESERVED.contains(&name.as_str()))
        {
            let key = format!("librdkafka.\"{name}\"");
            return invalid(
                &key,
                "cannot be set: the service sets it itself, and the guarantees depend on it",
            );
        }
        let (version, name) = get_rdkafka_version();
        check_group_protocol(self, (version, &name))?;
        match config::admin(self, "settings")?.create_native_config() {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientConfig(_, description, name, _)) => invalid(
                &format!("librdkafka.\"{name}\""),
                &without_value(&description),
            ),
            Err(other) => invalid("librdkafka", &other.to_string()),
        }
    }
}

/// Checks that encryption and authentication have the settings that they need.
fn check_security(security: &Security) -> Result<(), InvalidSetting> {
    if security.protocol.authenticates() && security.username.is_empty() {
        return invalid(
            "security.username",
            "is empty, but the protocol is a sasl_ one",
        );
    }
    if security.protocol.authenticates()
        && security.password.is_none()
        && security.password_file.is_none()
    {
        return invalid(
            "security.password_file",
            "is unset, and `password` too, but the protocol is a sasl_ one",
        );
    }
    if security.password.is_some() && security.password_file.is_some() {
        return invalid(
            "security.password_file",
            "is set, and `password` too: allowed is one of them",
        );
    }
    if security.certificate.is_some() != security.key.is_some() {
        return invalid(
            "security.certificate",
            "and `key` belong together: allowed is both or neither",
        );
    }
    if security.key_password_file.is_some() && security.key.is_none() {
        return invalid("security.key_password_file", "is set, but `key` is not");
    }
    Ok(())
}

/// Returns librdkafka's reason for refusing a setting, worded to follow its name. The value is left out: it may be a secret.
pub(super) fn without_value(description: &str) -> String {
    if description.starts_with("No such configuration property") {
        return "is not a setting of librdkafka".to_owned();
    }
    if description.starts_with("Expected bool value") {
        return "has an invalid value: allowed are true and false".to_owned();
    }
    match description.split_once("is outside allowed range ") {
        Some((_, range)) => format!("is outside the allowed range {}", range.trim()),
        None => "has an invalid value".to_owned(),
    }
}

/// Returns the refusal of a key.
fn invalid(key: &str, problem: &str) -> Result<(), InvalidSetting> {
    Err(InvalidSetting::new(key, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::settings::SecurityProtocol;

    fn with(change: impl FnOnce(&mut KafkaSettings)) -> KafkaSettings {
        let mut settings = KafkaSettings::default();
        change(&mut settings);
        settings
    }

    fn refusal(change: impl FnOnce(&mut KafkaSettings)) -> String {
        with(change).validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        KafkaSettings::default().validate().unwrap();
    }

    #[test]
    fn the_new_group_protocol_is_refused_where_a_race_can_end_the_process() {
        let settings = |protocol: &str| {
            with(|s| {
                let protocol = (GROUP_PROTOCOL.to_owned(), protocol.to_owned());
                s.librdkafka.extend([protocol]);
            })
        };
        let check = |protocol, version| check_group_protocol(&settings(protocol), version);
        for version in [(0x020c_01ff, "2.12.1"), (0x020e_02ff, "2.14.2")] {
            let refusal = check("consumer", version).unwrap_err().to_string();
            let expected = format!(
                "needs librdkafka 2.15 for any value but classic, and this is {}",
                version.1
            );
            assert!(refusal.contains(&expected), "{refusal}");
            check("classic", version).unwrap();
        }
        check("consumer", (0x020f_00ff, "2.15.0")).unwrap();
    }

    #[test]
    fn an_invalid_setting_is_refused_with_its_key() {
        assert!(refusal(|s| s.bootstrap_servers.clear()).starts_with("bootstrap_servers is empty"));
        assert!(
            refusal(|s| s.security.protocol = SecurityProtocol::SaslSsl)
                .starts_with("security.username is empty")
        );
        let missing = refusal(|s| {
            s.security.protocol = SecurityProtocol::SaslSsl;
            s.security.username = "iris".to_owned();
            s.security.password_file = Some("/no/such/file".into());
        });
        assert!(
            missing.starts_with("security.password_file is `/no/such/file`, which cannot be read"),
            "{missing}"
        );
    }

    #[test]
    fn a_reserved_or_unknown_librdkafka_setting_or_an_invalid_value_is_refused() {
        let refusal = |name: &str, value: &str| {
            refusal(|s| s.librdkafka.extend([(name.to_owned(), value.to_owned())]))
        };
        assert!(
            refusal("enable.auto.commit", "true")
                .starts_with("librdkafka.\"enable.auto.commit\" cannot be set")
        );
        assert!(
            refusal("fetch.wait.max.mss", "5")
                .starts_with("librdkafka.\"fetch.wait.max.mss\" is not a setting of librdkafka")
        );
        for (name, value, problem) in [
            ("fetch.wait.max.ms", "soon", "has an invalid value"),
            (
                "fetch.wait.max.ms",
                "987654321",
                "is outside the allowed range 0..300000",
            ),
            (
                "ssl.keystore.password.x",
                "swordfish",
                "is not a setting of librdkafka",
            ),
            (
                "enable.sparse.connections",
                "swordfish",
                "has an invalid value: allowed are true and false",
            ),
            (
                "sasl.oauthbearer.method",
                "swordfish",
                "has an invalid value",
            ),
        ] {
            assert_eq!(
                refusal(name, value),
                format!("librdkafka.\"{name}\" {problem}")
            );
        }
    }
}
