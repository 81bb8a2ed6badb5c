//! `acls`: prints the rights that each service needs on the cluster, ready to be applied.

mod kafka_acls;
mod strimzi;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use iris_contract::rights::{Names, Right, Role, rights};
use serde::{Deserialize, Serialize};

use crate::args::{AclsArgs, AclsFormat};
use crate::settings::Settings;

/// The keys of the section `classifier` that decide which rights are needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ClassifierKeys {
    group_id: String,
    #[serde(deserialize_with = "iris_service::settings::list")]
    partitions: Vec<i32>,
    publish_predictions: bool,
    publish_summaries: bool,
}

impl Default for ClassifierKeys {
    fn default() -> Self {
        let names = Names::default();
        Self {
            group_id: names.classifier_group,
            partitions: names.classifier_partitions,
            publish_predictions: names.publish_predictions,
            publish_summaries: names.publish_summaries,
        }
    }
}

/// The keys of the section `feedback_sink` that decide which rights are needed.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct SinkKeys {
    group_id: String,
}

impl Default for SinkKeys {
    fn default() -> Self {
        Self {
            group_id: Names::default().sink_group,
        }
    }
}

/// Returns the names with the keys of these sections.
pub(crate) fn names(prefix: String, classifier: ClassifierKeys, sink: SinkKeys) -> Names {
    Names {
        prefix,
        classifier_group: classifier.group_id,
        classifier_partitions: classifier.partitions,
        publish_predictions: classifier.publish_predictions,
        publish_summaries: classifier.publish_summaries,
        sink_group: sink.group_id,
    }
}

/// The rights of one user.
#[derive(Debug, Serialize)]
struct Grant {
    #[serde(rename = "service")]
    role: Role,
    principal: String,
    rights: Vec<Right>,
}

/// Prints the rights of the chosen roles.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &AclsArgs, settings: &Settings) -> anyhow::Result<()> {
    let grants = grants(args, settings);
    let text = match args.format {
        AclsFormat::KafkaAcls => kafka_acls::render(&grants, &settings.kafka),
        AclsFormat::Strimzi => strimzi::render(&grants),
        AclsFormat::Json => format!("{}\n", serde_json::to_string_pretty(&grants)?),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Returns the rights of each chosen role; of all roles if none is chosen.
fn grants(args: &AclsArgs, settings: &Settings) -> Vec<Grant> {
    let roles = if args.roles.is_empty() {
        &Role::ALL[..]
    } else {
        &args.roles
    };
    let grant = |&role: &Role| {
        let user = || format!("User:iris-{role}");
        Grant {
            role,
            principal: args.principal.clone().unwrap_or_else(user),
            rights: rights(role, &settings.topics, &settings.names),
        }
    };
    roles.iter().map(grant).collect()
}
