//! Topics whose settings make it impossible to write a service's records to them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier,
};
use rdkafka::error::KafkaError;
use tokio::runtime;
use tracing::{debug, warn};

use crate::admin::needs::{Need, TopicError};
use crate::client::config;
use crate::client::connected::Connected;
use crate::client::health::ClientEvents;
use crate::client::settings::KafkaSettings;

const CLEANUP_POLICY: &str = "cleanup.policy";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// How long the cluster may take to return the settings.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The least `max.message.bytes` of a topic of dead letters: a dead letter without any part of its record takes up to this
/// many bytes, except with very long names of topics.
const MIN_DEAD_LETTER_BYTES: u64 = 512;

/// The settings of one topic that are checked; `None` for those that the cluster does not return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TopicConfig {
    cleanup_policy: Option<String>,
    max_message_bytes: Option<u64>,
}

impl From<&ConfigResource> for TopicConfig {
    fn from(resource: &ConfigResource) -> Self {
        let value = |name| resource.get(name).and_then(|entry| entry.value.clone());
        Self {
            cleanup_policy: value(CLEANUP_POLICY),
            max_message_bytes: value(MAX_MESSAGE_BYTES).and_then(|value| value.parse().ok()),
        }
    }
}

/// Checks the settings of the topics that a service writes to, and logs a warning for those that lead to incomplete records.
/// A cluster that does not return the settings, for example because the user lacks the permission `DescribeConfigs`, is
/// accepted.
///
/// # Errors
/// [`TopicError::Impossible`] for a topic that can never accept the service's records.
pub(super) fn check(
    settings: &KafkaSettings,
    service: &str,
    needs: &[Need<'_>],
) -> Result<(), TopicError> {
    let topics: Vec<&str> = needs.iter().flat_map(Need::configured_topics).collect();
    if topics.is_empty() {
        return Ok(());
    }
    let configs = match describe(settings, service, &topics) {
        Ok(configs) => configs,
        Err(error) => {
            debug!("the settings of the topics are not checked: {error}");
            return Ok(());
        }
    };
    for need in needs {
        if let Some(warning) = judge(need, &configs, &settings.bootstrap_servers)? {
            warn!("{warning}");
        }
    }
    Ok(())
}

/// Requests the settings of topics. The result has those that the user may see.
fn describe(
    settings: &KafkaSettings,
    service: &str,
    topics: &[&str],
) -> Result<BTreeMap<String, TopicConfig>, KafkaError> {
    let config = config::admin(settings, service)
        .map_err(|error| KafkaError::AdminOpCreation(error.to_string()))?;
    let client: Connected<AdminClient<ClientEvents>> =
        Connected::new(&config, settings, ClientEvents::new(settings))?;
    let topics: Vec<ResourceSpecifier<'_>> = topics
        .iter()
        .map(|&topic| ResourceSpecifier::Topic(topic))
        .collect();
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| KafkaError::AdminOpCreation(error.to_string()))?;
    let answer = runtime.block_on(client.describe_configs(&topics, &options))?;
    let mut configs = BTreeMap::new();
    for resource in answer {
        match resource {
            Ok(resource) => {
                let config = TopicConfig::from(&resource);
                if let OwnedResourceSpecifier::Topic(topic) = resource.specifier {
                    configs.insert(topic, config);
                }
            }
            Err(code) => debug!("the settings of a topic are not checked: {code}"),
        }
    }
    Ok(configs)
}

/// Decides whether a topic can accept the records that a service writes. Returns a warning for a topic that can accept some
/// of them only in part.
fn judge(
    need: &Need<'_>,
    configs: &BTreeMap<String, TopicConfig>,
    bootstrap_servers: &str,
) -> Result<Option<String>, TopicError> {
    let topic = need.topic();
    let Some(config) = configs.get(topic) else {
        return Ok(None);
    };
    let command = |setting: &str, value: &str| {
        format!(
            "`kafka-configs.sh --bootstrap-server {bootstrap_servers} --alter --entity-type topics --entity-name {topic} \
             --add-config {setting}={value}`"
        )
    };
    let impossible = |setting, value: &str, consequence, command| TopicError::Impossible {
        topic: topic.to_owned(),
        operation: need.operation(),
        setting,
        value: value.to_owned(),
        consequence,
        command,
    };
    if need.is_keyless()
        && let Some(policy) = &config.cleanup_policy
        && policy.split(',').any(|policy| policy.trim() == "compact")
    {
        let consequence =
            "so it refuses records without a key and deletes records with the same key";
        let command = command(CLEANUP_POLICY, "delete");
        return Err(impossible(CLEANUP_POLICY, policy, consequence, command));
    }
    let Some(source) = need.source() else {
        return Ok(None);
    };
    let source_bytes = configs
        .get(source)
        .and_then(|config| config.max_message_bytes);
    match (config.max_message_bytes, source_bytes) {
        (Some(bytes), source) if bytes < MIN_DEAD_LETTER_BYTES => {
            let enough = source.unwrap_or(0).max(MIN_DEAD_LETTER_BYTES).to_string();
            let consequence = "which is too small for the headers of a dead letter";
            let (bytes, command) = (bytes.to_string(), command(MAX_MESSAGE_BYTES, &enough));
            Err(impossible(MAX_MESSAGE_BYTES, &bytes, consequence, command))
        }
        (Some(bytes), Some(source_bytes)) if bytes < source_bytes => Ok(Some(format!(
            "topic `{topic}`: its {MAX_MESSAGE_BYTES} is {bytes}, less than {source_bytes} of topic `{source}`, so dead letters \
             of large records lose their value, headers or key; change it with {}",
            command(MAX_MESSAGE_BYTES, &source_bytes.to_string())
        ))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::simulated::SimulatedCluster;

    fn config(policy: &str, bytes: u64) -> TopicConfig {
        TopicConfig {
            cleanup_policy: Some(policy.to_owned()),
            max_message_bytes: Some(bytes),
        }
    }

    /// Judges a need against topic `out` with this configuration, and topic `input` with 1,000,000 bytes.
    fn judged(need: &Need<'_>, out: TopicConfig) -> Result<Option<String>, String> {
        let configs = [("out", out), ("input", config("delete", 1_000_000))]
            .map(|(topic, config)| (topic.to_owned(), config))
            .into();
        judge(need, &configs, "broker:9092").map_err(|error| error.to_string())
    }

    #[test]
    fn a_compacted_topic_is_refused_if_records_may_lack_a_key() {
        let keyless = Need::write("out").without_keys();
        for (policy, is_refused) in [
            ("delete", false),
            ("compact", true),
            ("compact,delete", true),
            ("delete, compact", true),
        ] {
            let keyed = judged(&Need::write("out"), config(policy, 9));
            assert_eq!(keyed, Ok(None), "{policy}");
            let found = judged(&keyless, config(policy, 9));
            assert_eq!(found.is_err(), is_refused, "{policy}");
        }
        let error = judged(&keyless, config("compact", 9)).unwrap_err();
        assert_eq!(
            error,
            "cannot write topic `out`: its cleanup.policy is `compact`, so it refuses records without a key and deletes \
             records with the same key; change it with `kafka-configs.sh --bootstrap-server broker:9092 --alter \
             --entity-type topics --entity-name out --add-config cleanup.policy=delete`, or name another topic in the \
             settings and create it with `iris-admin topics create`"
        );
    }

    #[test]
    fn a_topic_of_dead_letters_that_is_smaller_than_the_input_is_reported_or_refused() {
        let need = Need::write("out").with_records_of("input");
        let of = |bytes| judged(&need, config("delete", bytes));
        assert_eq!(of(1_000_000), Ok(None));
        assert_eq!(of(4_194_304), Ok(None));
        let warning = of(600).unwrap().unwrap();
        assert!(
            warning.starts_with(
                "topic `out`: its max.message.bytes is 600, less than 1000000 of topic `input`, so"
            ),
            "{warning}"
        );
        assert!(
            warning.ends_with("--add-config max.message.bytes=1000000`"),
            "{warning}"
        );
        let error = of(511).unwrap_err();
        let expected = "cannot write topic `out`: its max.message.bytes is `511`, which is too small for the headers of a \
                        dead letter; change it with `kafka-configs.sh";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn settings_that_are_not_known_are_accepted() {
        let need = Need::write("out").without_keys().with_records_of("input");
        assert_eq!(judged(&need, TopicConfig::default()), Ok(None));
        assert_eq!(judge(&need, &BTreeMap::new(), "broker:9092").unwrap(), None);
        // The simulated cluster does not know the request.
        let cluster = SimulatedCluster::new(1, &["out", "input"]);
        assert!(check(&cluster.settings, "test", &[need]).is_ok());
    }
}
