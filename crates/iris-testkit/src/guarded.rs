//! A broker that checks rights: each user has exactly those that a test grants.

mod acls;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::local::{Local, Server, free_port};
pub use acls::Acl;

/// The heap of the broker, enough for a test's records.
const HEAP: &str = "512m";

/// A broker with two listeners. Clients of the first one may do everything; users of the second one log in and may do what is
/// granted to them. It is stopped when this value is dropped.
#[derive(Debug)]
pub struct GuardedBroker {
    open: Local,
    guarded_port: u16,
}

impl GuardedBroker {
    /// Starts a broker with its data below `directory`, and these users. Each user's password is the name.
    ///
    /// # Errors
    /// If the broker does not start.
    pub fn start(directory: &Path, users: &[String]) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let properties = directory.join("guarded.properties");
        fs::write(&properties, guarded(users))?;
        let guarded_port = free_port()?;
        let environment = vec![
            ("KAFKA_CONTROLLER_PORT", free_port()?.to_string()),
            ("KAFKA_SECURE_PORT", guarded_port.to_string()),
            ("KAFKA_PROPERTIES", properties.display().to_string()),
            ("KAFKA_HEAP", HEAP.to_owned()),
        ];
        let mut open = Local::new(Server::Kafka, directory, free_port()?, environment);
        open.resume()?;
        Ok(Self { open, guarded_port })
    }

    /// Returns the address at which clients may do everything.
    #[must_use]
    pub fn open_address(&self) -> String {
        format!("localhost:{}", self.open.port())
    }

    /// Makes a command connect as a user.
    pub fn log_in(&self, command: &mut Command, user: &str) {
        let address = format!("localhost:{}", self.guarded_port);
        command
            .env("IRIS__KAFKA__BOOTSTRAP_SERVERS", address)
            .env("IRIS__KAFKA__SECURITY__PROTOCOL", "sasl_plaintext")
            .env("IRIS__KAFKA__SECURITY__SASL_MECHANISM", "PLAIN")
            .env("IRIS__KAFKA__SECURITY__USERNAME", user)
            .env("IRIS__KAFKA__SECURITY__PASSWORD", user);
    }

    /// Grants rights.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn grant(&self, acls: &[Acl]) -> anyhow::Result<()> {
        acls::create(self.open.port(), acls).context("granting rights")
    }

    /// Takes rights away.
    ///
    /// # Errors
    /// If the broker refuses, or a right was not granted.
    pub fn revoke(&self, acls: &[Acl]) -> anyhow::Result<()> {
        acls::delete(self.open.port(), acls).context("taking rights away")
    }
}

/// Returns the properties of a broker with a listener that asks for a login, and that checks rights.
fn guarded(users: &[String]) -> String {
    let mut text = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_PLAINTEXT\n\
                    authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                    super.users=User:ANONYMOUS\n\
                    listener.name.secure.sasl.enabled.mechanisms=PLAIN\n\
                    listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                    required"
        .to_owned();
    for user in users {
        // Writing to a string cannot fail.
        let _ = write!(text, " user_{user}=\"{user}\"");
    }
    text + ";\n"
}
