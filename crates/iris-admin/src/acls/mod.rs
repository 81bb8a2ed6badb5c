//! `acls`: prints the rights that each service needs on the cluster, ready to be applied.

mod kafka_acls;
pub(crate) mod names;
mod strimzi;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};

use iris_contract::rights::{Right, Role, rights};
use serde::Serialize;

use crate::args::{AclsArgs, AclsFormat};
use crate::settings::Settings;

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
